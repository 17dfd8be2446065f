"""Initial weights: how the entries of W are drawn decides what happens to the signal.

Notation of the course: W is (m, n), one row per unit; omega and tau are the sum and the sum of squares of a row.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np


def initialize(target, scheme: str, seed: int | np.random.Generator | None = None):
    """Fill a weight matrix in place and return it.

    Parameters
    ----------
    target : array (or torch tensor) of shape (m, n) of a floating type: m units, n inputs.
    scheme : one of

        ==================  =========================================================================================
        ``lecun``           N(0, 1/n): E[omega] = 0, E[tau] = 1 (LeCun et al., 1998)
        ``xavier``          N(0, 2/(n + m)) (Glorot and Bengio, 2010)
        ``he``              N(0, 2/n) (He et al., 2015)
        ``orthogonal``      orthonormal rows when m <= n, orthonormal columns otherwise (Saxe et al., 2014)
        ``normalized_rows``  Gaussian rows shifted and scaled so that omega = 0 and tau = 1 exactly (up to rounding)
        ==================  =========================================================================================
    seed : an integer for reproducible numbers, a generator to draw from, or None for fresh ones.

    The numbers are drawn in float64 and then rounded to the type of the target, so that one seed gives one matrix.

    Raises ValueError for an unknown scheme, a target that is not a floating matrix, an empty one, or rows too short for
    the scheme (`normalized_rows` needs n >= 2).

    >>> W = initialize(np.empty((2, 100)), "normalized_rows", seed=0)
    >>> W.sum(axis=1).round(9) + 0.0, (W**2).sum(axis=1).round(9)
    (array([0., 0.]), array([1., 1.]))
    """
    if scheme not in _SCHEMES:
        raise ValueError(f"unknown scheme {scheme!r}; choose one of {', '.join(_SCHEMES)}")
    shape = tuple(getattr(target, "shape", ()))
    if len(shape) != 2 or 0 in shape:
        raise ValueError(f"expected a weight matrix of shape (m, n) with m, n >= 1, got shape {shape}")
    rng = np.random.default_rng(seed)
    if isinstance(target, np.ndarray):
        if target.dtype.kind != "f":
            raise ValueError(f"expected a floating type, got {target.dtype}")
        target[...] = _SCHEMES[scheme](rng, *shape)
        return target
    import torch

    if not isinstance(target, torch.Tensor) or not target.is_floating_point():
        raise ValueError(f"expected a floating array or tensor, got {getattr(target, 'dtype', type(target).__name__)}")
    with torch.no_grad():
        target.copy_(torch.from_numpy(_SCHEMES[scheme](rng, *shape)))
    return target


def _gaussian(variance: Callable[[int, int], float]) -> Callable[[np.random.Generator, int, int], np.ndarray]:
    return lambda rng, m, n: rng.standard_normal((m, n)) * np.sqrt(variance(m, n))


def _orthogonal(rng: np.random.Generator, m: int, n: int) -> np.ndarray:
    q, r = np.linalg.qr(rng.standard_normal((max(m, n), min(m, n))))
    q *= np.where(np.diag(r) < 0, -1.0, 1.0)  # uniform over all such matrices (Mezzadri, 2007)
    return q if m >= n else q.T


def _normalized_rows(rng: np.random.Generator, m: int, n: int) -> np.ndarray:
    if n < 2:
        raise ValueError(f"a row with sum 0 and sum of squares 1 needs at least 2 entries, got n = {n}")
    w = rng.standard_normal((m, n))
    w -= w.mean(axis=1, keepdims=True)
    return w / np.linalg.norm(w, axis=1, keepdims=True)


_SCHEMES = {
    "lecun": _gaussian(lambda m, n: 1 / n),
    "xavier": _gaussian(lambda m, n: 2 / (n + m)),
    "he": _gaussian(lambda m, n: 2 / n),
    "orthogonal": _orthogonal,
    "normalized_rows": _normalized_rows,
}
