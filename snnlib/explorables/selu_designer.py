"""SELU for a chosen mean and variance: its constants and whether signals return; book/self-normalizing/selu."""

from __future__ import annotations

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from .. import activations, figures, moments
from ._base import Explorable, Real


class SeluDesigner(Explorable):
    """The exponential linear unit that has the fixed point (mu, nu) for weights with the sums omega and tau."""

    module = "selu_designer"

    mu = Real(0.0, -1.0, 1.0)
    nu = Real(1.0, 0.05, 3.0)
    omega = Real(0.0, -1.0, 1.0)
    tau = Real(1.0, 0.5, 2.0)

    def picture(self) -> Figure:
        """Draw the spectral radius over the plane of targets, and the curve for the chosen one where there is one."""
        fig, (plane, graph) = plt.subplots(1, 2, figsize=(6.4, 3.0))
        nu = 3 * (np.arange(1, 12) / 11) ** 2
        mu = np.array([np.linspace(self._border(-1.0, v), self._border(1.0, v), 11) for v in nu])
        inner = (mu[1:, 1:] + mu[1:, :-1] + mu[:-1, 1:] + mu[:-1, :-1]) / 4
        radii = np.array(
            [[self._radius(m, v) for m in row] for row, v in zip(inner, (nu[1:] + nu[:-1]) / 2, strict=True)]
        )
        colours = np.where((radii < 1)[..., None], to_rgb(figures.BLUE), to_rgb(figures.VERMILLION))
        strength = np.where(np.isnan(radii), 0, np.minimum(0.08 + abs(radii - 1), 0.6))
        plane.pcolormesh(mu, np.repeat(nu[:, None], 11, axis=1), np.dstack([colours, strength]), antialiased=False)
        plane.plot(self.mu, self.nu, "o", color="black", markeredgecolor="white", markersize=8)
        plane.set(xlabel=r"target mean $\mu$", ylabel=r"target variance $\nu$", xlim=(-1, 1), ylim=(0, 3))
        z = np.linspace(-3, 3, 151)
        graph.plot(z, activations.get("selu").f(z), color=figures.GREY, linestyle=":")
        if selu := self._selu(self.mu, self.nu):
            graph.plot(z, selu.f(z), color=figures.VERMILLION, linestyle="-")
        x = (z - self.mu * self.omega) / np.sqrt(self.nu * self.tau)
        graph.fill_between(z, -4, -4 + 1.2 * np.exp(-(x**2) / 2), color=figures.GREY, alpha=0.3, linewidth=0)
        graph.set(xlabel="$z$", ylabel="$f(z)$", xlim=(-3, 3), ylim=(-4, 4))
        return fig

    def _selu(self, mu: float, nu: float) -> activations.Activation | None:
        try:
            return activations.selu(*moments.selu_constants(mu, nu, omega=self.omega, tau=self.tau))
        except ValueError:  # there is none
            return None

    def _border(self, end: float, nu: float) -> float:
        """The mean nearest to `end` that a SELU can have at the variance nu, by bisection."""
        if self._selu(end, nu):
            return end
        inner, outer = 0.0, end
        for _ in range(9):
            middle = (inner + outer) / 2
            inner, outer = (middle, outer) if self._selu(middle, nu) else (inner, middle)
        return inner

    def _radius(self, mu: float, nu: float) -> float:
        """The spectral radius of the map at a target; nan where there is no SELU."""
        selu = self._selu(mu, nu)
        return abs(np.linalg.eigvals(moments.jacobian(selu, mu, nu, self.omega, self.tau))).max() if selu else np.nan
