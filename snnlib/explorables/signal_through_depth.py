"""A signal on its way forwards and a gradient on its way back; book/gradients/signal-propagation."""

from __future__ import annotations

import numpy as np
import traitlets
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from .. import activations, figures, meanfield
from ._base import Explorable, Real
from ._random import normals

NETWORKS = 4  #: How many are measured.


class SignalThroughDepth(Explorable):
    """q_l and |delta^(l)|^2 / |delta^(N)|^2 for N layers: mean-field theory, and random networks of width n.

    Weights have the variance sigma_w^2 / n, biases sigma_b^2; q is the variance of the first layer's pre-activations.
    """

    module = "signal_through_depth"

    activation = traitlets.Enum(activations.names(), default_value="relu").tag(sync=True)
    sigma_w = Real(1.2, 0.4, 4.0)
    sigma_b = Real(0.0, 0.0, 1.0)
    N = traitlets.Int(50, min=2, max=50).tag(sync=True)
    n = traitlets.Int(100, min=10, max=200).tag(sync=True)
    q = Real(1.0, 0.01, 100.0)
    seed = traitlets.Int(1, min=0, max=9999).tag(sync=True)

    def theory(self) -> np.ndarray:
        """Return q_l and the squared norm of delta^(l) relative to the last layer's, shape (2, N)."""
        path = meanfield.variance_path(self.activation, self.N, self.sigma_w, self.sigma_b, self.q)
        factors = meanfield.chi(self.activation, self.sigma_w, q=path[:-1])
        return np.array([path, np.append(np.cumprod(factors[::-1])[::-1], 1.0)])

    def measured(self) -> np.ndarray:
        """Return the same of each of the random networks, shape (NETWORKS, 2, N)."""
        size = self.n * (self.n + 1) * (self.N - 1) + 2 * self.n
        return np.array([self._network(drawn) for drawn in normals(self.seed, NETWORKS * size).reshape(NETWORKS, -1)])

    def _network(self, drawn: np.ndarray) -> np.ndarray:
        n, activation = self.n, activations.get(self.activation)
        layers = drawn[n:-n].reshape(self.N - 1, n + 1, n)
        W, b = self.sigma_w / np.sqrt(n) * layers[:, :n], self.sigma_b * layers[:, n]
        z = [np.sqrt(self.q) * drawn[:n]]
        for weights, bias in zip(W, b, strict=True):
            z.append(weights @ activation.f(z[-1]) + bias)
        delta = [drawn[-n:] * activation.derivative(z[-1])]
        for weights, there in zip(W[::-1], z[-2::-1], strict=True):
            delta.append(delta[-1] @ weights * activation.derivative(there))
        squared = np.sum(np.square(delta[::-1]), axis=1)
        return np.array([np.mean(np.square(z), axis=1), squared / squared[-1]])

    def picture(self) -> Figure:
        """Draw both against the layer on logarithmic axes: theory as lines, networks as points."""
        fig, axes = plt.subplots(1, 2, figsize=(6.5, 2.9))
        layers = np.arange(1, self.N + 1)
        labels = ("$q_l$", "$|\\delta^{(l)}|^2 / |\\delta^{(N)}|^2$")
        measured = self.measured()
        for k, (ax, line, label) in enumerate(zip(axes, self.theory(), labels, strict=True)):
            for network in measured[:, k]:
                ax.semilogy(layers, network, "o", color=figures.VERMILLION, markersize=2, alpha=0.6)
            ax.semilogy(layers, line, color=figures.BLUE, linestyle="-")
            ax.set(xlabel="layer $l$", ylabel=label)
            low, high = ax.get_ylim()
            ax.set_ylim(min(low, 0.1), max(high, 10))
        return fig
