"""What real networks do: signals and gradients by layer, Jacobian spectra, Lyapunov exponents.

Chapters: book/gradients/jacobian-products, book/gradients/signal-propagation. Everything here looks at a torch model
and leaves it as it was: parameters, their `.grad`, buffers (running statistics of batch normalization), mode, hooks and
torch's random state. The model is taken in its current mode: with `model.eval()` dropout is off and batch normalization
uses its running statistics; in training mode dropout masks are drawn, the same ones at each call while the random state
is the same. Models may be float32 or float64, on any device; inputs are brought to the model's type and device.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike
from torch import nn
from torch.func import functional_call
from torch.nn.utils import parametrize

Array = np.ndarray  #: What functions here return.


class Signals(NamedTuple):
    """What `layer_signals` finds: lists of arrays, one for each layer, in order of execution.

    weights : W, (m, n); with weight normalization the matrix that it results in.
    inputs : x of the layer, (B, n).
    pre_activations : z = W x + b, (B, m).
    activations : y, what the next linear map receives, (B, m); for the last layer the outputs of the model.
    deltas : the derivative of each example's own loss by its z, (B, m); an empty list without labels.
    gradients : dL/dW, L the mean loss over the batch, (m, n); an empty list without labels.
    """

    weights: list[Array]
    inputs: list[Array]
    pre_activations: list[Array]
    activations: list[Array]
    deltas: list[Array]
    gradients: list[Array]


# --- signals and gradients by layer ----------------------------------------------------------------------------------


def layer_signals(model: nn.Module, x: ArrayLike, labels: ArrayLike | None = None) -> Signals:
    """The signals of a batch in every linear layer of a model and, with labels, the derivatives of the loss.

    Parameters
    ----------
    model : any module that runs `torch.nn.Linear`s; each use of one is a layer.
    x : batch of inputs, (B, n0) or whatever the model takes, examples along the first axis.
    labels : (B,), integers from 0 to K - 1 for outputs (B, K). The loss is softmax with cross-entropy.

    Returns
    -------
    `Signals`, NumPy arrays of the model's type, copies that later training does not change. They take the memory of all
    activations at once. Where examples depend on each other (batch normalization in training mode), an example's delta
    is the derivative of the summed losses of all.

    Raises ValueError for a batch that is empty or not finite, labels that do not fit the outputs, or a model that runs
    no `torch.nn.Linear`.

    >>> model = nn.Sequential(nn.Linear(4, 8), nn.SELU(), nn.Linear(8, 3))
    >>> signals = layer_signals(model, np.ones((2, 4)), labels=[0, 2])
    >>> [z.shape for z in signals.pre_activations], [dW.shape for dW in signals.gradients]
    ([(2, 8), (2, 3)], [(8, 4), (3, 8)])
    """
    x = _checked_input(model, x)
    if x.ndim < 2:
        raise ValueError(f"x must be a batch with examples along its first axis, got shape {tuple(x.shape)}: x[None]?")
    calls: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = []  # (W, x, z) of each layer

    def record(module: nn.Linear, inputs: tuple[torch.Tensor], z: torch.Tensor) -> torch.Tensor:
        if not z.requires_grad:
            z.requires_grad_()  # nothing before it is trained
        calls.append((module.weight.detach().clone(), inputs[0].detach().clone(), z))
        return z.clone()  # an activation that works in place shall not overwrite z

    hooks = [part.register_forward_hook(record) for part in model.modules() if isinstance(part, nn.Linear)]
    try:
        # cached: a parametrized weight is computed once, so that the one recorded is the one used
        with _random_state_kept(x), torch.set_grad_enabled(labels is not None), parametrize.cached():
            y = _call(model, x)
            losses = None if labels is None else _summed_losses(y, labels)
    finally:
        for hook in hooks:
            hook.remove()
    if not calls:
        raise ValueError(f"the model ran no torch.nn.Linear, so there are no layers to look at: {type(model).__name__}")

    weights, inputs, pre_activations = zip(*calls, strict=True)
    deltas, gradients = (), []
    if losses is not None:
        deltas = torch.autograd.grad(losses, pre_activations, materialize_grads=True)
        for delta, received in zip(deltas, inputs, strict=True):
            gradients.append(delta.flatten(0, -2).T @ received.flatten(0, -2) / len(x))
    inputs = _arrays(inputs)
    activations = [*inputs[1:], *_arrays([y.clone()])]
    return Signals(_arrays(weights), inputs, _arrays(pre_activations), activations, _arrays(deltas), _arrays(gradients))


def layer_statistics(model: nn.Module, x: ArrayLike, labels: ArrayLike | None = None) -> pd.DataFrame:
    """A table of what happens to a batch in every linear layer of a model, one row per layer.

    Parameters, memory and errors are those of `layer_signals`. The columns, over units and examples pooled:

    ==============================  ===================================================================================
    ``layer``                       1, ..., N in order of execution
    ``units``                       m
    ``weight_mean, weight_std``     mean and standard deviation of the entries of W
    ``pre_mean, pre_variance``      mean and variance of z = W x + b
    ``q``                           mean of z^2
    ``mean, variance``              mu and nu of the activations y, which the next linear map receives; for the last
                                    layer those of the model's outputs
    ``upstream``                    with labels: root mean square over the examples of ||delta||, where delta is the
                                    derivative of an example's own loss by its z; independent of the size of the batch
    ``gradient``                    with labels: ||dL/dW||, Frobenius norm, L the mean loss over the batch
    ``relative_gradient``           with labels: ||dL/dW|| / ||W||
    ==============================  ===================================================================================

    Sums are accumulated in float64. A network that has diverged gives a table with inf and nan.

    >>> model = nn.Sequential(nn.Linear(4, 8), nn.SELU(), nn.Linear(8, 3))
    >>> layer_statistics(model, np.ones((5, 4)))[["layer", "units"]].values.tolist()
    [[1, 8], [2, 3]]
    """
    signals = layer_signals(model, x, labels)
    rows = []
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        for i, (w, z, y) in enumerate(zip(signals.weights, signals.pre_activations, signals.activations, strict=True)):
            row = {"layer": i + 1, "units": w.shape[0]}
            row["weight_mean"], weight_variance = _moments(w)
            row["weight_std"] = np.sqrt(weight_variance)
            row["pre_mean"], row["pre_variance"] = _moments(z)
            row["q"] = row["pre_variance"] + row["pre_mean"] ** 2
            row["mean"], row["variance"] = _moments(y)
            if signals.deltas:
                row["upstream"] = _norm(signals.deltas[i]) / np.sqrt(len(x))
                row["gradient"] = _norm(signals.gradients[i])
                row["relative_gradient"] = row["gradient"] / _norm(w)
            rows.append(row)
    return pd.DataFrame(rows)


def _moments(a: Array) -> tuple[float, float]:
    """Mean and variance over all entries, in float64."""
    a = a.astype(np.float64)
    mean = a.mean()
    a -= mean
    return mean, np.square(a, out=a).mean()


def _norm(a: Array) -> float:
    """The square root of the sum of squares of all entries, in float64."""
    return np.sqrt(np.square(a, dtype=np.float64).sum())


# --- the input-output Jacobian ---------------------------------------------------------------------------------------


def jacobian(model: nn.Module, x: ArrayLike) -> torch.Tensor:
    """The input-output Jacobian dy/dx, (dy/dx)_ij = dy_i/dx_j, at one example or at each example of a batch.

    Parameters
    ----------
    model : maps (B, n) to (B, m), each row by itself.
    x : (n,) or (B, n).

    Returns
    -------
    Tensor (m, n) or (B, m, n) of the model's type, on its device. One forward pass, then one backward pass that carries
    all m rows of the identity at once (vector-Jacobian products); it holds B m numbers per unit of the widest layer.

    Raises ValueError when x has another shape, is empty or not finite, when the model does not map rows to rows, or
    when batch normalization makes the outputs of one example depend on the others.

    >>> model = nn.Sequential(nn.Linear(2, 2, bias=False))
    >>> model[0].weight.data = torch.tensor([[3.0, 0.0], [0.0, 0.5]])
    >>> jacobian(model, [1.0, 1.0])
    tensor([[3.0000, 0.0000],
            [0.0000, 0.5000]])
    """
    x = _checked_rows(model, x)
    with _random_state_kept(x):
        _, J = _value_and_jacobian(model, torch.atleast_2d(x))
    return J[0] if x.ndim == 1 else J


def jacobian_singular_values(model: nn.Module, x: ArrayLike) -> Array:
    """The singular values of the input-output Jacobian dy/dx, in descending order.

    Parameters and errors are those of `jacobian`; besides, ValueError when the Jacobian itself is not finite.

    Returns
    -------
    float64 array (min(m, n),) for x of shape (n,), or (B, min(m, n)) for (B, n).

    The Jacobian of a deep network spans many orders of magnitude, and is only as good as its model's arithmetic: with
    float32, singular values below about 1e-7 of the largest are rounding, with float64 those below about 1e-16.
    `lyapunov_exponents` sees further.

    >>> model = nn.Sequential(nn.Linear(2, 2, bias=False))
    >>> model[0].weight.data = torch.tensor([[3.0, 0.0], [0.0, 0.5]])
    >>> jacobian_singular_values(model, [1.0, 1.0])
    array([3. , 0.5])
    """
    J = jacobian(model, x).double().cpu()
    if not J.isfinite().all():
        raise ValueError("the Jacobian is not finite: it overflows; lyapunov_exponents takes it layer by layer")
    return torch.linalg.svdvals(J).numpy()  # NumPy's threads would compete with torch's


@torch.no_grad()
def _value_and_jacobian(
    module: nn.Module, x: torch.Tensor, dtype: torch.dtype | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """y (B, m) and dy/dx (B, m, n) for x (B, n)."""
    y, pull_back = torch.func.vjp(lambda x: _call(module, x, dtype), x)
    if y.ndim != 2 or len(y) != len(x):
        raise ValueError(f"the model must map (B, n) to (B, m), but took {tuple(x.shape)} to {tuple(y.shape)}")
    identity = torch.eye(y.shape[1], dtype=y.dtype, device=y.device)
    upstream = identity[:, None].expand(-1, *y.shape)  # row i of the identity for every example
    (rows,) = torch.func.vmap(pull_back)(upstream)
    return y, rows.transpose(0, 1)


# --- Lyapunov exponents ----------------------------------------------------------------------------------------------


def lyapunov_exponents(model: nn.Sequential, x: ArrayLike) -> Array:
    """The Lyapunov exponents of the chain of layers at x: the mean logarithms of growth per layer.

    Parameters
    ----------
    model : `nn.Sequential`. A layer begins at each of its blocks that holds a `torch.nn.Linear` and reaches to the
        next, so that a network of `networks.fully_connected` and a flat Linear, SELU, Linear, ... mean the same.
    x : (n,) or (B, n).

    Returns
    -------
    float64 array (k,) or (B, k), descending, where k is the smallest width, inputs and outputs included. The hidden
    layers alone are `lyapunov_exponents(model[1:-1], model[0](x))`.

    Each layer's Jacobian is taken in float64, whatever the model's type, and handed to `product_exponents`: nothing
    over- or underflows, however deep the network. Errors are those of `jacobian` and `product_exponents`; besides,
    ValueError when the model is no `nn.Sequential`.

    >>> model = nn.Sequential(nn.Linear(2, 2, bias=False))
    >>> model[0].weight.data = torch.tensor([[3.0, 0.0], [0.0, 0.5]])
    >>> lyapunov_exponents(model, [1.0, 1.0]).round(4)
    array([ 1.0986, -0.6931])
    """
    if not isinstance(model, nn.Sequential):
        raise ValueError(f"the layers must be the blocks of a torch.nn.Sequential, got a {type(model).__name__}")
    x = _checked_rows(model, x)
    y, factors = torch.atleast_2d(x).double(), []
    with _random_state_kept(x):
        for layer in _layers(model):
            y, J = _value_and_jacobian(layer, y, torch.float64)
            factors.append(J.cpu().numpy())
    exponents = np.stack([product_exponents([J[b] for J in factors]) for b in range(len(y))])
    return exponents[0] if x.ndim == 1 else exponents


def product_exponents(matrices: Sequence[ArrayLike]) -> Array:
    """The Lyapunov exponents of a product of N matrices J_N ... J_2 J_1, the first of the list acting first.

    Parameters
    ----------
    matrices : J_1, ..., J_N of shapes (n1, n0), ..., (nN, n(N-1)).

    Returns
    -------
    float64 array (k,), descending, k the smallest of n0, ..., nN.

    The QR method (Benettin et al., 1980): an orthonormal frame of k columns goes through one matrix after the other,
    J_i Q = Q' R, and exponent j is the mean of log |R_jj|. The frame starts as the identity when n0 = k, and else as an
    orthonormal basis of the directions that reach the narrowest layer. The sum of the exponents is exactly 1/N times
    the logarithm of the product of the k largest singular values, whatever N; each of them tends to 1/N times the
    logarithm of a singular value as N grows. A direction that a matrix maps to zero, up to rounding, has exponent -inf.

    Raises ValueError for an empty list, shapes that do not follow on one another, or entries that are not finite.

    >>> A, B = [[0, 2], [0, 0]], [[0, 0], [2, 0]]  # without any eigenvalue but zero
    >>> product_exponents([A, B] * 50).round(4)  # ln 2 for one direction
    array([0.6931,   -inf])
    """
    matrices = _checked_product(matrices)
    widths = [matrices[0].shape[1], *(len(J) for J in matrices)]
    frame = np.eye(min(widths))
    for J in reversed(matrices[: np.argmin(widths)]):
        frame, _ = np.linalg.qr(J.T @ frame)
    logarithms = np.zeros(frame.shape[1])
    for J in matrices:
        image, smallest = J @ frame, max(J.shape) * np.finfo(float).eps * np.linalg.norm(J)
        frame, R = np.linalg.qr(image)
        kept = np.abs(np.diag(R)) > smallest
        if not kept.all():
            frame, R = _without_lost(image, kept, smallest)
        logarithms = logarithms[kept] + np.log(np.abs(np.diag(R)))
    lost = np.full(min(widths) - len(logarithms), -np.inf)
    return np.append(np.sort(logarithms)[::-1] / len(matrices), lost)


def _without_lost(image: Array, kept: Array, smallest: float) -> tuple[Array, Array]:
    """Q and R of the columns of an image that are independent; `kept`, a guess, is corrected in place.

    What is lost must not stay in the frame: its direction there is rounding. And by that direction a later column may
    have been judged lost that is not.
    """
    while True:
        frame, R = np.linalg.qr(image[:, kept])
        rest = np.linalg.norm(image - frame @ (frame.T @ image), axis=0)
        missed = ~kept & (rest > smallest)
        if not missed.any():
            return frame, R
        kept[missed.argmax()] = True


def _layers(model: nn.Sequential) -> list[nn.Sequential]:
    """Groups of blocks: each begins with a block that holds a linear map; what precedes the first joins its group."""

    def is_linear(block: nn.Module) -> bool:
        return any(isinstance(part, nn.Linear) for part in block.modules())

    groups: list[list[nn.Module]] = [[]]
    for block in model:
        if is_linear(block) and any(map(is_linear, groups[-1])):
            groups.append([])
        groups[-1].append(block)
    return [nn.Sequential(*group) for group in groups]


def _checked_product(matrices: Sequence[ArrayLike]) -> list[Array]:
    matrices = [np.asarray(J, np.float64) for J in matrices]
    if not matrices:
        raise ValueError("matrices must hold at least one matrix, got an empty list")
    for i, J in enumerate(matrices):
        if J.ndim != 2 or 0 in J.shape or (i > 0 and J.shape[1] != len(matrices[i - 1])):
            before = f" after {matrices[i - 1].shape}" if i > 0 else ""
            raise ValueError(f"matrices[{i}] must be (n_i, n_(i-1)), got shape {J.shape}{before}")
        if not np.isfinite(J).all():
            raise ValueError(
                f"matrices[{i}] must be finite, but holds {J[~np.isfinite(J)][0]}: did the signal diverge?"
            )
    return matrices


# --- a model left as it was ------------------------------------------------------------------------------------------


def _call(module: nn.Module, x: torch.Tensor, dtype: torch.dtype | None = None) -> torch.Tensor:
    """module(x) with copies of its buffers in place of them; all in another type when one is given."""
    tensors = {name: b.to(dtype if b.is_floating_point() else None, copy=True) for name, b in module.named_buffers()}
    if dtype is not None:
        tensors |= {name: p.to(dtype) for name, p in module.named_parameters()}
    return functional_call(module, tensors, (x,))


def _random_state_kept(x: torch.Tensor):
    """A context after which torch's random states, on the CPU and on the device of x, are what they were."""
    return torch.random.fork_rng([x.device] if x.is_cuda else [])


