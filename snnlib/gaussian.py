"""Expectations under a Gaussian, by quadrature that splits at the kinks and checks itself.

Used wherever the course asks what an activation does to a normally distributed pre-activation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike

_REACH = 16.0  # standard deviations; the density beyond is below 1e-56
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(20)
_PANELS = (16, 64, 256, 1024)
_TOLERANCE = 1e-12
_CHUNK = 256  # (mean, variance) pairs handled at once; bounds the memory


def expectation(
    h: Callable[[np.ndarray], np.ndarray],
    mean: ArrayLike = 0.0,
    variance: ArrayLike = 1.0,
    kinks: Sequence[float] = (),
) -> np.ndarray:
    """E[h(Z)] for Z ~ N(mean, variance).

    Parameters
    ----------
    h : works entry by entry on arrays, and grows slower than the density falls.
    mean, variance : scalars or arrays that broadcast against each other; a variance of 0 is a point mass.
    kinks : points at which h or one of its derivatives jumps; the integral is split there.

    Returns
    -------
    Array of the broadcast shape of mean and variance (a scalar for scalars).

    The line from -16 to 16 standard deviations is cut into panels, at the kinks besides, each with 20 Gauss-Legendre
    nodes. The number of panels grows fourfold until the result settles to 1e-12, relative to E|h(Z)|.

    Raises ValueError for a negative or non-finite mean or variance, and when the integral does not settle: h jumps or
    bends at a point that `kinks` does not name, or it grows too fast.
    """
    mean, variance = np.broadcast_arrays(np.asarray(mean, np.float64), np.asarray(variance, np.float64))
    for label, values in (("mean", mean), ("variance", variance)):
        if not np.isfinite(values).all():
            raise ValueError(f"{label} must be finite, got {values[~np.isfinite(values)].flat[0]}")
    if (variance < 0).any():
        raise ValueError(f"variance must not be negative, got {variance.min()}")

    means, stds = mean.ravel(), np.sqrt(variance).ravel()
    result = np.empty(means.shape)
    for start in range(0, means.size, _CHUNK):
        part = slice(start, start + _CHUNK)
        result[part] = _settled(h, means[part], stds[part], np.asarray(kinks, np.float64))
    return result.reshape(mean.shape)[()]


def _settled(h: Callable, mean: np.ndarray, std: np.ndarray, kinks: np.ndarray) -> np.ndarray:
    coarse, _ = _integrate(h, mean, std, kinks, _PANELS[0])
    for panels in _PANELS[1:]:
        fine, size = _integrate(h, mean, std, kinks, panels)
        error = np.abs(fine - coarse) - _TOLERANCE * size
        if (error <= 0).all():
            return fine
        coarse = fine
    worst = int(np.argmax(np.nan_to_num(error, nan=np.inf)))
    raise ValueError(
        f"the integral of h does not settle at mean {mean[worst]:g}, variance {std[worst] ** 2:g}: "
        f"name every point at which h jumps or bends in kinks (got {tuple(kinks.tolist())}), and check that h is finite"
    )


def _integrate(h: Callable, mean: np.ndarray, std: np.ndarray, kinks: np.ndarray, panels: int) -> tuple:
    """(integral of h, integral of |h|), each of the shape of mean, with that many equal panels besides the kinks."""
    uniform = np.linspace(-_REACH, _REACH, panels + 1)
    distance = kinks - mean[:, None]
    cuts = np.divide(distance, std[:, None], out=np.zeros_like(distance), where=std[:, None] > 0)
    cuts = np.clip(cuts, -_REACH, _REACH)
    edges = np.sort(np.concatenate([np.broadcast_to(uniform, (mean.size, uniform.size)), cuts], axis=1), axis=1)
    half, middle = np.diff(edges)[..., None] / 2, (edges[:, 1:] + edges[:, :-1])[..., None] / 2
    x = middle + half * _NODES
    weight = half * _WEIGHTS * np.exp(-x * x / 2) / np.sqrt(2 * np.pi)
    values = weight * h(mean[:, None, None] + std[:, None, None] * x)
    return values.sum(axis=(1, 2)), np.abs(values).sum(axis=(1, 2))
