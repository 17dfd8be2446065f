"""One training step: data and model on a device, a batch forwards and backwards, the parameters moved.

What `training.fit` does many times over, and the places that it does it in. Nothing here knows of epochs, checkpoints
or histories.
"""

from __future__ import annotations

import atexit
import contextlib
import math
import os
import signal
import threading
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor, nn

from ._chain import Chain, is_chain
from .networks import Layer

PRECISIONS = ("fp32", "tf32", "bf16")
# Their derivatives are functions of their values: z may be overwritten by f(z)
_WITH_FLAG, _WITHOUT_FLAG = (nn.SELU, nn.ELU, nn.ReLU, nn.LeakyReLU), {nn.Tanh: torch.tanh_, nn.Sigmoid: torch.sigmoid_}
# What a CUDA graph may hold: parts that do the same at each call, with no random number and no branch
_REPEATABLE = (
    *(Layer, nn.Sequential, nn.Linear, nn.Flatten, nn.Identity, nn.BatchNorm1d, nn.LayerNorm),
    *(nn.SELU, nn.ELU, nn.ReLU, nn.LeakyReLU, nn.Tanh, nn.Sigmoid, nn.GELU, nn.SiLU),
)
_WARM_UP = 3  # steps before the one that is captured


class NotFiniteError(ArithmeticError):
    """The loss of a batch is nan or infinite."""


# --- devices, precision, state left as it was ------------------------------------------------------------------------


def pick_device(device: str | torch.device, model: nn.Module) -> torch.device:
    """The device of that name; "auto" is CUDA, then MPS, then the CPU, whichever comes first and takes the model."""
    double = any(p.dtype == torch.float64 for p in model.parameters())
    if str(device) == "auto":
        if torch.cuda.is_available():
            return _own_cuda()
        mps = torch.backends.mps.is_available() and not double and not _started_with_others()
        return torch.device("mps" if mps else "cpu")
    try:
        device = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise ValueError(f"unknown device {device!r}; choose 'auto', 'cuda', 'mps' or 'cpu'") from error
    if device.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (device.index or 0) >= count:
            raise ValueError(
                f"device {str(device)!r} was asked for, but torch sees {count} CUDA devices: device='auto'?"
            )
        return _own_cuda() if device.index is None else device
    if device.type == "mps" and (double or not torch.backends.mps.is_available()):
        why = "MPS has no float64: use model.float()" if double else "torch sees no MPS: device='auto'?"
        raise ValueError(f"device 'mps' was asked for, but {why}")
    if device.type not in ("cpu", "mps"):
        raise ValueError(f"unknown device {str(device)!r}; choose 'auto', 'cuda', 'mps' or 'cpu'")
    return device


def _started_with_others() -> bool:
    """Whether this process is one of several that torchrun has started."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def _own_cuda() -> torch.device:
    """The current CUDA device; of several processes on one machine the first has device 0, the second 1, and so on."""
    if not _started_with_others():
        return torch.device("cuda", torch.cuda.current_device())
    rank, count = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
    if rank >= count:
        raise ValueError(
            f"process {rank} of this machine (counted from 0) would need a CUDA device of its own, but torch sees "
            f"{count}: start {count} with torchrun --nproc-per-node={count}, or use device='cpu'"
        )
    return torch.device("cuda", rank)


def device_name(device: torch.device) -> str:
    """ "cpu", "mps", or what a CUDA device calls itself."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


@contextlib.contextmanager
def tf32(allowed: bool, device: torch.device) -> Iterator[None]:
    """Matrix products of float32 on CUDA with the 10-bit mantissas of TF32, or without; afterwards as it was."""
    if device.type != "cuda":
        yield
        return
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = allowed
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before


@contextlib.contextmanager
def modes_kept(model: nn.Module) -> Iterator[None]:
    """Every part of the model is afterwards in the mode, training or evaluation, in which it was."""
    modes = {part: part.training for part in model.modules()}
    try:
        yield
    finally:
        for part, mode in modes.items():
            part.training = mode


