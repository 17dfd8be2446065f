"""The self-normalizing map: where layers carry the mean and the variance; book/self-normalizing/fixed-points."""

from __future__ import annotations

import numpy as np
import traitlets
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from .. import figures, moments
from ._base import Explorable, Real

#: The domain of Theorem 1 of Klambauer et al. (2017).
OMEGA_MU, OMEGA_NU = (-0.1, 0.1), (0.8, 1.5)
LAYERS = 100  #: How many a path has.


class SelfNormalizingMap(Explorable):
    """The map g: (mu, nu) -> (mu~, nu~) of a layer as a field of arrows, and the paths of four starts through it."""

    module = "self_normalizing_map"

    activation = traitlets.Enum(("selu", "elu", "tanh", "gelu", "relu"), "selu").tag(sync=True)
    omega = Real(0.1, -1.5, 1.5)
    tau = Real(1.0, 0.5, 3.0)
    mu = traitlets.List(Real(0.0, -1.5, 1.5), [-1.2, 1.2, -0.9, 0.9], minlen=4, maxlen=4).tag(sync=True)
    nu = traitlets.List(Real(1.0, 0.02, 3.2), [2.7, 2.3, 0.15, 0.4], minlen=4, maxlen=4).tag(sync=True)

    def picture(self) -> Figure:
        """Draw the arrows, the paths, the fixed point where there is one, and the domain of the paper's theorem."""
        fig, ax = plt.subplots(figsize=(6.2, 3.6))
        sums = self.omega, self.tau
        mu, nu = np.meshgrid(np.linspace(-1.4, 1.4, 15), np.linspace(0.2, 3.0, 9))
        after = moments.moment_map(self.activation, mu, nu, *sums)
        ax.quiver(
            *(mu, nu, after[0] - mu, after[1] - nu),
            **{"angles": "xy", "scale_units": "xy", "scale": 3.5, "width": 0.003, "color": figures.GREY, "alpha": 0.6},
        )
        size = OMEGA_MU[1] - OMEGA_MU[0], OMEGA_NU[1] - OMEGA_NU[0]
        ax.add_patch(Rectangle((OMEGA_MU[0], OMEGA_NU[0]), *size, fill=False, color=figures.GREEN, linewidth=1.5))
        ax.text(OMEGA_MU[0] - 0.03, OMEGA_NU[0], r"$\Omega$", color=figures.GREEN, ha="right", va="top")
        for path in moments.iterate(self.activation, self.mu, self.nu, LAYERS, *sums).swapaxes(0, 1):
            ax.plot(*path.T, ".-", color=figures.BLUE, linewidth=1.1)
            ax.plot(*path[0], "o", color=figures.VERMILLION, markersize=7)
        try:
            level = moments.fixed_point(self.activation, *sums)
            ax.plot(level.mu, level.nu, "o", color=figures.GREEN, fillstyle="full" if level.attracting else "none")
        except moments.NoFixedPointError:
            pass
        ax.set(xlabel=r"mean $\mu$", ylabel=r"variance $\nu$", xlim=(-1.5, 1.5), ylim=(0, 3.2))
        return fig
