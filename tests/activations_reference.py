"""Every activation and its derivative (from the left at a kink) for mpmath, by another route than the package."""

import mpmath as mp

ALPHA, LAM = "1.673263242354377284817042991671652038461", "1.050700987355480493419334985294606351959"


def exponential_linear(alpha, lam):
    """Return (f, f'); the constants are read with the digits that are wanted when a function is called."""
    return (
        lambda z: mp.mpf(lam) * (z if z > 0 else mp.mpf(alpha) * mp.expm1(z)),
        lambda z: mp.mpf(lam) * (1 if z > 0 else mp.mpf(alpha) * mp.exp(z)),
    )


EXACT = {  # (f, f')
    "identity": (lambda z: z, lambda z: mp.mpf(1)),
    "sigmoid": (lambda z: 1 / (1 + mp.exp(-z)), lambda z: 1 / (2 + mp.exp(z) + mp.exp(-z))),
    "tanh": (mp.tanh, lambda z: mp.sech(z) ** 2),
    "relu": exponential_linear(0, 1),
    "leaky_relu": (lambda z: z if z > 0 else mp.mpf(0.01) * z, lambda z: mp.mpf(1 if z > 0 else 0.01)),
    "elu": exponential_linear(1, 1),
    "selu": exponential_linear(ALPHA, LAM),
    "gelu": (
        lambda z: z * mp.erfc(-z / mp.sqrt(2)) / 2,
        lambda z: mp.erfc(-z / mp.sqrt(2)) / 2 + z * mp.exp(-z * z / 2) / mp.sqrt(2 * mp.pi),
    ),
    "silu": (lambda z: z / (1 + mp.exp(-z)), lambda z: (1 + z / (1 + mp.exp(z))) / (1 + mp.exp(-z))),
}
