"""A forward and a backward pass through a small network, step by step; book/backpropagation/why-backwards."""

from __future__ import annotations

import itertools

import numpy as np
import traitlets
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from .. import figures
from ._base import Explorable, Real

WIDTHS = (2, 3, 2, 1)  #: Of the network.
#: Its first weights, layer by layer, row by row.
WEIGHTS = [0.6, -0.4, -1.0, 0.5, 0.8, 1.2, 1.2, -0.7, 0.5, -0.6, 0.9, 1.1, 1.4, -0.8]
STEPS = 2 * len(WIDTHS) - 1  #: Layers forwards, the loss, layers backwards.


class BackwardPass(Explorable):
    """A network of widths 2, 3, 2, 1 without biases, tanh in its hidden layers, and the loss L = (y - t)^2 / 2.

    `weights` are W^(1), W^(2), W^(3) one after the other, row by row; `chosen` is the number of the one that is
    compared with a nudge; `step` says how far the two passes have come.
    """

    module = "backward"

    weights = traitlets.List(Real(0.0, -2.0, 2.0), default_value=WEIGHTS, minlen=14, maxlen=14).tag(sync=True)
    x = traitlets.List(Real(0.0, -2.0, 2.0), default_value=[1.0, -0.5], minlen=2, maxlen=2).tag(sync=True)
    t = Real(1.0, -2.0, 2.0)
    step = traitlets.Int(0, min=0, max=STEPS).tag(sync=True)
    chosen = traitlets.Int(2, min=0, max=len(WEIGHTS) - 1).tag(sync=True)

    def picture(self) -> Figure:
        """Draw both passes complete, whatever `step` is: paper has no steps."""
        shapes = list(itertools.pairwise(WIDTHS))
        ends = np.cumsum([n * m for n, m in shapes])[:-1]
        matrices = [w.reshape(m, n) for w, (n, m) in zip(np.split(np.array(self.weights), ends), shapes, strict=True)]
        y, slopes = [np.array(self.x)], []
        for i, w in enumerate(matrices):
            last = i == len(matrices) - 1
            y.append(w @ y[-1] if last else np.tanh(w @ y[-1]))
            slopes.append(np.ones(1) if last else 1 - y[-1] ** 2)
        u = [y[-1] - self.t]
        for w, slope in zip(reversed(matrices), reversed(slopes), strict=True):
            u.insert(0, (u[0] * slope) @ w)
        gradients = [np.outer(u[i + 1] * slopes[i], y[i]) for i in range(len(matrices))]

        fig, ax = plt.subplots(figsize=(6.4, 3.6))
        for i, (w, dw) in enumerate(zip(matrices, gradients, strict=True)):
            share = 2 / 3 if i == 0 else 1 / 3  # of the way from unit to unit: there the numbers do not touch
            for (p, q), weight in np.ndenumerate(w):
                a, b = _place(i, q), _place(i + 1, p)
                line = {"arrowstyle": "-", "shrinkA": 13, "shrinkB": 13, "color": figures.GREY, "alpha": 0.5}
                line |= {"linewidth": 0.4 + abs(weight), "linestyle": "-" if weight > 0 else "--"}
                ax.annotate("", a, b, arrowprops=line)
                at = a + share * (b - a)
                ax.text(*at, f"{weight:.2f}", ha="center", va="bottom", fontsize=8)
                ax.text(*at, f"{dw[p, q]:.2f}", ha="center", va="top", fontsize=8, color=figures.VERMILLION)
        for i, width in enumerate(WIDTHS):
            for k in range(width):
                at = across, up = _place(i, k)
                ax.scatter(*at, s=620, facecolor="none", edgecolor=figures.BLUE, zorder=3)
                ax.text(*at, f"{y[i][k]:.2f}", ha="center", va="center", fontsize=9)
                ax.text(across, up + 0.23, f"{u[i][k]:.2f}", ha="center", fontsize=8, color=figures.VERMILLION)
                if i:
                    below = f"{slopes[i - 1][k]:.2f}"
                    ax.text(across, up - 0.33, below, ha="center", fontsize=8, color=figures.GREEN)
        ax.set(xlim=(-0.2, 3.2), ylim=(-1.45, 1.4))
        ax.axis("off")
        return fig


def _place(layer: int, unit: int) -> np.ndarray:
    return np.array([layer, (WIDTHS[layer] - 1) / 2 - unit])
