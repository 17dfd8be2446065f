"""A deep network that is trained in the page; book/practice/deep-networks."""

from __future__ import annotations

import numpy as np
import traitlets
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from ..backprop import Network, softmax_cross_entropy
from ._base import Explorable

WIDTH = 16  #: Units of a hidden layer.
BATCH = 64  #: Examples of a step.


class TrainHere(Explorable):
    """Layers of 16 units and two outputs, trained on two classes of points in the plane by plain gradient descent.

    `depth` is the number of hidden layers. `steps` is how far training has come: the browser goes there, or on from
    there while it is `running`. A change of any setting begins anew.
    """

    module = "train"

    activation = traitlets.Enum(["selu", "relu", "elu", "gelu", "tanh", "sigmoid"], "sigmoid").tag(sync=True)
    initialization = traitlets.Enum(["lecun", "xavier", "he"], "lecun").tag(sync=True)
    depth = traitlets.Int(30, min=1, max=30).tag(sync=True)
    rate = traitlets.Enum([0.001, 0.003, 0.01, 0.03, 0.1, 0.3], 0.03).tag(sync=True)
    data = traitlets.Enum(["rings", "xor"], "rings").tag(sync=True)
    seed = traitlets.Int(0, min=0, max=99).tag(sync=True)
    steps = traitlets.Int(0, min=0, max=2000).tag(sync=True)
    running = traitlets.Bool(False).tag(sync=True)

    def picture(self) -> Figure:
        """Draw the gradients' norms before the first step for the figure's network, and for SELU with LeCun's weights.

        They are means of ten networks on Gaussian inputs, not the draw of `seed`, which only the browser makes.
        """
        fig, ax = plt.subplots(figsize=(6.2, 2.8))
        layers = np.arange(1, self.depth + 2)
        kinds = {(self.activation, self.initialization): "o", ("selu", "lecun"): "s"}
        for (activation, scheme), marker in kinds.items():
            norms = [self._norms(activation, scheme, seed) for seed in range(10)]
            label = f"{activation}, weights: {scheme}"
            ax.plot(layers, np.exp(np.mean(np.log(norms), axis=0)), marker=marker, label=label)
        ax.set(yscale="log", xlabel="layer $i$", ylabel=r"$\|\partial L / \partial W^{(i)}\|$")
        ax.legend()
        return fig

    def _norms(self, activation: str, scheme: str, seed: int) -> list[float]:
        rng = np.random.default_rng(seed)
        network = Network([2, *[WIDTH] * self.depth, 2], activation, scheme, rng)
        outputs = network.forward(rng.standard_normal((BATCH, 2)))
        _, upstream = softmax_cross_entropy(outputs, np.arange(BATCH) % 2)
        return [np.linalg.norm(gradient) for gradient in network.backward(upstream)[1][::2]]
