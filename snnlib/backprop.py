"""Networks and backpropagation from scratch, in NumPy.

Chapter: book/backpropagation/from-scratch. A batch of B examples is an array of B rows; layer i of N computes

    z = x @ W.T + b,    y = f(z)        x (B, n), W (m, n), b (m,), y (B, m)

and the last layer is linear (y = z). Backwards, u = `upstream` is the derivative of the loss by a layer's output:

    dz = u * f'(z),    dW = dz.T @ x,    db = dz.sum(0),    dx = dz @ W
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from . import activations
from .initialization import initialize

Array = np.ndarray  #: What functions here return.


class Network:
    """A fully connected network of N layers with widths n0, n1, ..., nN.

    Parameters
    ----------
    widths : number of inputs, then the number of units of each layer; at least two entries.
    activation : name or `Activation`, used by every layer but the last, which is linear.
    weights : scheme of `initialization.initialize`; biases start at 0.
    seed : integer, generator or None.
    dtype : float64 or float32, for parameters and everything computed.

    Attributes
    ----------
    parameters : [W1, b1, ..., WN, bN] with Wi of shape (ni, n(i-1)) and bi of shape (ni,); change them in place.

    Raises ValueError for widths, an activation, a scheme or a type that do not exist or make no sense.

    >>> network = Network([4, 8, 3], "tanh", seed=1)
    >>> network.depth, [array.shape for array in network.parameters]
    (2, [(8, 4), (8,), (3, 8), (3,)])
    """

    def __init__(
        self,
        widths: Sequence[int],
        activation: str | activations.Activation = "selu",
        weights: str = "lecun",
        seed: int | np.random.Generator | None = 0,
        dtype: DTypeLike = np.float64,
    ):
        self.widths = _checked_widths(widths)
        self.activation = activations.get(activation)
        self.dtype = np.dtype(dtype)
        if self.dtype not in (np.float32, np.float64):
            raise ValueError(f"dtype must be float32 or float64, got {self.dtype}")
        rng = np.random.default_rng(seed)
        self.parameters: list[Array] = []
        for n, m in zip(self.widths[:-1], self.widths[1:], strict=True):
            self.parameters += [initialize(np.empty((m, n), self.dtype), weights, rng), np.zeros(m, self.dtype)]
        self._inputs: list[Array] = []  # what the last forward pass keeps: the input x of every layer ...
        self._slopes: list[Array] = []  # ... and f'(z) of every layer but the last

    @property
    def depth(self) -> int:
        """N, the number of layers."""
        return len(self.widths) - 1

    @property
    def layers(self) -> list[tuple[Array, Array]]:
        """[(W1, b1), ..., (WN, bN)]: the same arrays as in `parameters`."""
        return list(zip(self.parameters[::2], self.parameters[1::2], strict=True))

    def forward(self, x: ArrayLike) -> Array:
        """The outputs (B, nN) for inputs x (B, n0); keeps what `backward` needs.

        Raises ValueError when x has another shape or holds NaN or infinity.

        >>> Network([2, 3, 1]).forward([[1.0, -1.0], [0.0, 0.0]]).shape
        (2, 1)
        """
        x = _checked_batch("x", x, self.widths[0], self.dtype)
        self._inputs, self._slopes = [x], []
        with np.errstate(over="ignore", invalid="ignore"):  # the loss refuses what a diverged network puts out
            for w, b in self.layers[:-1]:
                z = x @ w.T
                z += b
                x, slope = self.activation.value_and_derivative(z)
                self._inputs.append(x)
                self._slopes.append(slope)
            w, b = self.layers[-1]
            return x @ w.T + b

    def backward(self, upstream: ArrayLike) -> tuple[Array, list[Array]]:
        """(dx, gradients) of a number L, given upstream = dL/dy (B, nN) at the outputs of the last `forward`.

        dx has the shape of x; gradients are dL/dW1, dL/db1, ..., dL/dWN, dL/dbN, of the shapes of `parameters`;
        eq-batch-backward.

        Raises ValueError when upstream has another shape or holds NaN or infinity, or when no forward pass came before.

        >>> network = Network([2, 3, 1])
        >>> y = network.forward([[1.0, -1.0]])
        >>> dx, gradients = network.backward([[1.0]])
        >>> dx.shape, [gradient.shape for gradient in gradients]
        ((1, 2), [(3, 2), (3,), (1, 3), (1,)])
        """
        if not self._inputs:
            raise ValueError("backward needs the values of a forward pass: call forward(x) first")
        u = _checked_batch("upstream", upstream, self.widths[-1], self.dtype, len(self._inputs[0]))
        gradients: list[Array] = []
        for i in reversed(range(self.depth)):
            dz = u if i == self.depth - 1 else np.multiply(u, self._slopes[i], out=u)
            gradients = [dz.T @ self._inputs[i], dz.sum(axis=0), *gradients]
            u = dz @ self.parameters[2 * i]
        return u, gradients


def softmax_cross_entropy(logits: ArrayLike, labels: ArrayLike) -> tuple[float, Array]:
    """(loss, dlogits): the mean over the batch of -log softmax(logits)[label], and its derivative.

    Parameters
    ----------
    logits : (B, K), finite.
    labels : (B,), integers from 0 to K - 1.

    Returns
    -------
    The loss as a float, and dloss/dlogits (B, K) = (softmax(logits) - onehot(labels)) / B. The largest logit of each
    row is subtracted first, so that no exponential overflows; eq-softmax-gradient, eq-logsumexp.

    Raises ValueError for other shapes, labels that are not integers or out of range, NaN or infinite logits.

    >>> loss, dlogits = softmax_cross_entropy([[0.0, 0.0]], [1])
    >>> round(loss, 4), dlogits
    (0.6931, array([[ 0.5, -0.5]]))
    """
    logits = np.asarray(logits)
    if logits.ndim != 2 or 0 in logits.shape:
        raise ValueError(f"logits must have shape (B, K) with B, K >= 1, got {logits.shape}")
    logits = _checked_batch("logits", logits, logits.shape[1], logits.dtype if logits.dtype.kind == "f" else np.float64)
    labels = _checked_labels(labels, *logits.shape)
    rows = np.arange(len(labels))
    shifted = logits - logits.max(axis=1, keepdims=True)
    exponentials = np.exp(shifted)
    sums = exponentials.sum(axis=1, keepdims=True)
    loss = np.mean(np.log(sums[:, 0]) - shifted[rows, labels])
    dlogits = exponentials / sums
    dlogits[rows, labels] -= 1
    return float(loss), dlogits / dlogits.dtype.type(len(labels))


def complex_step(function: Callable[[Array], Array], x: ArrayLike, step: float = 1e-30) -> Array:
    """The Jacobian of a function at a real vector, from its values at complex points: Im f(x + i h e_j) / h.

    There is no difference and so no cancellation: the result is exact to rounding (Squire and Trapp, 1998;
    eq-complex-step).

    Parameters
    ----------
    function : takes a complex vector of shape (n,), returns an array of any shape; analytic near x, as every
        `Activation.f` is away from its kinks.
    x : real, shape (n,).
    step : h; anything so small that h^2 vanishes in rounding.

    Returns
    -------
    Array of the shape of the function's value with one more axis of length n at its end.

    Raises ValueError when x is not a vector of real numbers, or the function returns real ones: then it lost the step.

    >>> complex_step(lambda z: z**2, [1.0, 3.0])
    array([[2., 0.],
           [0., 6.]])
    """
    x = np.asarray(x)
    if x.ndim != 1 or x.dtype.kind not in "fiu":
        raise ValueError(f"x must be a real vector of shape (n,), got {x.dtype} of shape {x.shape}")
    values = [np.asarray(function(x + 1j * step * unit)) for unit in np.eye(len(x))]
    if any(value.dtype.kind != "c" for value in values):
        raise ValueError(f"function must return complex numbers for complex arguments, got {values[0].dtype}")
    return np.stack(values, axis=-1).imag / step


def check_gradients(network: Network, x: ArrayLike, labels: ArrayLike, entries: int = 10, seed: int = 0) -> float:
    """The largest relative error of backpropagation against a check that uses no derivative.

    The loss is softmax with cross-entropy. The check is the complex step, which needs only the forward formula. For x
    and each parameter array it is taken along `entries` single entries (all of them when the array is that small) and
    along one random direction through all entries. The relative error is the difference divided by the largest
    gradient entry of that array (for the random direction by the norm of the gradient), so that entries that are zero
    do no harm.

    Parameters
    ----------
    network : a `Network`.
    x, labels : a batch, (B, n0), and its classes, (B,) in 0 ... nN - 1.
    entries : how many entries of each array are checked.
    seed : of which ones, and of the directions.

    Returns a float, about 1e-15 for a correct float64 network and about 1e-6 for float32. Raises ValueError as
    `Network.forward` and `softmax_cross_entropy` do.

    >>> check_gradients(Network([4, 8, 3]), [[1.0, 0.0, -1.0, 0.5]], [2]) < 1e-12
    True
    """
    _, dlogits = softmax_cross_entropy(network.forward(x), labels)
    dx, gradients = network.backward(dlogits)
    arrays = [np.asarray(x, np.float64), *network.parameters]
    rng = np.random.default_rng(seed)

    def slope(k: int, direction: Array) -> float:
        """The derivative of the loss along a direction of arrays[k]."""

        def loss(t: Array) -> complex:
            moved = [*arrays[:k], arrays[k] + t[0] * direction, *arrays[k + 1 :]]
            return _complex_loss(moved, network.activation, labels)

        return complex_step(loss, [0.0])[0]

    worst = 0.0
    for k, gradient in enumerate([dx, *gradients]):
        for index in rng.permutation(gradient.size)[:entries]:
            unit = np.zeros(gradient.shape)
            unit.flat[index] = 1
            worst = max(worst, _relative(gradient.flat[index] - slope(k, unit), np.abs(gradient).max()))
        direction = rng.standard_normal(gradient.shape)
        worst = max(worst, _relative(np.sum(gradient * direction) - slope(k, direction), np.linalg.norm(gradient)))
    return float(worst)


def _relative(difference: float, size: float) -> float:
    return abs(difference) / max(size, 1e-300)


def _complex_loss(arrays: list[Array], activation: activations.Activation, labels: ArrayLike) -> complex:
    """Softmax cross-entropy of a network with arrays [x, W1, b1, ..., WN, bN], any of which may be complex."""
    y, *parameters = arrays
    for i in range(0, len(parameters), 2):
        y = y @ parameters[i].T + parameters[i + 1]
        if i < len(parameters) - 2:
            y = activation.f(y)
    shifted = y - y.real.max(axis=1, keepdims=True)
    return np.mean(np.log(np.exp(shifted).sum(axis=1)) - shifted[np.arange(len(y)), labels])


def _checked_widths(widths: Sequence[int]) -> tuple[int, ...]:
    widths = tuple(widths)
    if len(widths) < 2 or any(int(n) != n or n < 1 for n in widths):
        raise ValueError(f"widths must be at least two whole numbers >= 1 (inputs, then units per layer), got {widths}")
    return tuple(int(n) for n in widths)


def _checked_batch(label: str, values: ArrayLike, width: int, dtype: DTypeLike, rows: int | None = None) -> Array:
    values = np.asarray(values)
    expected = f"({'B' if rows is None else rows}, {width})"
    if values.ndim != 2 or values.shape[1] != width or (rows is not None and len(values) != rows):
        hint = f"; one example is {label}[None, :]" if values.shape == (width,) else ""
        raise ValueError(f"{label} must have shape {expected}, got {values.shape}{hint}")
    if len(values) == 0:
        raise ValueError(f"{label} must hold at least one row, got shape {values.shape}")
    values = values.astype(dtype)
    finite = np.isfinite(values)
    if not finite.all():
        row, column = np.argwhere(~finite)[0]
        hint = "; the network has diverged: lower the learning rate" if label == "logits" else ""
        raise ValueError(f"{label} must be finite, but {label}[{row}, {column}] is {values[row, column]}{hint}")
    return values


def _checked_labels(labels: ArrayLike, rows: int, classes: int) -> Array:
    labels = np.asarray(labels)
    if labels.shape != (rows,):
        raise ValueError(f"labels must have shape ({rows},), one per row of logits, got {labels.shape}")
    if labels.dtype.kind not in "iu":
        raise ValueError(f"labels must be integers from 0 to {classes - 1}, got {labels.dtype}")
    wrong = (labels < 0) | (labels >= classes)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise ValueError(f"labels must lie between 0 and {classes - 1}, but labels[{row}] is {labels[row]}")
    return labels
