"""For tests that students do not see: gradients from the forward formulas.

The complex step finds them, exact to rounding, without a backward pass.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import numpy as np

from snnlib.backprop import complex_step
from snnlib.coursework import seed

Array = np.ndarray
Pairs = list[tuple[Array, Array]]  # one (W, b) or (dW, db) for each layer


def softsign(z: Array) -> Array:
    """z / (1 + |z|), continued analytically from both sides of 0."""
    return z / (1 + np.where(z.real > 0, z, -z))


def derivatives(function: Callable, arrays: list[Array]) -> list[Array]:
    """The derivative of function(*arrays), a number, by each of the arrays."""

    def by(k: int) -> Array:
        shape = arrays[k].shape

        def moved(v: Array) -> Array:
            return function(*arrays[:k], v.reshape(shape), *arrays[k + 1 :])

        return complex_step(moved, arrays[k].ravel()).reshape(shape)

    return [by(k) for k in range(len(arrays))]


def layer_judge(upstream: Array, x: Array, W: Array, z: Array) -> list[Array]:
    """[dx, dW, db] of sum(upstream * softsign(x @ W.T + b)) at a given z.

    What b must add to reach z differs from row to row; derivatives ignore it.
    """
    shift = z - x @ W.T

    def value(x: Array, W: Array, b: Array) -> Array:
        return np.sum(upstream * softsign(x @ W.T + b + shift))

    return derivatives(value, [x, W, np.zeros(len(W))])


def logits_of(parameters: Pairs, x: Array) -> Array:
    """The logits (B, K) for x (B, n); the last layer is linear."""
    for W, b in parameters[:-1]:
        x = softsign(x @ W.T + b)
    W, b = parameters[-1]
    return x @ W.T + b


def loss_of(parameters: Pairs, x: Array, labels: Array) -> Array:
    """The mean cross-entropy."""
    a = logits_of(parameters, x)
    true = a[np.arange(len(labels)), labels]
    return np.mean(np.log(np.exp(a).sum(axis=1)) - true)


def upstream_of(parameters: Pairs, x: Array, labels: Array) -> Array:
    """The derivative (B, K) of the loss by the logits."""
    p = np.exp(logits_of(parameters, x))
    p /= p.sum(axis=1, keepdims=True)
    return (p - np.eye(p.shape[1])[labels]) / len(labels)


def true_gradients(parameters: Pairs, x: Array, labels: Array) -> Pairs:
    """[(dW, db), ...] of the loss."""

    def pairs(arrays: Sequence[Array]) -> Pairs:
        return list(zip(arrays[::2], arrays[1::2], strict=True))

    def loss(*arrays: Array) -> Array:
        return loss_of(pairs(arrays), x, labels)

    return pairs(derivatives(loss, list(itertools.chain(*parameters))))


def careless_gradients(
    parameters: Pairs, x: Array, labels: Array
) -> dict[str, Pairs]:
    """{sentence: what a backward pass with that error finds}.

    The layers must have equal widths, or else most errors do not even run.
    """
    inputs, slopes = [x], []
    for W, b in parameters:
        z = inputs[-1] @ W.T + b
        inputs.append(softsign(z))
        slopes.append(1 / (1 + np.abs(z)) ** 2)
    slopes[-1] = np.ones_like(z)
    upstream = upstream_of(parameters, x, labels)
    weights = [W for W, _ in parameters]

    def backward(inputs=inputs[:-1], slopes=slopes, weights=weights, factor=1):
        u, gradients = upstream, []
        for i in reversed(range(len(weights))):
            delta = u * slopes[i]
            pair = (factor * delta.T @ inputs[i], factor * delta.sum(axis=0))
            gradients.insert(0, pair)
            u = delta @ weights[i]
        return gradients

    return {
        "did you forget the slopes?": backward(slopes=[1.0] * len(slopes)),
        "these are the slopes of the layer before": backward(
            slopes=[slopes[0], *slopes[:-2], slopes[-1]]
        ),
        "dW needs the input of the layer, not its output": backward(inputs[1:]),
        "is W transposed on the way back?": backward(
            weights=[W.T for W in weights]
        ),
        "divide by the size of the batch once": backward(
            factor=1 / len(labels)
        ),
    }


def random_network(
    widths: list[int], student_id: str
) -> tuple[Pairs, Array, Array]:
    """(parameters, x, labels) with twelve examples, the student's own."""
    rng = np.random.default_rng(seed(student_id, f"network {widths}"))
    parameters = [
        (rng.standard_normal((m, n)) / np.sqrt(n), rng.standard_normal(m) / 2)
        for n, m in itertools.pairwise(widths)
    ]
    x, labels = rng.standard_normal((12, widths[0])), np.arange(12) % widths[-1]
    return parameters, x, labels
