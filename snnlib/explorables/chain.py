"""The derivative of every layer of a chain of single neurons; book/gradients/one-neuron-chain."""

from __future__ import annotations

import numpy as np
import traitlets
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from .. import figures
from ._base import Explorable, Real

#: The smallest positive numbers of three formats, as powers of two.
SMALLEST = {"float16": -24, "bfloat16": -133, "float32": -149}


class Chain(Explorable):
    """u^(i) = c^(N - i), what arrives at layer i of N when each layer multiplies the derivative by c."""

    module = "chain"

    c = Real(0.9, 0.5, 1.5)
    N = traitlets.Int(100, min=2, max=1000).tag(sync=True)

    def picture(self) -> Figure:
        """Draw a bar per layer on a logarithmic axis, and the smallest numbers of three formats."""
        fig, ax = plt.subplots(figsize=(6.2, 3.0))
        layers = np.arange(1, self.N + 1)
        exponents = (self.N - layers) * np.log10(self.c)
        ax.bar(layers, exponents, width=0.8 if self.N < 200 else 1.0, color=figures.BLUE)
        for name, power in SMALLEST.items():
            level = power * np.log10(2)
            if exponents[0] < level + 3:
                ax.axhline(level, color=figures.VERMILLION, linewidth=1, linestyle="--")
                side = "bottom" if name == "bfloat16" else "top"
                ax.text(self.N, level, f"smallest {name}", ha="right", va=side)
        ax.axhline(0, color=figures.GREY, linewidth=1, linestyle="-")
        ax.set(xlabel="layer $i$", ylabel=r"$\log_{10} u^{(i)}$", xlim=(0.4, self.N + 0.6))
        return fig
