"""SELU for a chosen mean and variance: its constants and whether signals return; book/self-normalizing/selu."""

from __future__ import annotations

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from .. import activations, figures, moments
from ._base import Explorable, Real


class SeluDesigner(Explorable):
    """The exponential linear unit that has the fixed point (mu, nu) for weights with the sums omega and tau."""

    module = "selu_designer"

    mu = Real(0.0, -1.0, 1.0)
    nu = Real(1.0, 0.05, 3.0)
    omega = Real(0.0, -1.2, 1.2)
    tau = Real(1.0, 0.5, 2.0)

    def picture(self) -> Figure:
        """Draw the spectral radius over the plane of targets, and the curve for the chosen one where there is one."""
        fig, (plane, graph) = plt.subplots(1, 2, figsize=(6.4, 3.0))
        mu, nu = np.linspace(-0.95, 0.95, 20), np.linspace(0.125, 2.875, 12)
        radii = [[self._radius(*target) for target in zip(mu, np.full_like(mu, row), strict=True)] for row in nu]
        plane.pcolormesh(mu, nu, radii, cmap="PuOr_r", vmin=0.4, vmax=1.6)
        plane.plot(self.mu, self.nu, "o", color="black", markeredgecolor="white", markersize=8)
        plane.set(xlabel=r"target mean $\mu$", ylabel=r"target variance $\nu$", xlim=(-1, 1), ylim=(0, 3))
        z = np.linspace(-4, 4, 401)
        graph.plot(z, activations.get("selu").f(z), color=figures.GREY, linestyle=":")
        if selu := self._selu(self.mu, self.nu):
            graph.plot(z, selu.f(z), color=figures.VERMILLION, linestyle="-")
        graph.set(xlabel="$z$", ylabel="$f(z)$", xlim=(-4, 4), ylim=(-4, 4))
        return fig

    def _selu(self, mu: float, nu: float) -> activations.Activation | None:
        try:
            return activations.selu(*moments.selu_constants(mu, nu, omega=self.omega, tau=self.tau))
        except ValueError:  # there is none
            return None

    def _radius(self, mu: float, nu: float) -> float:
        """The spectral radius of the map at a target; nan where no SELU has it as its fixed point."""
        selu = self._selu(mu, nu)
        return abs(np.linalg.eigvals(moments.jacobian(selu, mu, nu, self.omega, self.tau))).max() if selu else np.nan