@contextlib.contextmanager
def placed(model: nn.Module, device: torch.device) -> Iterator[None]:
    """The model is on the device, and afterwards where it was."""
    homes = [t.device for t in [*model.parameters(), *model.buffers()]]
    if all(home == device for home in homes):  # to go through all parts for nothing takes as long as a step
        yield
        return
    model.to(device)
    try:
        yield
    finally:
        model.to(homes[0])


@contextlib.contextmanager
def in_place_activations(model: nn.Module) -> Iterator[None]:
    """Activations of `networks.Layer`s overwrite their argument, which nobody else needs; afterwards as before.

    Where a hook looks on, nothing is changed.
    """
    flagged, replaced = [], []
    if not hooked(model):
        activations = [getattr(layer, "activation", None) for layer in model.modules() if isinstance(layer, Layer)]
        flagged = [f for f in activations if isinstance(f, _WITH_FLAG) and not f.inplace]
        replaced = [f for f in activations if type(f) in _WITHOUT_FLAG]
    for f in flagged:
        f.inplace = True
    for f in replaced:
        f.forward = _WITHOUT_FLAG[type(f)]
    try:
        yield
    finally:
        for f in flagged:
            f.inplace = False
        for f in replaced:
            del f.forward


def hooked(model: nn.Module) -> bool:
    return any(part._forward_hooks or part._forward_pre_hooks or part._backward_hooks for part in model.modules())


@contextlib.contextmanager
def interrupts_noted() -> Iterator[list[int]]:
    """Ctrl-C is noted in the list given here, to be heeded at a good moment; the second one raises KeyboardInterrupt.

    Only in the main thread, and only where Python's own reaction to Ctrl-C is in force: another one is left alone.
    """
    noted: list[int] = []

    def note(number: int, frame: object) -> None:
        if noted:
            raise KeyboardInterrupt
        noted.append(number)

    main = threading.current_thread() is threading.main_thread()
    ours = main and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if ours:
        signal.signal(signal.SIGINT, note)
    try:
        yield noted
    finally:
        if ours:
            signal.signal(signal.SIGINT, signal.default_int_handler)


def order(seed: int, epoch: int, n: int) -> Tensor:
    """The order in which an epoch (from 0) takes its n examples, a function of its arguments alone."""
    return torch.from_numpy(np.random.default_rng((seed, epoch)).permutation(n))


def mask_seeds(seed: int, epoch: int, rank: int, steps: int) -> np.ndarray:
    """A seed for the dropout masks of each step of an epoch, in the process of that rank."""
    return np.random.default_rng((seed, epoch, 1 + rank)).integers(2**63, size=steps)


def seed_masks(device: torch.device, seed: int) -> None:
    """Start the device's random numbers, from which dropout draws its masks, at a seed."""
    if device.type == "cuda":
        torch.cuda.default_generators[device.index].manual_seed(seed)
    elif device.type == "mps":
        torch.mps.manual_seed(seed)
    else:
        torch.default_generator.manual_seed(seed)


# --- data ------------------------------------------------------------------------------------------------------------


def tensors(data, name: str, model: nn.Module, device: torch.device) -> tuple[Tensor, Tensor]:
    """x of the model's type and labels y, both on the device, from anything with .x and .y or from a pair."""
    if hasattr(data, "x") and hasattr(data, "y"):
        x, y = data.x, data.y
    elif isinstance(data, (tuple, list)) and len(data) == 2:
        x, y = data
    else:
        raise ValueError(f"{name} must have .x and .y or be a pair (x, y), got {type(data).__name__}")
    dtype = next((p.dtype for p in model.parameters()), torch.float32)
    x, y = _tensor(x), _tensor(y)
    if x.ndim < 2 or len(x) == 0:
        raise ValueError(f"x of {name} must hold examples along its first axis, (B, n), got shape {tuple(x.shape)}")
    if y.shape != x.shape[:1]:
        raise ValueError(f"y of {name} must have shape ({len(x)},), one label per example, got {tuple(y.shape)}")
    if y.is_floating_point() or y.is_complex() or y.dtype == torch.bool:
        raise ValueError(f"y of {name} must be whole numbers, the classes from 0 on, got {y.dtype}")
    x, y = x.to(device, dtype).contiguous(), y.to(device, torch.long).contiguous()
    if not all(chunk.isfinite().all() for chunk in x.view(-1).split(2**20)):  # pieces, as isfinite makes copies
        raise ValueError(f"x of {name} must be finite, but holds {x[~x.isfinite()][0].item()}")
    return x, y


