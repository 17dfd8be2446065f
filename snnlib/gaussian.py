"""Expectations under a Gaussian, by quadrature that splits at the kinks and refines where it must.

Used wherever the course asks what an activation does to a normally distributed pre-activation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.polynomial import legendre
from numpy.typing import ArrayLike

_TOLERANCE = 1e-13
_BEYOND = 1e-14  # what the integrand may still be, relative to E|h(Z)|, where the range ends
_NEGLIGIBLE = 1e-30  # and what it may be there even if nothing is left elsewhere
_BISECTIONS = 50
_CHUNK = 96  # (mean, variance) pairs handled at once: arrays stay in the cache, and below 128 KB, where each new one
# would be fetched from the operating system page by page

# The trapezoidal rule from -12 to 12 standard deviations, where the density is 2e-32: the nodes of a rule of step 3/4
# and the midpoints between them, which together make one of step 3/8.
_COARSE, _MIDPOINTS = np.arange(-16, 17) * 3 / 4, np.arange(-31, 32, 2) * 3 / 8
_WIDEST = 1.0  # standard deviation up to which these steps are fine enough to see what h does on a scale of 1

# The Gauss-Legendre rule; where the line is cut, in standard deviations; cuts around 0 and each kink, in units of z.
_NODES, _WEIGHTS = legendre.leggauss(24)
_REACH = 16.0  # standard deviations; the density beyond is below 1e-56
_UNIFORM = np.array([-_REACH, -8, -3, 3, 8, _REACH])
_OFFSETS = np.array([-175.0, -35, -7, -1.5, 1.5, 7, 35, 175])
_NEAR = 2.5  # a cut of _UNIFORM that has another so near is left out

# What gives the Legendre coefficients 10 to 12 and 21 to 23 of the integrand on a panel from its values at the nodes.
_DEGREES = np.array([10, 11, 12, 21, 22, 23])
_COEFFICIENTS = (legendre.legvander(_NODES, 23)[:, _DEGREES] * np.outer(_WEIGHTS, _DEGREES + 0.5)).T


def expectation(
    h: Callable[[np.ndarray], np.ndarray],
    mean: ArrayLike = 0.0,
    variance: ArrayLike = 1.0,
    kinks: Sequence[float] = (),
) -> np.ndarray:
    """E[h(Z)] for Z ~ N(mean, variance).

    Parameters
    ----------
    h : works entry by entry on arrays. It should vary on a scale of 1 or slower, fastest around 0 and around the kinks,
        as the activation functions and their derivatives do, and grow more slowly than the density falls.
    mean, variance : scalars or arrays that broadcast against each other; a variance of 0 is a point mass.
    kinks : points at which h or one of its derivatives jumps. The integral is split there, which is faster and more
        accurate than to search for them.

    Returns
    -------
    Array of the broadcast shape of mean and variance (a scalar for scalars).

    Where the standard deviation is at most 1 and no kink is near, the trapezoidal rule over 12 standard deviations to
    either side is taken, if halving its step changes the result by less than 1e-13 relative to E|h(Z)|. Otherwise the
    line from -16 to 16 standard deviations is cut into panels, more finely around 0 and the kinks, each with 24
    Gauss-Legendre nodes. A panel is settled when the decay of its Legendre coefficients promises that accuracy; if not,
    it is bisected until its integral no longer changes by more.

    Raises ValueError for a negative or non-finite mean or variance, and where h is not finite, does not settle, or
    grows too fast for the integral to be computed.

    >>> float(expectation(np.square, mean=1.0, variance=2.0).round(10))
    3.0
    >>> expectation(np.abs, 0.0, [1.0, 4.0], kinks=[0.0]).round(4)
    array([0.7979, 1.5958])
    """
    mean, variance = np.broadcast_arrays(np.asarray(mean, np.float64), np.asarray(variance, np.float64))
    for label, values in (("mean", mean), ("variance", variance)):
        if not np.isfinite(values).all():
            raise ValueError(f"{label} must be finite, got {values[~np.isfinite(values)].flat[0]}")
    if (variance < 0).any():
        raise ValueError(f"variance must not be negative, got {variance.min()}")

    means, stds, kinks = mean.ravel(), np.sqrt(variance).ravel(), np.asarray(kinks, np.float64)
    smooth = (np.abs(np.subtract.outer(kinks, means)) >= _REACH * stds).all(axis=0) & (stds <= _WIDEST)
    points = np.unique(np.append(kinks, 0.0))
    result = np.full(means.shape, np.nan)
    for part in _chunks(smooth, 4 * _CHUNK):
        result[part] = _trapezoidal(h, means[part], stds[part])
    for part in _chunks(np.isnan(result), _CHUNK):
        result[part] = _integrate(h, means[part], stds[part], points)
    return result.reshape(mean.shape)[()]


def _chunks(chosen: np.ndarray, size: int) -> Iterator[np.ndarray]:
    """The indices at which `chosen` holds, `size` at a time."""
    indices = np.flatnonzero(chosen)
    return (indices[start : start + size] for start in range(0, len(indices), size))


def _sums(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """values @ weights; whether values are finite is judged elsewhere, without a warning."""
    with np.errstate(all="ignore"):
        return values @ weights


def _density(x: np.ndarray) -> np.ndarray:
    """The density of the standard normal distribution."""
    y = x * x
    y *= -0.5
    np.exp(y, out=y)
    y *= 1 / np.sqrt(2 * np.pi)
    return y


def _trapezoidal(h: Callable, mean: np.ndarray, std: np.ndarray) -> np.ndarray:
    """The integral for each pair of mean and std, shape (E,), by the trapezoidal rule; nan where it does not settle."""

    def rule(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The rule with the nodes x, for h and for |h|."""
        values = h(mean[:, None] + std[:, None] * x)
        weights = (x[1] - x[0]) * _density(x)
        return _sums(values, weights), _sums(np.abs(values), weights)

    (whole, size), (middle, _) = rule(_COARSE), rule(_MIDPOINTS)
    # What is cut off at the ends tells the two apart, too; where something is not finite, the comparison does not hold.
    with np.errstate(invalid="ignore"):
        settled = np.abs(middle - whole) <= 2 * _TOLERANCE * size
    return np.where(settled, (whole + middle) / 2, np.nan)


