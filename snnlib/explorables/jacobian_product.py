"""The unit circle, carried through random layers of two units; book/gradients/jacobian-products."""

from __future__ import annotations

import numpy as np
import traitlets
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from .. import activations, figures
from ._base import Explorable, Real
from ._random import normals


class JacobianProduct(Explorable):
    """J^(N) ... J^(1), what N layers of two units do to the unit circle and to the vector v at `angle` degrees.

    J = D W with the slopes at a random input. The weights are Gaussian with variance sigma_w^2 / 2, drawn anew in
    every layer or once for all of them ("repeated"), or sigma_w times a random rotation ("orthogonal").
    """

    module = "jacobian_product"

    activation = traitlets.Enum(
        ("identity", "sigmoid", "tanh", "relu", "leaky_relu", "selu"), default_value="identity"
    ).tag(sync=True)
    weights = traitlets.Enum(("gaussian", "repeated", "orthogonal"), default_value="gaussian").tag(sync=True)
    sigma_w = Real(1.0, 0.2, 3.0)
    N = traitlets.Int(16, min=1, max=40).tag(sync=True)
    seed = traitlets.Int(19, min=0, max=9999).tag(sync=True)
    angle = Real(60.0, 0.0, 360.0)

    def jacobians(self) -> np.ndarray:
        """Return the Jacobians of the layers, the first one first, shape (N, 2, 2)."""
        activation = activations.get(self.activation)
        drawn = normals(self.seed, 2 + 4 * self.N)
        y, W = drawn[:2], drawn[2:].reshape(-1, 2, 2) / np.sqrt(2)
        if self.weights == "repeated":
            W[:] = W[0]
        elif self.weights == "orthogonal":
            c, s = W[:, 0].T / np.linalg.norm(W[:, 0], axis=1)
            W = np.array([[c, -s], [s, c]]).transpose(2, 0, 1)
        found = []
        for layer in self.sigma_w * W:
            z = layer @ y
            y = activation.f(z)
            found.append(activation.derivative(z)[:, None] * layer)
        return np.array(found)

    def picture(self) -> Figure:
        """Draw the circle and its image, and beside them the growth in all layers up to each."""
        product, values, radii = np.eye(2), [], []
        for J in self.jacobians():
            product = J @ product
            eigen = np.linalg.eigvals(product)
            values.append([*np.linalg.svd(product, compute_uv=False), *np.sort(np.abs(eigen))[::-1]])
            radii.append(np.abs(np.linalg.eigvals(J)).max())
        fig, (plane, growth) = plt.subplots(1, 2, figsize=(6.5, 3.0), width_ratios=[1, 1.5])

        turn = np.linspace(0, 2 * np.pi, 361)
        circle = np.array([np.cos(turn), np.sin(turn)])
        scale = values[-1][0] or 1.0
        v = np.array([np.cos(np.radians(self.angle)), np.sin(np.radians(self.angle))])
        plane.plot(*circle, color=figures.GREY, linestyle="-", linewidth=1)
        plane.plot(*(product @ circle / scale), color=figures.BLUE, linestyle="-")
        for end in (v, product @ v / scale):
            plane.plot(*zip((0, 0), end, strict=True), color=figures.GREEN, linestyle="-", marker="o", markevery=[1])
        plane.set(aspect="equal", title=f"image, divided by {scale:.2g}")
        plane.axis("off")

        layers = np.arange(1, self.N + 1)
        s1, s2, l1, l2 = np.array(values).T
        growth.semilogy(layers, s1, layers, s2, color=figures.BLUE, linestyle="-")
        growth.semilogy(layers, l1, "o", layers, l2, "o", color=figures.VERMILLION, markersize=3.5)
        growth.semilogy(layers, np.cumprod(radii), color=figures.VERMILLION, linestyle="--", linewidth=1)
        for label, value in (("$\\sigma_1$", s1[-1]), ("$\\sigma_2$", s2[-1]), ("$\\prod\\rho$", np.prod(radii))):
            growth.annotate(label, (self.N, value), (6, 0), textcoords="offset points", va="center")
        growth.axhline(1, color=figures.GREY, linewidth=0.7, linestyle="-")
        growth.set(xlabel="layers $i$", title="growth in layers 1 to $i$")
        return fig