def _tensor(values) -> Tensor:
    if isinstance(values, Tensor):
        return values.detach()
    values = np.asarray(values)
    if values.dtype.kind not in "fiub":
        raise ValueError(f"data must be numbers, got {values.dtype}")
    return torch.from_numpy(values if values.flags.writeable else values.copy())


def check_fit_to_model(model: nn.Module, x: Tensor, y: Tensor, name: str) -> None:
    """Raise ValueError unless the model maps rows of x to one number per class, and y holds such classes."""
    first = next((part for part in model.modules() if isinstance(part, nn.Linear)), None)
    expected = f", and its first linear layer takes {first.in_features} inputs" if first is not None else ""
    with modes_kept(model), torch.no_grad():
        try:
            outputs = model.eval()(x[:1])
        except RuntimeError as error:
            shape = tuple(x.shape)
            raise ValueError(
                f"the model cannot take x of {name}, which has shape {shape}{expected}: {error}"
            ) from error
    if outputs.ndim != 2:
        raise ValueError(f"the model must give outputs (B, K), one number per class, got {tuple(outputs.shape)}")
    wrong = y[(y < 0) | (y >= outputs.shape[1])]
    if len(wrong):
        raise ValueError(
            f"y of {name} must lie between 0 and {outputs.shape[1] - 1}, as the model has {outputs.shape[1]} outputs, "
            f"but holds {wrong[0].item()}"
        )


# --- several processes -----------------------------------------------------------------------------------------------


class ProcessLostError(RuntimeError):
    """Another of the processes that train together is gone or does not answer."""


class Processes:
    """The processes that train together: this one's rank among `count`.

    Every method but `share` is called by all of them at the same point, or all wait. Raises ProcessLostError when
    another one is gone.
    """

    def __init__(self, device: torch.device):
        """Join the processes that torchrun has started; the first run of a program joins them for good."""
        distributed = torch.distributed
        self.rank, self.count, self.device = 0, 1, device
        if not distributed.is_available():
            return
        if _started_with_others() and not distributed.is_initialized():
            on_cuda = device.type == "cuda"
            distributed.init_process_group("nccl" if on_cuda else "gloo", device_id=device if on_cuda else None)
            atexit.register(lambda: distributed.is_initialized() and distributed.destroy_process_group())
        if distributed.is_initialized():
            self.rank, self.count = distributed.get_rank(), distributed.get_world_size()

    def share(self, rows: Tensor) -> Tensor:
        """This process's part of the rows of a batch; empty where there are fewer rows than processes."""
        return rows[self.rank :: self.count]

    def sums(self, values: list[Tensor]) -> list[Tensor]:
        """The sum of each tensor over the processes, in one message."""
        flat = torch.cat([t.reshape(-1).to(values[0].dtype) for t in values])
        with self._listening():
            torch.distributed.all_reduce(flat)
        return [part.view_as(t) for part, t in zip(flat.split([t.numel() for t in values]), values, strict=True)]

    def first(self, work: Callable[[], object]) -> object:
        """What `work` returns in the first process, which alone calls it; or raise there and here what it raises."""
        if self.count == 1:
            return work()
        answer = [None, None]
        if self.rank == 0:
            try:
                answer[0] = work()
            except Exception as error:
                answer[1] = error
        with self._listening():
            torch.distributed.broadcast_object_list(answer, device=self.device)
        if answer[1] is not None:
            raise answer[1]
        return answer[0]

    def gather(self, value: object) -> list:
        """The values of all processes, by rank."""
        values = [None] * self.count
        with self._listening():
            torch.distributed.all_gather_object(values, value)
        return values

    def copy_from_first(self, t: Tensor) -> None:
        """Overwrite a tensor with that of the first process."""
        with self._listening():
            torch.distributed.broadcast(t, src=0)

    @contextlib.contextmanager
    def _listening(self) -> Iterator[None]:
        try:
            yield
        except RuntimeError as error:  # torch has no narrower one for a closed connection
            raise ProcessLostError(
                f"process {self.rank} of {self.count} lost another one while they trained together; the message of "
                f"that one says why ({str(error).splitlines()[0]})"
            ) from error


