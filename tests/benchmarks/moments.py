"""How fast `moments.moment_map` is for SELU, as ratios measured in one process; part of `make bench`.

It is compared with three calls of scipy.special.erfcx on as many points, which the closed form needs at least, and with
a loop over scipy.integrate.quad, which is given the kink and asked for 1e-10. quad is timed with the same f, and with
one written for it that calls nothing but the math module.
"""

import math
import statistics
import sys

import numpy as np
import scipy
from run import ratio, rounds

from snnlib.activations import SELU_ALPHA, SELU_LAMBDA, get
from snnlib.moments import moment_map

POINTS, FEW = 10**6, 50
ERFCX_GOAL = 6  # times three calls of erfcx, at most
QUAD_GOAL = 1000  # times as fast per point as quad, at least
QUAD_ERROR = 1e-10
SELU = get("selu")


def ranges(rng):
    """{name: (mu, nu, omega, tau)}: all for which digits are promised, around SELU's fixed point, and the slowest."""
    signed, positive = lambda reach: rng.uniform(-reach, reach, POINTS), lambda a, b: 10 ** rng.uniform(a, b, POINTS)
    return {
        "wide": (signed(10), positive(-6, 2), signed(1), positive(-1, 1)),
        "moderate": (signed(1), positive(-0.5, 0.5), signed(1), positive(-0.1, 0.1)),
        "narrow, at the kink": (signed(1e-2), positive(-6, -4), signed(1), positive(-1, 1)),
    }


def plain(z):
    """SELU of one number."""
    return SELU_LAMBDA * (z if z > 0 else SELU_ALPHA * math.expm1(z))


def by_quad(f, mu, nu, omega, tau):
    """(mu~, nu~) as somebody would write it without snnlib: two integrals, each split at the kink, per point."""
    result = []
    for m, s in zip((mu * omega).tolist(), np.sqrt(nu * tau).tolist(), strict=True):
        scale, cuts = 1 / (s * math.sqrt(2 * math.pi)), [0.0] if abs(m) < 10 * s else None

        def integrate(h, m=m, s=s, scale=scale, cuts=cuts):
            def integrand(z):
                x = (z - m) / s
                return h(f(z)) * scale * math.exp(-x * x / 2)

            arguments = {"points": cuts, "epsabs": 1e-14 * s, "epsrel": QUAD_ERROR, "limit": 200}
            return scipy.integrate.quad(integrand, m - 10 * s, m + 10 * s, **arguments)[0]

        mean = integrate(lambda y: y)
        result.append((mean, integrate(lambda y, mean=mean: (y - mean) ** 2)))
    return np.array(result).T


def report(name, values, rng):
    """Print one line; return whether the goals are met."""
    mu, nu, omega, tau = values
    m, v = mu * omega, nu * tau
    arguments = [np.abs(m + j * v) / np.sqrt(2 * v) for j in range(3)]
    few = [x[rng.choice(POINTS, FEW, replace=False)] for x in (mu, nu, omega, tau)]
    competitors = {
        "snnlib": lambda: moment_map("selu", *values),
        "erfcx": lambda: [scipy.special.erfcx(x) for x in arguments],
        "quad": lambda: by_quad(lambda z: float(SELU.f(z)), *few),
        "math": lambda: by_quad(plain, *few),
    }
    ours, theirs = np.array(moment_map("selu", *few)), competitors["math"]()
    scale = np.stack([np.sqrt(ours[0] ** 2 + ours[1]), ours[1]])
    assert (np.abs(ours - theirs) < 1e-6 * scale).all(), "the competitors disagree"
    times = rounds(competitors, repeat=5, runs=1)
    to_erfcx = ratio(times, "snnlib", "erfcx")
    quad, math_only = (ratio(times, other, "snnlib") * POINTS / FEW for other in ("quad", "math"))
    print(
        f"  {name:22} {1000 * statistics.median(times['snnlib']):6.0f} {to_erfcx:15.2f} {quad:22.0f} {math_only:13.0f}"
    )
    return to_erfcx <= ERFCX_GOAL and quad >= QUAD_GOAL


def main():
    """Print the table; exit with 1 when a goal is missed."""
    rng = np.random.default_rng(0)
    print("moments.moment_map for selu at 10^6 points")
    print("                                                 times as fast per point as quad with")
    print("  range                      ms   / three erfcx             the same f   f from math")
    met = [report(name, values, rng) for name, values in ranges(rng).items()]
    print(f"  goals: at most {ERFCX_GOAL} x three erfcx, {QUAD_GOAL} x as fast as quad with the same f", end=": ")
    print(f"{'met' if all(met) else 'MISSED'}\n")
    return 0 if all(met) else 1


if __name__ == "__main__":
    sys.exit(main())
