"""What theory says of a signal and a gradient through depth: chi, xi, order and chaos.

Chapter: book/gradients/signal-propagation. The network is fully connected and wide, with weights drawn from
N(0, sigma_w^2 / n) and biases from N(0, sigma_b^2); its pre-activations are then Gaussian. **q is the variance of the
pre-activations**, of one input; c is the correlation coefficient between the pre-activations of two inputs.

    q' = sigma_w^2 E[f(sqrt(q) Z)^2] + sigma_b^2                 Poole et al. (2016), equation 3
    chi = sigma_w^2 E[f'(sqrt(q) Z)^2]                           Schoenholz et al. (2017), equation 5

The squared norm of a gradient grows by the factor chi per layer that it passes. Where chi < 1 at the fixed point of q,
all inputs become alike (order); where chi > 1, they become independent of how alike they were (chaos).

Activations are given by name or as an `activations.Activation`; scalars and arrays broadcast, scalars in, scalars out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize

from snnlib import activations
from snnlib.activations import Activation
from snnlib.gaussian import expectation

_SMALLEST, _LARGEST = 1e-10, 1e12  # a variance below counts as 0 where 0 is a fixed point, one above as infinite
_GRID = np.geomspace(_SMALLEST, _LARGEST, 441)
_EQUAL = 1e-14  # a map that falls short of q by less has not begun to contract: relu at sigma_w = sqrt(2) with bias
_ROUNDING = 1e-13  # how far a value may be from its fixed point and still count as fixed
_CRITICAL = 1e-11  # how far chi may be from 1 and still count as critical


def variance_map(
    activation: str | Activation, q: ArrayLike, sigma_w: ArrayLike, sigma_b: ArrayLike = 0.0
) -> np.ndarray:
    """The variance of the next layer's pre-activations: sigma_w^2 E[f(sqrt(q) Z)^2] + sigma_b^2.

    activation is a name or an `Activation`; q, sigma_w and sigma_b broadcast. Raises ValueError where one of them is
    negative or not finite. Poole et al. (2016), equation 3; eq-variance-map.

    >>> variance_map("relu", [1.0, 4.0], sigma_w=1.0).round(6)
    array([0.5, 2. ])
    """
    q, sigma_w, sigma_b = _checked(q=q, sigma_w=sigma_w, sigma_b=sigma_b)
    return sigma_w**2 * _square(activations.get(activation), q) + sigma_b**2


def variance_path(
    activation: str | Activation, depth: int, sigma_w: ArrayLike, sigma_b: ArrayLike = 0.0, q: ArrayLike = 1.0
) -> np.ndarray:
    """The variances of the pre-activations of layers 1, ..., depth, where layer 1 has q; shape (depth, ...).

    activation, sigma_w and sigma_b as in `variance_map`; q, sigma_w and sigma_b broadcast to the further axes. `chi` of
    the result, with the same sigma_w, is by what factor each layer's activation and the weights behind it multiply the
    squared norm of a gradient.

    Raises ValueError for depth < 1 and where q, sigma_w or sigma_b is negative or not finite.

    >>> variance_path("tanh", depth=4, sigma_w=1.0).round(4)
    array([1.    , 0.3943, 0.2365, 0.1667])
    """
    if depth < 1:
        raise ValueError(f"depth must be at least 1, got {depth}")
    q, sigma_w, sigma_b = np.broadcast_arrays(*_checked(q=q, sigma_w=sigma_w, sigma_b=sigma_b))
    path = [q]
    for _ in range(depth - 1):
        path.append(variance_map(activation, path[-1], sigma_w, sigma_b))
    return np.array(path)


def variance_fixed_point(activation: str | Activation, sigma_w: ArrayLike, sigma_b: ArrayLike = 0.0) -> np.ndarray:
    """The variance that the pre-activations of deep layers tend to when those of the first have q = 1.

    The map is increasing in q for every activation of the course, so that this is the nearest fixed point above 1, if
    variance_map(1) > 1, or below, if it is smaller. It is found as a root, not by iteration: at criticality iteration
    takes for ever. The value is

    - 0 where the signal dies out, which includes fixed points below 1e-10 when f(0) = 0 and sigma_b = 0;
    - inf where it grows without bound, which includes fixed points above 1e12;
    - 1 where q = 1 is itself fixed: relu with sigma_w = sqrt(2) and sigma_b = 0 keeps every variance.

    activation as in `chi`; sigma_w and sigma_b broadcast. Raises ValueError where one of them is negative or not
    finite.

    >>> variance_fixed_point("tanh", [0.9, 1.5]).round(4)
    array([0.    , 0.7934])
    """
    a = activations.get(activation)
    sigma_w, sigma_b = np.broadcast_arrays(*_checked(sigma_w=sigma_w, sigma_b=sigma_b))
    weight, bias = sigma_w.ravel() ** 2, sigma_b.ravel() ** 2
    low, high = _bracket(a, weight, bias)
    result = high.copy()
    inside = (high > 0) & (high < np.inf)
    result[inside] = _newton(a, weight[inside], bias[inside], low[inside], high[inside])
    result[np.abs(weight * _square(a, 1.0) + bias - 1) <= _ROUNDING] = 1.0
    return result.reshape(sigma_w.shape)[()]


def chi(
    activation: str | Activation, sigma_w: ArrayLike, sigma_b: ArrayLike = 0.0, q: ArrayLike | None = None
) -> np.ndarray:
    """The mean squared slope of a layer, sigma_w^2 E[f'(sqrt(q) Z)^2]; q is the fixed point if not given.

    activation is a name or an `Activation`. At q = 0 and q = inf it is the limit: half the squared slopes on either
    side, next to 0 and far out. q, sigma_w and sigma_b broadcast; sigma_b matters only for the fixed point.
    Schoenholz et al. (2017), equation 5; eq-chi.

    Raises ValueError where sigma_w or sigma_b is negative or not finite, or q is negative or nan.

    >>> print(f"{chi('selu', 1.0):.4f}")
    1.0716
    """
    sigma_w, sigma_b = _checked(sigma_w=sigma_w, sigma_b=sigma_b)
    if q is None:
        q = variance_fixed_point(activation, sigma_w, sigma_b)
    q = np.asarray(q, np.float64)
    if not (q >= 0).all():
        raise ValueError(f"q must be at least 0 (inf is allowed), got {q[~(q >= 0)].flat[0]}: it is a variance")
    return (sigma_w**2 * _squared_slope(activations.get(activation), q) + 0 * sigma_b)[()]


def correlation_map(
    activation: str | Activation, c: ArrayLike, q: ArrayLike, sigma_w: ArrayLike, sigma_b: ArrayLike = 0.0
) -> np.ndarray:
    """The correlation coefficient of the next layer's pre-activations of two inputs.

    The two have pre-activations of equal variance q and correlation c here: u_1, u_2. In the next layer both have
    variance q' = variance_map(q), and the coefficient is (sigma_w^2 E[f(u_1) f(u_2)] + sigma_b^2) / q'; it is 1 for
    c = 1. Poole et al. (2016), equation 5, at the fixed point q' = q; eq-correlation-map.

    activation as in `chi`; c, q, sigma_w and sigma_b broadcast; the time grows with the number of different (c, q),
    about a millisecond each.

    Raises ValueError where c is outside [-1, 1], q or q' is not positive, or one of the others is negative or not
    finite.

    >>> correlation_map("relu", [0.0, 0.5, 1.0], q=1.0, sigma_w=2**0.5).round(4)
    array([0.3183, 0.609 , 1.    ])
    """
    a = activations.get(activation)
    q, sigma_w, sigma_b = _checked(q=q, sigma_w=sigma_w, sigma_b=sigma_b)
    c, q = np.broadcast_arrays(np.asarray(c, np.float64), q)
    if not (np.abs(c) <= 1).all():
        raise ValueError(f"c must be in [-1, 1], got {c[~(np.abs(c) <= 1)].flat[0]}: it is a correlation coefficient")
    following = variance_map(a, q, sigma_w, sigma_b)
    if not (q > 0).all() or not (following > 0).all():
        raise ValueError(
            "where a variance is 0 no correlation is defined: choose q > 0, and sigma_w > 0 or sigma_b > 0"
        )
    product = np.array([_product(a, a.f, *pair) for pair in zip(c.flat, q.flat, strict=True)]).reshape(c.shape)
    return np.where(c == 1, 1.0, (sigma_w**2 * product + sigma_b**2) / following)[()]


def correlation_fixed_point(activation: str | Activation, sigma_w: ArrayLike, sigma_b: ArrayLike = 0.0) -> np.ndarray:
    """The correlation that two inputs tend to in deep layers: 1 in the ordered phase and at criticality, less in chaos.

    In chaos, chi > 1 makes c = 1 repelling, and there is one more fixed point in [0, 1), because the Taylor
    coefficients of the correlation map are not negative. 1 is returned as well where the signal dies out or grows
    without bound, and where the fixed point is nearer to 1 than 1e-9.

    activation as in `chi`; sigma_w and sigma_b broadcast, at some 20 ms for each chaotic pair. Raises ValueError where
    one of them is negative or not finite.

    >>> correlation_fixed_point("tanh", [1.0, 1.5], sigma_b=0.1).round(4)
    array([1.    , 0.1801])
    """
    a = activations.get(activation)
    sigma_w, sigma_b = np.broadcast_arrays(*_checked(sigma_w=sigma_w, sigma_b=sigma_b))
    q = np.asarray(variance_fixed_point(a, sigma_w, sigma_b))
    chaotic = np.isfinite(q) & (q > 0) & (np.asarray(chi(a, sigma_w, sigma_b, q)) > 1 + _CRITICAL)
    result = np.ones(q.shape)
    for i in map(tuple, np.argwhere(chaotic)):
        result[i] = _chaotic_correlation(a, q[i], sigma_w[i], sigma_b[i])
    return result[()]


def depth_scale(activation: str | Activation, sigma_w: ArrayLike, sigma_b: ArrayLike = 0.0) -> np.ndarray:
    """xi, in layers: how deep a signal can be followed, |c_l - c*| ~ exp(-l / xi).

    xi = -1 / ln(slope of the correlation map at its stable fixed point), Schoenholz et al. (2017), equation 9;
    eq-depth-scale. In the ordered phase the slope is chi. xi is inf where chi = 1 (to 1e-11), and where the variance
    grows without bound: there c tends to 1 more slowly than any exponential. Where the signal dies out, xi is that of
    its dying.

    activation as in `chi`; sigma_w and sigma_b broadcast. Raises ValueError where one of them is negative or not
    finite.

    >>> depth_scale("tanh", [1.0, 1.5], sigma_b=0.1).round(2)
    array([ 7.57, 14.85])
    """
    a = activations.get(activation)
    sigma_w, sigma_b = np.broadcast_arrays(*_checked(sigma_w=sigma_w, sigma_b=sigma_b))
    q = np.asarray(variance_fixed_point(a, sigma_w, sigma_b))
    c = np.asarray(correlation_fixed_point(a, sigma_w, sigma_b))
    slope = np.where(np.isinf(q), 1.0, chi(a, sigma_w, sigma_b, q))
    for i in map(tuple, np.argwhere(c < 1)):
        slope[i] = sigma_w[i] ** 2 * _product(a, a.derivative, c[i], q[i])
    return _scale(slope)


def variance_depth_scale(activation: str | Activation, sigma_w: ArrayLike, sigma_b: ArrayLike = 0.0) -> np.ndarray:
    """xi_q, in layers: how fast the variance forgets the input, |q_l - q*| ~ exp(-l / xi_q).

    xi_q = -1 / ln(slope of the variance map at its fixed point), Schoenholz et al. (2017), equation 7; inf where the
    slope is 1 and where the variance grows without bound.

    activation as in `chi`; sigma_w and sigma_b broadcast. Raises ValueError where one of them is negative or not
    finite.

    >>> print(f"{variance_depth_scale('tanh', 1.5, 0.1):.2f}")
    1.42
    """
    a = activations.get(activation)
    sigma_w, sigma_b = _checked(sigma_w=sigma_w, sigma_b=sigma_b)
    q = variance_fixed_point(a, sigma_w, sigma_b)
    finite = np.isfinite(q)
    return _scale(np.where(finite, sigma_w**2 * _square_slope(a, np.where(finite, q, 1.0)), 1.0))


def critical_sigma_w(activation: str | Activation, sigma_b: float) -> float:
    """The sigma_w at which chi = 1 at the fixed point of the variance: the edge of chaos, for one sigma_b.

    activation as in `chi`, sigma_b a number. Where chi = 1, sigma_w^2 = 1 / E[f'(sqrt(q) Z)^2], and q is fixed if
    sigma_b^2 = q - E[f^2] / E[f'^2]; q is the smallest root of that equation which the variance tends to from 1.
    Without bias the root may be q = 0 (tanh: sigma_w = 1; selu: 0.690), and for relu it is every q. With bias the
    variance of a critical relu network grows without bound, and sqrt(2) is returned as the limit. The sigmoid needs
    large weights, 10.1 without bias; gelu and silu have no critical point unless sigma_b is large: chi jumps over 1, as
    the variance goes from settling low to growing without bound.

    Raises ValueError where sigma_b is negative, not finite or not a scalar, and where there is no such sigma_w.

    >>> print(f"{critical_sigma_w('selu', 0.0):.4f}")
    0.6905
    """
    a = activations.get(activation)
    (sigma_b,) = _checked(sigma_b=sigma_b)
    if sigma_b.ndim:
        raise ValueError(f"sigma_b must be one number, got an array of shape {sigma_b.shape}")

    def excess(log_q: np.ndarray) -> np.ndarray:
        q = np.exp(log_q)
        return (q - _square(a, q) / _squared_slope(a, q) - sigma_b**2) / q

    def candidates() -> Iterator[float]:
        """The variances at which chi = 1, with the limits 0 and inf, smallest first."""
        yield 0.0
        log_q = np.log(_GRID)
        values = excess(log_q)
        clear = np.abs(values) > _ROUNDING  # where it is rounding alone, its sign means nothing
        log_q, positive = log_q[clear], values[clear] > 0
        for k in np.flatnonzero(positive[1:] != positive[:-1]):
            yield np.exp(optimize.brentq(excess, log_q[k], log_q[k + 1], xtol=1e-14))
        yield np.inf

    for q in candidates():
        slope = _squared_slope(a, np.asarray(q))
        if slope > 0 and abs(chi(a, slope**-0.5, sigma_b) - 1) < 1e-10:
            return float(slope**-0.5)
    raise ValueError(
        f"{a.name} has no critical point at sigma_b = {sigma_b:g}: chi is 1 at no variance that q = 1 leads to"
    )


# --- the pieces ------------------------------------------------------------------------------------------------------


def _checked(**values: ArrayLike) -> list[np.ndarray]:
    """The values as float64 arrays, or ValueError where one is negative or not finite."""
    arrays = []
    for label, value in values.items():
        array = np.asarray(value, np.float64)
        wrong = ~(np.isfinite(array) & (array >= 0))
        if wrong.any():
            meaning = "variance" if label == "q" else "standard deviation"
            raise ValueError(f"{label} must be finite and at least 0, got {array[wrong].flat[0]}: it is a {meaning}")
        arrays.append(array)
    return arrays


def _square(a: Activation, q: ArrayLike) -> np.ndarray:
    """E[f(sqrt(q) Z)^2]."""
    return expectation(lambda z: a.f(z) ** 2, 0.0, q, a.kinks)


def _square_slope(a: Activation, q: np.ndarray) -> np.ndarray:
    """d/dq E[f(sqrt(q) Z)^2] = E[u f(u) f'(u)] / q with u = sqrt(q) Z."""

    def h(u: np.ndarray) -> np.ndarray:
        value, slope = a.value_and_derivative(u)
        return u * value * slope

    positive = q > 0
    safe = np.where(positive, q, 1.0)
    return np.where(positive, expectation(h, 0.0, safe, a.kinks) / safe, _mean_of_slopes(a, 5e-324))


def _squared_slope(a: Activation, q: np.ndarray) -> np.ndarray:
    """E[f'(sqrt(q) Z)^2], with its limits at q = 0 and q = inf."""
    within = (q > 0) & (q < np.inf)
    result = expectation(lambda z: a.derivative(z) ** 2, 0.0, np.where(within, q, 1.0), a.kinks)
    return np.where(within, result, np.where(q > 0, _mean_of_slopes(a, 1e300), _mean_of_slopes(a, 5e-324)))


def _mean_of_slopes(a: Activation, z: float) -> float:
    """(f'(-z)^2 + f'(z)^2) / 2: what half the Gaussian sees on either side, next to 0 or far out."""
    return float(np.mean(a.derivative(np.array([-z, z])) ** 2))


def _bracket(a: Activation, weight: np.ndarray, bias: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(low, high) around the first fixed point met from q = 1; (0, 0) where that is 0, high = inf where it is inf.

    weight = sigma_w^2 and bias = sigma_b^2 have shape (E,). The map lies above q at low and not above it at high.
    """
    growing = np.multiply.outer(weight, _square(a, _GRID)) + bias[:, None] > (1 - _EQUAL) * _GRID
    index, start = np.arange(len(_GRID)), np.searchsorted(_GRID, 1.0)
    upwards = np.where(~growing & (index >= start), index, len(_GRID)).min(axis=1)
    downwards = np.where(growing & (index < start), index, -1).max(axis=1) + 1
    k = np.where(weight * _square(a, 1.0) + bias > 1, upwards, downwards)
    at_zero = weight * a.f(0.0) ** 2 + bias  # the increasing map has no fixed point below its value at 0
    high = np.append(_GRID, np.inf)[k]
    return np.where(k > 0, _GRID[k - 1], at_zero), np.where((k > 0) | (at_zero > 0), high, 0.0)


def _newton(a: Activation, weight: np.ndarray, bias: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """The fixed points between low and high, shape (E,), by Newton's method, and bisection where it leaves."""
    q, active = high.copy(), np.arange(len(high))
    for _ in range(60):
        x = q[active]
        excess = weight[active] * _square(a, x) + bias[active] - x
        slope = weight[active] * _square_slope(a, x) - 1
        low[active] = np.where(excess > 0, x, low[active])
        high[active] = np.where(excess > 0, high[active], x)
        with np.errstate(divide="ignore", invalid="ignore"):
            following = x - excess / slope
        inside = (low[active] <= following) & (following <= high[active])
        q[active] = np.where(inside, following, (low[active] + high[active]) / 2)
        active = active[(np.abs(excess) > 4e-16 * x) & (np.abs(q[active] - x) > 1e-15 * x)]
        if not active.size:
            break
    return q


def _product(a: Activation, f: Callable[[np.ndarray], np.ndarray], c: float, q: float) -> float:
    """E[f(u_1) f(u_2)] for Gaussian u_1, u_2 of variance q and correlation c; f is a.f or a.derivative.

    Given u_1, the other is Gaussian of mean c u_1 and variance (1 - c^2) q: one expectation within another. What the
    inner one makes of a kink bends at kink / c, within a few of its standard deviations; the outer one is cut there.
    Near c = 0 the inner one is hardly more than its own rounding where f has mean 0, and the outer one would never
    settle on that. So the size of f is added inside, and what this contributes, size E[f(u_1)], subtracted again.
    """
    width = np.sqrt((1 - c) * (1 + c) * q)
    size = np.sqrt(expectation(lambda u: f(u) ** 2, 0.0, q, a.kinks))

    def h(u: np.ndarray) -> np.ndarray:
        return f(u) * (expectation(f, c * u, width**2, a.kinks) + size)

    bends = {(kink + j * width) / c for kink in a.kinks for j in (-6, -2, 0, 2, 6)} if c else set()
    return float(expectation(h, 0.0, q, sorted(bends.union(a.kinks))) - size * expectation(f, 0.0, q, a.kinks))


def _chaotic_correlation(a: Activation, q: float, sigma_w: float, sigma_b: float) -> float:
    """The fixed point of the correlation map in [0, 1), where chi > 1; 1.0 where it is nearer to 1 than 1e-9."""

    def excess(c: float) -> float:
        return correlation_map(a, c, q, sigma_w, sigma_b) - c

    if excess(0.0) <= _ROUNDING:
        return 0.0
    low = 0.0
    for high in 1 - 10.0 ** -np.arange(1, 10):
        if excess(high) < 0:
            return optimize.brentq(excess, low, high, xtol=1e-15)
        low = high
    return 1.0


def _scale(slope: ArrayLike) -> np.ndarray:
    """-1 / ln(slope), and inf where the slope is 1 (or, by rounding, a little more)."""
    slope = np.asarray(slope, np.float64)
    decaying = np.where(slope < 1 - _CRITICAL, slope, 0.5)
    with np.errstate(divide="ignore"):
        return np.where(slope < 1 - _CRITICAL, -1 / np.log(decaying), np.inf)[()]