# --- the step --------------------------------------------------------------------------------------------------------


class Optimizer:
    """Moves parameters p along their gradients g, all of them at once.

        sgd       p <- p - lr g
        momentum  v <- momentum v + g,  p <- p - lr v
        adam      m <- b1 m + (1 - b1) g,  v <- b2 v + (1 - b2) g^2,
                  p <- p - lr / (1 - b1^t) m / (sqrt(v / (1 - b2^t)) + eps)       (Kingma and Ba, 2015, algorithm 1)

    with b1 = 0.9, b2 = 0.999 and eps = 1e-8; t is the number of the step, from 1.

    Attributes
    ----------
    state : {name: tensor}, everything that it remembers beside t: v and m, which start at 0.
    """

    def __init__(self, name: str, parameters: list[nn.Parameter], momentum: float):
        self.name, self.parameters, self.momentum = name, parameters, momentum
        self.m = [torch.zeros_like(p) for p in parameters] if name == "adam" else []
        self.v = [torch.zeros_like(p) for p in parameters] if name in ("momentum", "adam") else []
        self.state = {f"m/{i}": t for i, t in enumerate(self.m)} | {f"v/{i}": t for i, t in enumerate(self.v)}

    def numbers(self, lr: float, t: int) -> tuple[float, float]:
        """What `update` needs to know of step t: the rate, and for adam the root of 1 - b2^t."""
        return (lr / (1 - 0.9**t), math.sqrt(1 - 0.999**t)) if self.name == "adam" else (lr, 1.0)

    @torch.no_grad()
    def update(self, gradients: list[Tensor], lr: float | Tensor | list[Tensor], root: float | Tensor) -> None:
        """Move the parameters; lr and root are those of `numbers`, as floats or as tensors (which a graph reads anew).

        A list gives each parameter a rate of its own, or a tensor of rates that broadcasts.
        """
        directions = gradients
        if self.name == "momentum":
            torch._foreach_mul_(self.v, self.momentum)
            torch._foreach_add_(self.v, gradients)
            directions = self.v
        elif self.name == "adam" and isinstance(lr, float) and self.m[0].device.type == "cpu":
            return self._adam_in_one_pass(gradients, lr, root)
        elif self.name == "adam":
            torch._foreach_lerp_(self.m, gradients, 1 - 0.9)
            torch._foreach_mul_(self.v, 0.999)
            torch._foreach_addcmul_(self.v, gradients, gradients, 1 - 0.999)
            directions = torch._foreach_sqrt(self.v)
            torch._foreach_div_(directions, root)
            torch._foreach_add_(directions, 1e-8)
            torch._foreach_reciprocal_(directions)
            torch._foreach_mul_(directions, self.m)
        self._subtract(directions, lr)

    def _adam_in_one_pass(self, gradients: list[Tensor], lr: float, root: float) -> None:
        """torch's fused operation, at a step so late that it corrects nothing more: lr and root have done it.

        lr m / (sqrt(v) / root + eps) = lr root m / (sqrt(v) + root eps)
        """
        late = [self.v[0].new_full((), math.inf)] * len(gradients)
        numbers = {"lr": lr * root, "beta1": 0.9, "beta2": 0.999, "eps": root * 1e-8, "weight_decay": 0.0}
        options = {"amsgrad": False, "maximize": False}
        torch._fused_adam_(self.parameters, gradients, self.m, self.v, [], late, **numbers, **options)

    @property
    def linear(self) -> bool:
        """Whether `descend` can stand for `update`."""
        return self.name != "adam"

    @torch.no_grad()
    def descend(self, backwards: Callable[..., None], lr: float | Tensor) -> None:
        """Move the parameters as `update` does, where backwards(into, keep, factor) is that of a `Chain`."""
        if self.name == "sgd":
            backwards(self.parameters, 1.0, -lr)
        else:
            backwards(self.v, self.momentum)
            self._subtract(self.v, lr)

    def _subtract(self, directions: list[Tensor], lr: float | Tensor | list[Tensor]) -> None:
        if isinstance(lr, float):
            torch._foreach_add_(self.parameters, directions, alpha=-lr)
        elif isinstance(lr, list):
            torch._foreach_addcmul_(self.parameters, directions, lr, value=-1)
        else:
            torch._foreach_sub_(self.parameters, torch._foreach_mul(directions, lr))


