"""Fully connected torch networks, in the variants that the course compares.

Chapters: book/gradients/remedies, book/self-normalizing/why-it-helps. A network is an `nn.Sequential` of `Layer`s, so
that `for layer in model`, `model[i]`, `model[:k]` and `len(model)` speak of layers; hidden layer i computes

    z = W x + b,    y = dropout(f(norm(z)))    or, residual,    y = x + dropout(f(norm(z)))

and the last one is linear: y = W x + b. The parts of a layer are `layer.linear`, `layer.norm`, `layer.activation` and
`layer.dropout`; a part that was not asked for is absent.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Sequence
from numbers import Integral

import numpy as np
import torch
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

from . import activations
from .initialization import initialize

#: What `fully_connected` knows as `normalization`.
NORMALIZATIONS = (None, "batch", "layer", "weight")


class Layer(nn.Sequential):
    """One layer of a fully connected network: its parts one after the other, and x added to the result if residual."""

    residual = False

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The outputs (B, m) for inputs x (B, n)."""
        y = super().forward(x)
        return x + y if self.residual else y

    def extra_repr(self) -> str:
        """What stands in the brackets of the layer's repr."""
        return "residual" if self.residual else ""


def fully_connected(
    widths: Sequence[int],
    activation: str | activations.Activation = "selu",
    normalization: str | None = None,
    residual: bool = False,
    dropout: float = 0.0,
    scheme: str = "lecun",
    *,
    sigma_w: float = 1.0,
    sigma_b: float = 0.0,
    seed: int | None = None,
) -> nn.Sequential:
    """A network of N layers with widths n0, n1, ..., nN; inputs (B, n0), outputs (B, nN).

    Parameters
    ----------
    widths : number of inputs, then the number of units of each layer; at least two entries.
    activation : name or `Activation`, used by every layer but the last, which is linear.
    normalization : of the hidden layers: None; "batch" (Ioffe and Szegedy, 2015) or "layer" (Ba et al., 2016), which
        stand between the linear map and the activation; or "weight" (Salimans and Kingma, 2016), which writes each row
        of W as its length times its direction and leaves the first outputs as they were.
    residual : hidden layers whose width is that of their input add the input to their output (He et al., 2016).
    dropout : rate, 0 <= dropout < 1, after the activation of each hidden layer: alpha dropout for "selu" (Klambauer et
        al., 2017), whose constants are those of the standard SELU, and ordinary dropout for every other activation.
    scheme : of `initialization.initialize`, for every weight matrix, the last included.
    sigma_w : every weight is multiplied by it; with "lecun" the weights are N(0, sigma_w^2 / n).
    sigma_b : biases are N(0, sigma_b^2).
    seed : whole number for reproducible parameters, None for fresh ones. Layer i depends on the seed, its index and its
        shape alone: networks that differ in depth, activation or normalization start from the same numbers. torch's
        random state is neither used nor changed.

    The parameters are on the CPU and of torch's default type (float32 unless changed).

    Raises ValueError for arguments that do not exist or make no sense.

    >>> model = fully_connected([4, 8, 3], activation="tanh", normalization="layer", seed=0)
    >>> model(torch.zeros(2, 4)).shape
    torch.Size([2, 3])
    """
    widths = _checked_widths(widths)
    activation = activations.get(activation)
    _check_options(normalization, dropout, sigma_w, sigma_b, seed)
    depth = len(widths) - 1
    layers = []
    for i, child in enumerate(np.random.SeedSequence(seed).spawn(depth)):
        linear = _linear(widths[i], widths[i + 1], scheme, sigma_w, sigma_b, np.random.default_rng(child))
        if i == depth - 1:
            layers.append(Layer(OrderedDict(linear=linear)))
        else:
            layers.append(_hidden(linear, activation, normalization, dropout))
            layers[-1].residual = residual and widths[i] == widths[i + 1]
    return nn.Sequential(*layers)


def _linear(n: int, m: int, scheme: str, sigma_w: float, sigma_b: float, rng: np.random.Generator) -> nn.Linear:
    linear = nn.utils.skip_init(nn.Linear, n, m)  # torch's own initialization would draw from its global state
    initialize(linear.weight, scheme, rng)
    with torch.no_grad():
        linear.weight *= sigma_w
        linear.bias.copy_(torch.from_numpy(sigma_b * rng.standard_normal(m)))
    return linear


def _hidden(linear: nn.Linear, activation: activations.Activation, normalization: str | None, dropout: float) -> Layer:
    parts = OrderedDict(linear=weight_norm(linear) if normalization == "weight" else linear)
    if normalization in ("batch", "layer"):
        parts["norm"] = (nn.BatchNorm1d if normalization == "batch" else nn.LayerNorm)(linear.out_features)
    parts["activation"] = activation.module()
    if dropout > 0:
        parts["dropout"] = (nn.AlphaDropout if activation.name == "selu" else nn.Dropout)(dropout)
    return Layer(parts)


def _checked_widths(widths: Sequence[int]) -> tuple[int, ...]:
    widths = tuple(widths)
    if len(widths) < 2 or not all(isinstance(n, Integral) and n >= 1 for n in widths):
        raise ValueError(f"widths must be at least two whole numbers >= 1 (inputs, then units per layer), got {widths}")
    return tuple(int(n) for n in widths)


def _check_options(normalization: str | None, dropout: float, sigma_w: float, sigma_b: float, seed: int | None) -> None:
    if normalization not in NORMALIZATIONS:
        raise ValueError(
            f"unknown normalization {normalization!r}; choose one of {', '.join(map(str, NORMALIZATIONS))}"
        )
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout is the share of units dropped, 0 <= dropout < 1, got {dropout!r}")
    if not (math.isfinite(sigma_w) and sigma_w > 0):
        raise ValueError(f"sigma_w must be a finite number > 0, got {sigma_w!r}; 1 leaves the scheme as it is")
    if not (math.isfinite(sigma_b) and sigma_b >= 0):
        raise ValueError(f"sigma_b must be a finite number >= 0, got {sigma_b!r}; 0 starts all biases at zero")
    if seed is not None and not (isinstance(seed, Integral) and seed >= 0):
        raise ValueError(f"seed must be a whole number >= 0, or None for fresh parameters, got {seed!r}")