def _checked_input(model: nn.Module, x: ArrayLike) -> torch.Tensor:
    """A copy of x, of the model's type and on its device."""
    like = next(model.parameters(), torch.empty(0))
    x = x.detach() if isinstance(x, torch.Tensor) else torch.from_numpy(np.array(x, order="C"))
    x = x.to(like, copy=True)
    if x.numel() == 0:
        raise ValueError(f"x must hold at least one example, got shape {tuple(x.shape)}")
    if not x.isfinite().all():
        raise ValueError(f"x must be finite, but holds {x[~x.isfinite()][0].item()}")
    return x


def _checked_rows(model: nn.Module, x: ArrayLike) -> torch.Tensor:
    """x (n,) or (B, n), for a model that takes each row by itself."""
    for name, part in model.named_modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm) and (part.training or part.running_mean is None):
            remedy = "call model.eval() first" if part.running_mean is not None else "let it track running statistics"
            raise ValueError(f"in {name!r} ({part}) the outputs of one example depend on the whole batch: {remedy}")
    x = _checked_input(model, x)
    if x.ndim not in (1, 2):
        raise ValueError(f"x must have shape (n,) or (B, n), got {tuple(x.shape)}")
    return x


def _summed_losses(y: torch.Tensor, labels: ArrayLike) -> torch.Tensor:
    """The sum over the examples of -log softmax(y)[label]."""
    if y.ndim != 2:
        raise ValueError(f"labels need outputs of shape (B, K), but the model's have shape {tuple(y.shape)}")
    labels = labels.detach() if isinstance(labels, torch.Tensor) else torch.from_numpy(np.array(labels, order="C"))
    if labels.shape != y.shape[:1]:
        raise ValueError(f"labels must have shape ({len(y)},), one per example, got {tuple(labels.shape)}")
    if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
        raise ValueError(f"labels must be integers from 0 to {y.shape[1] - 1}, got {labels.dtype}")
    labels = labels.to(y.device, torch.long)
    wrong = labels[(labels < 0) | (labels >= y.shape[1])]
    if len(wrong):
        raise ValueError(f"labels must lie between 0 and {y.shape[1] - 1}, got {wrong[0].item()}")
    return nn.functional.cross_entropy(y, labels, reduction="sum")


def _arrays(tensors: Sequence[torch.Tensor]) -> list[Array]:
    return [t.detach().cpu().numpy() for t in tensors]