class Step:
    """Takes steps of training on a model: one call, one batch.

    Parameters
    ----------
    model, optimizer : on the device of x, y; x (B, n) and y (B,) the whole data set.
    clip : largest norm of the whole gradient, or None.
    precision : one of PRECISIONS.

    On the CPU the loss is looked at in each step, before the parameters are moved; elsewhere that would make the host
    wait for the device, and the caller has to look now and then.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer,
        x: Tensor,
        y: Tensor,
        batch_size: int,
        clip: float | None,
        precision: str,
        processes: Processes,
    ):
        self.model, self.optimizer, self.x, self.y = model, optimizer, x, y
        self.clip, self.precision, self.processes = clip, precision, processes
        self.looks = x.device.type == "cpu" or processes.count > 1  # together, or none waits for the others
        self._batch = x.new_empty(batch_size, *x.shape[1:])
        self.chain = Chain(model, batch_size) if precision != "bf16" and is_chain(model) and not hooked(model) else None
        self.at_once = self.chain is not None and clip is None and processes.count == 1 and optimizer.linear
        self.gradients = [torch.empty_like(p) for p in optimizer.parameters] if self.chain and not self.at_once else []
        capture = x.device.type == "cuda" and processes.count == 1 and repeatable(model)
        self.captured = CapturedStep(self, batch_size) if capture else None

    def __call__(self, rows: Tensor, lr: float, t: int) -> tuple[Tensor, Tensor]:
        """Take step t for the batch of these rows; return its mean loss before the step and its number of hits.

        Raises NotFiniteError, and leaves the parameters alone, when the loss is not finite and was looked at.
        """
        numbers = self.optimizer.numbers(lr, t)
        if self.captured is not None and len(rows) == len(self._batch):
            return self.captured(rows, numbers)
        return self.take(rows, *numbers)

    def take(self, rows: Tensor, lr: float | Tensor, root: float | Tensor) -> tuple[Tensor, Tensor]:
        """Forwards, backwards, and the parameters moved."""
        if self.at_once:
            loss, hits = self.chain.forwards(self.inputs(rows), self.y.index_select(0, rows), len(rows))
            self.look(loss)
            self.optimizer.descend(self.chain.backwards, lr)
            return loss, hits
        loss, hits, gradients = self.differentiate(rows)
        if self.processes.count > 1:
            *gradients, loss, hits = self.processes.sums([*gradients, loss, hits])
        self.look(loss)
        if self.clip is not None:
            norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
            torch._foreach_mul_(gradients, (self.clip / norm).clamp(max=1))
        self.optimizer.update(gradients, lr, root)
        return loss, hits

    def look(self, loss: Tensor) -> None:
        """Raise NotFiniteError when the loss is not finite and is to be looked at."""
        if self.looks and not math.isfinite(loss):
            raise NotFiniteError(str(loss.item()))

    def differentiate(self, rows: Tensor) -> tuple[Tensor, Tensor, list[Tensor]]:
        """(loss, hits, gradients) of a batch, or this process's part of them: mean cross-entropy, right answers.

        The next call may overwrite the gradients.
        """
        size = len(rows)
        rows = self.processes.share(rows)
        y = self.y.index_select(0, rows)
        if self.chain is not None:
            loss, hits = self.chain.forwards(self.inputs(rows), y, size)
            self.chain.backwards(self.gradients)
            return loss, hits, self.gradients
        outputs = self.outputs(rows)
        loss = nn.functional.cross_entropy(outputs, y, reduction="sum") / size
        gradients = torch.autograd.grad(loss, self.optimizer.parameters, materialize_grads=True)
        return loss.detach(), (outputs.detach().argmax(1) == y).sum(), list(gradients)

    def inputs(self, rows: Tensor) -> Tensor:
        """x of these rows, copied to where those of the next batch will be."""
        return torch.index_select(self.x, 0, rows, out=self._batch[: len(rows)])

    def outputs(self, rows: Tensor) -> Tensor:
        """What the model makes of these rows."""
        x = self.inputs(rows)
        if self.precision != "bf16":
            return self.model(x)
        with torch.autocast(x.device.type, torch.bfloat16):
            return self.model(x).to(x.dtype)


def repeatable(model: nn.Module) -> bool:
    """Whether a CUDA graph can stand for the model: it holds known parts only, and no hook looks on."""
    return all(type(part) in _REPEATABLE for part in model.modules()) and not hooked(model)


class CapturedStep:
    """A step on CUDA as one graph: after a few ordinary ones the host only says "again".

    Where torch cannot capture the step, it goes on with ordinary ones.
    """

    def __init__(self, step: Step, batch_size: int):
        self.step, self.graph, self.ordinary = step, None, _WARM_UP
        self.rows = torch.zeros(batch_size, dtype=torch.long, device=step.x.device)
        self.numbers = tuple(torch.zeros((), dtype=step.x.dtype, device=step.x.device) for _ in range(2))
        self.stream = torch.cuda.Stream(step.x.device)

    def __call__(self, rows: Tensor, numbers: tuple[float, float]) -> tuple[Tensor, Tensor]:
        self.rows.copy_(rows)
        for number, value in zip(self.numbers, numbers, strict=True):
            number.fill_(value)
        if self.graph is None and self.ordinary == 0:
            self._capture()
        if self.graph is None:
            self.ordinary -= 1
            return self._aside()
        self.graph.replay()
        return self.results

    def _capture(self) -> None:
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph, stream=self.stream):
                self.results = self.step.take(self.rows, *self.numbers)
            self.graph = graph
        except RuntimeError:
            torch.cuda.synchronize()

    def _aside(self) -> tuple[Tensor, Tensor]:
        """The step on the stream of the capture, as torch wants it before one."""
        self.stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self.stream):
            results = self.step.take(self.rows, *self.numbers)
        torch.cuda.current_stream().wait_stream(self.stream)
        return results


def first_not_finite(model: nn.Module, run: Callable[[], object]) -> tuple[int | None, int]:
    """The first linear layer, counted from 1 in order of execution, whose outputs are not finite, and how many ran."""
    finite: list[bool] = []

    def look(module: nn.Module, inputs: tuple, z: Tensor) -> None:
        finite.append(bool(z.isfinite().all()))

    hooks = [part.register_forward_hook(look) for part in model.modules() if isinstance(part, nn.Linear)]
    try:
        with torch.no_grad():
            run()
    finally:
        for hook in hooks:
            hook.remove()
    return (finite.index(False) + 1 if False in finite else None), len(finite)
