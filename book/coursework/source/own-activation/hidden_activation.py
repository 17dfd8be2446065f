"""For tests that students do not see: map and constants by other routes."""

from __future__ import annotations

import numpy as np
from scipy.optimize import brentq

Array = np.ndarray
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(200)


def true_moments(
    m: float, v: float, alpha: float, lam: float
) -> tuple[float, float]:
    """Mean and variance of f(z), z ~ N(m, v), by Gauss rules."""
    s = np.sqrt(v)
    ends = sorted(
        {m - 14 * s, m + 14 * s, -min(8.0, 2 * s), 0.0, min(8.0, 2 * s), m}
    )
    z, w = [], []
    for low, high in zip(ends[:-1], ends[1:], strict=True):
        z.append((low + high) / 2 + (high - low) / 2 * _NODES)
        w.append((high - low) / 2 * _WEIGHTS)
    z, w = np.concatenate(z), np.concatenate(w)
    w = w * np.exp(-((z - m) ** 2) / (2 * v))
    w /= w.sum()
    y = lam * np.where(z > 0, z, alpha * np.expm1(np.minimum(z, 0)))
    mean = w @ y
    return float(mean), float(w @ (y - mean) ** 2)


def true_constants(mu: float, nu: float, v: float) -> tuple[float, float]:
    """(alpha, lam) with which z ~ N(0, v) gives mean mu and variance nu.

    For every alpha one lam gives the mean square nu + mu^2; the mean falls as
    alpha grows.
    """

    def scaled(alpha: float) -> tuple[float, float]:
        mean, variance = true_moments(0.0, v, alpha, 1.0)
        lam = np.sqrt((nu + mu**2) / (variance + mean**2))
        return float(lam * mean - mu), float(lam)

    alpha = float(
        brentq(lambda alpha: scaled(alpha)[0], 1e-6, 50.0, xtol=1e-14)
    )
    return alpha, scaled(alpha)[1]


def true_jacobian(
    mu: float, nu: float, omega: float, tau: float, alpha: float, lam: float
) -> Array:
    """H (2, 2) by central differences of two step sizes, extrapolated."""

    def differences(h: float) -> Array:
        columns = []
        for a, b in ((h, 0.0), (0.0, h)):
            ahead = true_moments((mu + a) * omega, (nu + b) * tau, alpha, lam)
            behind = true_moments((mu - a) * omega, (nu - b) * tau, alpha, lam)
            columns.append((np.array(ahead) - behind) / (2 * h))
        return np.transpose(columns)

    return (4 * differences(5e-4) - differences(1e-3)) / 3


def true_path(
    mu: float, nu: float, layers: int, alpha: float, lam: float
) -> Array:
    """(mu, nu) from the start on, (layers + 1, 2); omega = 0 and tau = 1."""
    path = [(mu, nu)]
    for _ in range(layers):
        path.append(true_moments(0.0, path[-1][1], alpha, lam))
    return np.array(path)
