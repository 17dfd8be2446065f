"""A Gaussian goes through an activation; book/self-normalizing/moments."""

from __future__ import annotations

import numpy as np
import traitlets
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from scipy import stats

from .. import activations, figures
from ..moments import moment_map
from ._base import Explorable, Real


class PushForward(Explorable):
    """The densities of z ~ N(mu omega, nu tau) and of y = f(z), and the mean and the variance of y."""

    module = "push_forward"

    activation = traitlets.Enum(activations.names(), default_value="selu").tag(sync=True)
    mu = Real(0.0, -3.0, 3.0)
    nu = Real(1.0, 0.1, 3.0)
    omega = Real(0.5, -1.0, 1.0)
    tau = Real(1.0, 0.1, 2.0)

    def picture(self) -> Figure:
        """Draw f with the density of z above it and that of y on its right, each with its mean as a triangle.

        Lines through the deciles of z join the two; dashed, the normal density with the moments of y.
        """
        f = activations.get(self.activation)
        m, s = self.mu * self.omega, np.sqrt(self.nu * self.tau)
        mean, variance = moment_map(f, self.mu, self.nu, self.omega, self.tau)
        z = np.linspace(m - 8 * s, m + 8 * s, 40_001)
        share = stats.norm.pdf(z, m, s) * (z[1] - z[0])
        flat = f.derivative(z) == 0  # these z all have the same y

        fig = plt.figure(figsize=(5.6, 4.6))
        grid = fig.add_gridspec(2, 2, width_ratios=(4, 1.2), height_ratios=(1, 3.4))
        ax = fig.add_subplot(grid[1, 0], xlim=(-5, 5), ylim=(-4, 5), xlabel="$z$", ylabel="$y = f(z)$")
        above, beside = fig.add_subplot(grid[0, 0], sharex=ax), fig.add_subplot(grid[1, 1], sharey=ax)
        ax.plot(z, f.f(z), color=figures.GREY, linestyle="-")
        for decile in stats.norm.ppf(np.arange(0.1, 1, 0.1), m, s):
            y = f.f(decile)
            ax.plot([decile, decile, 5], [5, y, y], color=figures.GREY, linestyle="-", linewidth=0.5)
        above.fill_between(z, stats.norm.pdf(z, m, s), color=figures.BLUE, alpha=0.5)
        above.plot(m, 0, "^", color=figures.BLUE, clip_on=False)
        density, edges = np.histogram(f.f(z)[~flat], np.linspace(-4, 5, 181), weights=share[~flat])
        beside.stairs(
            density / np.diff(edges), edges, orientation="horizontal", fill=True, color=figures.VERMILLION, alpha=0.5
        )
        beside.plot(
            stats.norm.pdf(edges, mean, np.sqrt(variance)), edges, color=figures.GREY, linewidth=1, linestyle="--"
        )
        if flat.any():
            beside.plot([0, share[flat].sum()], 2 * [f.f(z[flat][0])], color=figures.VERMILLION, linestyle="-")
        beside.plot(0, mean, "<", color=figures.VERMILLION, clip_on=False)
        for side, limit in ((above, above.set_ylim), (beside, beside.set_xlim)):
            limit(0, min(limit()[1], 1.6))
            side.axis("off")
        for side, color, name, *moments in (
            (above, figures.BLUE, "z", m, s * s),
            (beside, figures.VERMILLION, "y", mean, variance),
        ):
            words = "density of ${}$\nmean {:.2f}\nvariance {:.2f}".format(name, *np.round(moments, 2) + 0.0)
            side.text(0.05, 1, words, transform=side.transAxes, color=color, va="top")
        return fig
