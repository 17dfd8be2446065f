"""Expectations under a Gaussian, by quadrature that splits at the kinks and refines where it must.

Used wherever the course asks what an activation does to a normally distributed pre-activation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike

_REACH = 16.0  # standard deviations; the density beyond is below 1e-56
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(20)
_UNIFORM = np.linspace(-_REACH, _REACH, 17)
_OFFSETS = np.array([-256.0, -64, -16, -4, -1, 0, 1, 4, 16, 64, 256])  # cuts around 0 and each kink, in units of z
_TOLERANCE = 1e-13
_NEGLIGIBLE = 1e-30  # what an outermost panel may hold even where nothing else does
_BISECTIONS = 50
_CHUNK = 1024  # (mean, variance) pairs handled at once; bounds the memory


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

    The line from -16 to 16 standard deviations is cut into panels, more finely around 0 and the kinks, each with 20
    Gauss-Legendre nodes. A panel is bisected until its integral no longer changes by 1e-13, relative to E|h(Z)|.

    Raises ValueError for a negative or non-finite mean or variance, and where h is not finite, does not settle, or
    grows too fast for the integral to be computed.
    """
    mean, variance = np.broadcast_arrays(np.asarray(mean, np.float64), np.asarray(variance, np.float64))
    for label, values in (("mean", mean), ("variance", variance)):
        if not np.isfinite(values).all():
            raise ValueError(f"{label} must be finite, got {values[~np.isfinite(values)].flat[0]}")
    if (variance < 0).any():
        raise ValueError(f"variance must not be negative, got {variance.min()}")

    means, stds = mean.ravel(), np.sqrt(variance).ravel()
    cuts = np.unique(np.add.outer(np.append(np.asarray(kinks, np.float64), 0.0), _OFFSETS))
    result = np.empty(means.shape)
    for start in range(0, means.size, _CHUNK):
        part = slice(start, start + _CHUNK)
        result[part] = _integrate(h, means[part], stds[part], cuts)
    return result.reshape(mean.shape)[()]


def _integrate(h: Callable, mean: np.ndarray, std: np.ndarray, cuts: np.ndarray) -> np.ndarray:
    """The integral for each pair of mean and std, shape (E,); `owner` says which pair a panel belongs to."""

    def rule(owner: np.ndarray, left: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The integrals of h and of |h| over panels of x = (z - mean) / std."""
        half = (right - left)[:, None] / 2
        x = (left + right)[:, None] / 2 + half * _NODES
        values = h(mean[owner, None] + std[owner, None] * x) * np.exp(-x * x / 2)
        values *= half * _WEIGHTS / np.sqrt(2 * np.pi)
        return values.sum(axis=1), np.abs(values).sum(axis=1)

    def fail(owner: int, what: str) -> None:
        raise ValueError(f"the expectation at mean {mean[owner]:g}, variance {std[owner] ** 2:g} {what}")

    owner, left, right = _panels(mean, std, cuts)
    whole, absolute = rule(owner, left, right)
    size = np.bincount(owner, absolute, len(mean))
    outermost = (np.abs(left) == _REACH) | (np.abs(right) == _REACH)
    heavy = outermost & (absolute > 1e-9 * size[owner]) & (absolute > _NEGLIGIBLE)
    if heavy.any():
        fail(owner[heavy][0], "cannot be computed: h grows too fast")

    result = np.zeros(len(mean))
    for _ in range(_BISECTIONS):
        middle = (left + right) / 2
        lower, upper = rule(owner, left, middle)[0], rule(owner, middle, right)[0]
        fine = lower + upper
        if not np.isfinite(fine).all():
            fail(owner[~np.isfinite(fine)][0], "is not finite: h must be finite wherever the density is not negligible")
        settled = np.abs(fine - whole) <= _TOLERANCE * size[owner]
        result += np.bincount(owner[settled], fine[settled], len(mean))
        if settled.all():
            return result
        open_ = ~settled
        owner = np.tile(owner[open_], 2)
        left, right = np.append(left[open_], middle[open_]), np.append(middle[open_], right[open_])
        whole = np.append(lower[open_], upper[open_])
    fail(owner[0], "does not settle: name the points at which h jumps or bends in kinks")


def _panels(mean: np.ndarray, std: np.ndarray, cuts: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(owner, left, right) of the first panels: uniform ones, cut also at `cuts` (in z)."""
    distance = cuts - mean[:, None]
    scaled = np.divide(distance, std[:, None], out=np.zeros_like(distance), where=std[:, None] > 0)
    uniform = np.broadcast_to(_UNIFORM, (len(mean), len(_UNIFORM)))
    edges = np.sort(np.concatenate([uniform, np.clip(scaled, -_REACH, _REACH)], axis=1), axis=1)
    owner, k = np.nonzero(edges[:, 1:] > edges[:, :-1])
    return owner, edges[owner, k], edges[owner, k + 1]
