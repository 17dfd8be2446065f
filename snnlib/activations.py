"""Activation functions: value, derivative, kinks, and the torch module that computes the same.

Chapter: book/backpropagation/one-layer. Everything works entry by entry on arrays of any shape, keeps float32 and
float64 as they come (integers become float64), and raises no overflow warning for any finite argument.

**Convention at a kink.** Where a function has no derivative, `derivative` gives the one from the left, as torch does:
relu'(0) = 0, selu'(0) = lambda * alpha.

**Complex arguments.** `f` also accepts complex arrays: the branch is chosen by the real part and continued
analytically. The complex-step check of `backprop.check_gradients` needs that; `derivative` is for real arguments.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

#: What functions here take and return; scalars count as arrays of shape ().
Array = np.ndarray

#: SELU's alpha, Klambauer et al. (2017), equation 14, correctly rounded to float64; eq-alpha.
SELU_ALPHA = 1.6732632423543772848
#: SELU's lambda, likewise; eq-lambda.
SELU_LAMBDA = 1.0507009873554804934

LEAKY_SLOPE = 0.01  #: The slope of leaky_relu for z <= 0.


@dataclass(frozen=True)
class Activation:
    """One activation function and what the course needs to know of it.

    Attributes
    ----------
    name : the name that `get` knows, or one that spells out the constants.
    f : z -> f(z), entry by entry; real or complex argument.
    derivative : z -> f'(z), entry by entry; real argument; the left derivative at a kink.
    kinks : the points at which f is not infinitely often differentiable; quadrature splits there.
    exponential_linear : (alpha, lam) if f(z) = lam z for z > 0 and lam alpha (e^z - 1) otherwise, else None; what is
        known in closed form for this family (`moments`) goes by it.

    >>> relu = get("relu")
    >>> relu.f(np.array([-1.0, 2.0])), relu.derivative(np.array([-1.0, 2.0])), relu.kinks
    (array([0., 2.]), array([0., 1.]), (0.0,))
    """

    name: str
    f: Callable[[ArrayLike], Array]
    derivative: Callable[[ArrayLike], Array]
    kinks: tuple[float, ...] = ()
    _module: Callable = field(default=lambda nn: nn.Identity(), repr=False)  # torch.nn -> the module
    _both: Callable[[ArrayLike], tuple[Array, Array]] | None = field(default=None, repr=False)
    exponential_linear: tuple[float, float] | None = field(default=None, repr=False)

    def value_and_derivative(self, z: ArrayLike) -> tuple[Array, Array]:
        """(f(z), f'(z)) for real z, computing once what both need (one exponential instead of two).

        z may have any shape. Agrees with `f` and `derivative` up to rounding: the derivative may differ by a few units
        in the last place of the largest slope of f.
        """
        return (self.f(z), self.derivative(z)) if self._both is None else self._both(z)

    def module(self):
        """A new torch.nn.Module that computes the same function, entry by entry, on any tensor (imports torch)."""
        import torch

        return self._module(torch.nn)


def get(name: str | Activation) -> Activation:
    """The activation of that name, one of `names`; an `Activation` comes back as it is.

    Raises ValueError for an unknown name, with the names that exist.

    >>> get("selu").f(np.array([-1.0, 0.0, 1.0])).round(4)
    array([-1.1113,  0.    ,  1.0507])
    """
    if isinstance(name, Activation):
        return name
    if name not in _ALL:
        raise ValueError(f"unknown activation {name!r}; choose one of {', '.join(_ALL)}")
    return _ALL[name]


def names() -> tuple[str, ...]:
    """The names that `get` accepts.

    >>> names()
    ('identity', 'sigmoid', 'tanh', 'relu', 'leaky_relu', 'elu', 'selu', 'gelu', 'silu')
    """
    return tuple(_ALL)


def selu(alpha: float = SELU_ALPHA, lam: float = SELU_LAMBDA) -> Activation:
    """The scaled exponential linear unit: lambda z for z > 0, lambda alpha (e^z - 1) otherwise.

    Equation 11 of the lecture, eq-selu; Klambauer et al. (2017), equation 2. Raises ValueError when alpha or lam is not
    finite.

    >>> selu(alpha=1.5, lam=1.1).f(np.array([-1.0, 1.0])).round(4)
    array([-1.043,  1.1  ])
    """
    for label, value in (("alpha", alpha), ("lam", lam)):
        if not np.isfinite(value):
            raise ValueError(f"{label} must be a finite number, got {value!r}")
    if (alpha, lam) == (SELU_ALPHA, SELU_LAMBDA):
        return _exponential_linear("selu", alpha, lam, lambda nn: nn.SELU())
    name = f"selu(alpha={alpha:.6g}, lam={lam:.6g})"
    return _exponential_linear(name, alpha, lam, lambda nn: _scaled_elu(nn, alpha, lam))


def _floating(z: ArrayLike) -> Array:
    """z as an array of a floating or complex type; integers and booleans become float64."""
    z = np.asarray(z)
    return z if z.dtype.kind in "fc" else z.astype(np.float64)


def _scaled_elu(nn, alpha: float, lam: float):
    class ScaledELU(nn.Module):
        def forward(self, z):
            return lam * nn.functional.elu(z, alpha)

    return ScaledELU()


# --- piecewise linear ------------------------------------------------------------------------------------------------


def _identity() -> Activation:
    def f(z):
        return _floating(z)

    def derivative(z):
        return np.ones_like(_floating(z))

    return Activation("identity", f, derivative)


def _relu() -> Activation:
    def f(z):
        z = _floating(z)
        return np.maximum(z, 0) if z.dtype.kind == "f" else z * (z.real > 0)

    def derivative(z):
        z = _floating(z)
        return (z > 0).astype(z.dtype)

    return Activation("relu", f, derivative, (0.0,), lambda nn: nn.ReLU(), exponential_linear=(0.0, 1.0))


def _leaky_relu() -> Activation:
    def f(z):
        z = _floating(z)
        return np.where(z.real > 0, z, LEAKY_SLOPE * z)

    def derivative(z):
        z = _floating(z)
        return np.where(z > 0, 1, LEAKY_SLOPE).astype(z.dtype)

    return Activation("leaky_relu", f, derivative, (0.0,), lambda nn: nn.LeakyReLU(LEAKY_SLOPE))


# --- exponential linear: elu and selu --------------------------------------------------------------------------------


def _exponential_linear(name: str, alpha: float, lam: float, module: Callable) -> Activation:
    """lam z for z > 0, lam alpha (e^z - 1) otherwise; expm1 keeps the digits near 0, minimum keeps e^z finite."""

    def f(z):
        z = _floating(z)
        if z.dtype.kind == "c":
            positive = z.real > 0
            return lam * np.where(positive, z, alpha * np.expm1(np.where(positive, 0, z)))
        y = np.expm1(np.minimum(z, 0))
        y *= alpha
        y += np.maximum(z, 0)
        y *= lam
        return y

    def derivative(z):
        z = _floating(z)
        return np.where(z > 0, lam, lam * alpha * np.exp(np.minimum(z, 0))).astype(z.dtype, copy=False)

    def both(z):
        z = _floating(z)
        y = f(z)
        return y, np.where(z > 0, z.dtype.type(lam), y + z.dtype.type(lam * alpha))

    return Activation(name, f, derivative, (0.0,), module, both, (alpha, lam))


# --- smooth ----------------------------------------------------------------------------------------------------------


def _sigmoid_value(z: Array) -> Array:
    if z.dtype.kind == "f":
        return special.expit(z)
    e = np.exp(np.where(z.real > 0, -z, z))  # never larger than 1
    return np.where(z.real > 0, 1, e) / (1 + e)


def _sigmoid() -> Activation:
    def f(z):
        return _sigmoid_value(_floating(z))

    def derivative(z):
        z = _floating(z)
        return special.expit(z) * special.expit(-z)

    def both(z):
        y = f(z)
        return y, y * (1 - y)

    return Activation("sigmoid", f, derivative, (), lambda nn: nn.Sigmoid(), both)


def _tanh() -> Activation:
    def f(z):
        return np.tanh(_floating(z))

    def derivative(z):
        # 1 / cosh^2, written so that nothing overflows and no digits cancel
        e = np.exp(-2 * np.abs(_floating(z)))
        return 4 * e / (1 + e) ** 2

    def both(z):
        y = f(z)
        return y, 1 - y * y

    return Activation("tanh", f, derivative, (), lambda nn: nn.Tanh(), both)


def _silu() -> Activation:
    def f(z):
        z = _floating(z)
        return z * _sigmoid_value(z)

    def both(z):
        z = _floating(z)
        s = special.expit(z)
        return z * s, s * (1 + z * special.expit(-z))

    def derivative(z):
        return both(z)[1]

    return Activation("silu", f, derivative, (), lambda nn: nn.SiLU(), both)


def _gelu() -> Activation:
    """z Phi(z) with the exact normal distribution function Phi (Hendrycks and Gimpel, 2016)."""

    def normal_cdf(z):
        return special.ndtr(z) if z.dtype.kind == "f" else special.erfc(-z / np.sqrt(2)) / 2

    def density(z):
        return np.exp(-np.square(np.clip(z, -40, 40)) / 2) / np.sqrt(2 * np.pi, dtype=z.dtype)  # 0 beyond 40

    def f(z):
        z = _floating(z)
        return z * normal_cdf(z)

    def both(z):
        z = _floating(z)
        cdf = normal_cdf(z)
        return z * cdf, cdf + z * density(z)

    def derivative(z):
        return both(z)[1]

    return Activation("gelu", f, derivative, (), lambda nn: nn.GELU(), both)


_ALL = {
    activation.name: activation
    for activation in (
        _identity(),
        _sigmoid(),
        _tanh(),
        _relu(),
        _leaky_relu(),
        _exponential_linear("elu", 1.0, 1.0, lambda nn: nn.ELU()),
        selu(),
        _gelu(),
        _silu(),
    )
}