def _integrate(h: Callable, mean: np.ndarray, std: np.ndarray, points: np.ndarray) -> np.ndarray:
    """The integral for each pair of mean and std, shape (E,); `owner` says which pair a panel belongs to."""

    def integrand(owner: np.ndarray, left: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """What is integrated over a panel of x = (z - mean) / std, stretched to [-1, 1], at the nodes; its integral."""
        half = (right - left)[:, None] / 2
        x = half * _NODES
        x += (left + right)[:, None] / 2
        values = _density(x)
        values *= half
        x *= std[owner, None]
        x += mean[owner, None]
        values *= h(x)
        whole = _sums(values, _WEIGHTS)
        finite = np.isfinite(whole)
        if not finite.all():
            fail(owner[~finite][0], "is not finite: h must be finite wherever the density is not negligible")
        return values, whole

    def fail(owner: int, what: str) -> None:
        raise ValueError(f"the expectation at mean {mean[owner]:g}, variance {std[owner] ** 2:g} {what}")

    owner, left, right = _panels(mean, std, points)
    values, whole = integrand(owner, left, right)
    size = np.bincount(owner, _sums(np.abs(values), _WEIGHTS), len(mean))
    ends = np.maximum(np.abs(values[left == -_REACH, 0]), np.abs(values[right == _REACH, -1]))  # one of each per pair
    heavy = (ends > _BEYOND * size) & (ends > _NEGLIGIBLE)
    if heavy.any():
        fail(np.flatnonzero(heavy)[0], "cannot be computed: h grows too fast")

    settled = _error(values) <= _TOLERANCE * size[owner]
    result = np.bincount(owner[settled], whole[settled], len(mean))
    for _ in range(_BISECTIONS):
        if settled.all():
            return result
        owner, left, right, whole = owner[~settled], left[~settled], right[~settled], whole[~settled]
        middle = (left + right) / 2
        lower, upper = (integrand(owner, *ends)[1] for ends in ((left, middle), (middle, right)))
        settled = np.abs(lower + upper - whole) <= _TOLERANCE * size[owner]
        result += np.bincount(owner[settled], (lower + upper)[settled], len(mean))
        owner, settled = np.tile(owner, 2), np.tile(settled, 2)
        left, right, whole = np.append(left, middle), np.append(middle, right), np.append(lower, upper)
    fail(owner[~settled][0], "does not settle: name the points at which h jumps or bends in kinks")


def _error(values: np.ndarray) -> np.ndarray:
    """An estimate of the rule's error on each panel, from the Legendre coefficients of the integrand.

    The rule is exact up to degree 47, so that its error is about the coefficient of degree 48. What the coefficients
    lose from degree 12 to 24, they lose twice more until there, if they decay geometrically; at a kink they do not.
    """
    coefficients = np.abs(_sums(_COEFFICIENTS, values.T))
    middle, last = coefficients[:3].max(axis=0), coefficients[3:].max(axis=0)
    loss = np.divide(last, middle, out=np.ones_like(last), where=middle > last)
    return 2 * last * loss**2


def _panels(mean: np.ndarray, std: np.ndarray, points: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(owner, left, right) of the first panels: the line is cut at the points (in z), around them, and at _UNIFORM."""

    def scaled(cuts: np.ndarray, reach: float) -> np.ndarray:
        distance = np.subtract.outer(cuts.ravel(), mean)
        x = np.divide(distance, std, out=np.zeros_like(distance), where=std > 0)
        return np.minimum(np.maximum(x, -reach), reach)

    around = scaled(np.add.outer(points, _OFFSETS), _UNIFORM[-2])
    uniform = np.repeat(_UNIFORM[:, None], len(mean), axis=1)
    spare = np.abs(uniform[1:-1, None] - around).min(axis=1) < _NEAR
    uniform[1:-1][spare] = _REACH  # where a cut already is
    edges = np.sort(np.concatenate([uniform, around, scaled(points, _REACH)]).T.copy(), axis=1)
    owner, k = np.nonzero(edges[:, 1:] > edges[:, :-1])
    return owner, edges[owner, k], edges[owner, k + 1]
