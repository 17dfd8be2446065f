"""For tests that students do not see: theory by other routes than theirs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq
from scipy.special import digamma

from snnlib.backprop import complex_step

Array = np.ndarray
Function = Callable[[Array], Array]


def true_jacobian(
    layers: list[tuple[Array, Array]],
    x: Array,
    f: Function,
    f_in_last: bool = False,
) -> Array:
    """dy/dx (m, n) by the complex step, from the forward formulas alone.

    f_in_last makes the mistake of applying f in the last layer as well.
    """

    def output(x: Array) -> Array:
        for W, b in layers[:-1]:
            x = f(W @ x + b)
        W, b = layers[-1]
        return f(W @ x + b) if f_in_last else W @ x + b

    return complex_step(output, x)


def gaussian_exponents(n: int) -> Array:
    """Newman's formula for layers (n, n) with entries of variance 1/n."""
    k = np.arange(1, n + 1)
    return 0.5 * (np.log(2 / n) + digamma((n - k + 1) / 2))


@dataclass(frozen=True)
class Theory:
    """Signal propagation for one activation.

    Expectations are sums over a fine grid: the trapezoidal rule, which for
    smooth integrands that fall off on both sides is exact to rounding.
    """

    f: Function
    derivative: Function

    def _mean_square(self, h: Function, q: float) -> float:
        Z = np.linspace(-12, 12, 4801)
        density = np.exp(-(Z**2) / 2)
        return float(np.sum(density * h(np.sqrt(q) * Z) ** 2) / np.sum(density))

    def variance_map(self, q: float, sigma_w: float, sigma_b: float) -> float:
        """V(q)."""
        return sigma_w**2 * self._mean_square(self.f, q) + sigma_b**2

    def chi(self, q: float, sigma_w: float) -> float:
        """The factor of the squared norm of a gradient, per layer."""
        return sigma_w**2 * self._mean_square(self.derivative, q)

    def critical(self, sigma_b: float) -> tuple[float, float]:
        """(sigma_w, q) with V(q) = q and chi = 1, for the smallest q > 0.

        chi = 1 leaves q = E[f^2] / E[f'^2] + sigma_b^2 to be solved.
        """

        def excess(q: float) -> float:
            ratio = self._mean_square(self.f, q) / self.chi(q, 1.0)
            return q - ratio - sigma_b**2

        grid = np.linspace(0, 20, 401)[1:]
        end = next(k for k, q in enumerate(grid) if excess(q) > 0)
        q = brentq(excess, grid[end - 1] if end else 0.0, grid[end], xtol=1e-14)
        return self.chi(q, 1.0) ** -0.5, float(q)

    def fixed_point(self, sigma_w: float, sigma_b: float) -> float:
        """The q that V leads to from 1."""
        q = 1.0
        for _ in range(500):
            q = self.variance_map(q, sigma_w, sigma_b)
        return q
