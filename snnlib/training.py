"""One training loop: mini-batches, on a CPU or a GPU, in one process or several, resumable.

Chapters: book/practice. `fit` trains a model in place on softmax with cross-entropy and returns its `History`. The data
set lives on the device as a whole and a batch is an index into it. On the CPU the same seed gives the same bits.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import math
import os
import re
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from numbers import Integral, Real
from weakref import WeakKeyDictionary

import pandas as pd
import torch
from torch import Tensor, nn

from . import _checkpoints, _steps
from ._checkpoints import CheckpointError
from .propagation import layer_statistics

__all__ = ["CheckpointError", "DivergedError", "History", "Interrupted", "evaluate", "fit"]

#: The values of `optimizer` that `fit` knows.
OPTIMIZERS = ("sgd", "momentum", "adam")
#: The values of `schedule` that `fit` knows: the share of the learning rate at the share s of all steps.
SCHEDULES = {"cosine": lambda s: (1 + math.cos(math.pi * s)) / 2, "linear": lambda s: 1 - s}
EVALUATION_BATCH = 4096  #: Examples that `evaluate` takes at a time.
LOOK_EVERY = 256  #: Steps after which the losses are looked at where a look makes the host wait


@dataclass(frozen=True, eq=False)
class History:
    """What happened in a run of `fit`.

    Attributes
    ----------
    epochs : one row per epoch: epoch (from 1), step (done so far), lr (of the epoch's last step), loss and accuracy
        (means over the epoch's examples, each taken when its batch was trained on), with a test set test_loss and
        test_accuracy (after the epoch, in evaluation mode), and seconds (of the epoch's steps).
    layers : `propagation.layer_statistics` with a column epoch before it; 0 is before training. None if not asked for.
    settings : the arguments of the run.
    device : "cpu", "mps" or what the CUDA device calls itself.
    stopped : "finished", "early stopping", or why it ended before: "diverged", "interrupted".
    """

    epochs: pd.DataFrame
    layers: pd.DataFrame | None
    settings: dict
    device: str
    stopped: str

    def __repr__(self) -> str:
        return f"History({len(self.epochs)} epochs on {self.device}, {self.stopped})"


class DivergedError(ArithmeticError):
    """The loss is no longer a finite number; the message says where, and what to try.

    Attributes
    ----------
    layer : the first linear layer, counted from 1, whose outputs were not finite; None where all were.
    step, epoch : counted from 1.
    history : `History` of the whole epochs before.
    """

    def __init__(self, message: str, layer: int | None, step: int, epoch: int, history: History):
        super().__init__(message)
        self.layer, self.step, self.epoch, self.history = layer, step, epoch, history


class Interrupted(KeyboardInterrupt):
    """Training was ended by Ctrl-C, as the message says; `history` is the `History` of the whole epochs before."""

    def __init__(self, message: str, history: History):
        super().__init__(message)
        self.history = history


def fit(
    model: nn.Module,
    train,
    test=None,
    *,
    epochs: int,
    batch_size: int = 256,
    lr: float = 0.01,
    optimizer: str = "sgd",
    momentum: float = 0.9,
    schedule: str | Callable[[float], float] | None = None,
    patience: int | None = None,
    clip: float | None = None,
    device: str | torch.device = "auto",
    precision: str = "fp32",
    seed: int = 0,
    checkpoint: str | os.PathLike | None = None,
    checkpoint_minutes: float | None = None,
    fallback: bool = False,
    statistics: int = 0,
    progress: bool = True,
) -> History:
    """Train a model in place on softmax with cross-entropy.

    Parameters
    ----------
    model : maps (B, n) to (B, K). It ends in the mode and on the device in which it was given.
    train, test : anything with .x (B, n) and .y (B,), such as `datasets.Images` and `Table`, or a pair (x, y) of arrays
        or tensors; y holds whole numbers from 0 to K - 1.
    epochs : passes over the training set.
    batch_size : examples per step; the last batch of an epoch may be smaller.
    lr : learning rate, the factor of the gradient of the mean loss over a batch.
    optimizer : "sgd" (plain), "momentum" (heavy ball: v <- momentum v + gradient, parameters <- parameters - lr v), or
        "adam" (Kingma and Ba, 2015, with its customary constants).
    schedule : None for a constant rate; "cosine" (Loshchilov and Hutter, 2017, without restarts) or "linear", which
        fall to 0 at the end of training; or a function of the share of steps done, in [0, 1): a factor of lr.
    patience : stop after so many epochs without a lower test loss; the parameters of the best epoch are put back.
    clip : largest norm of the whole gradient; a longer one is shortened to it (Pascanu et al., 2013).
    device : "auto" (CUDA, then MPS, then the CPU) or a device of torch.
    precision : "fp32" computes in the model's own type; "tf32" (CUDA) and "bf16" multiply matrices with 10 and 7 bits
        of mantissa, and keep parameters in float32.
    seed : of the order of the batches and of dropout masks; epoch e draws from (seed, e) alone. torch's random state is
        neither used nor changed.
    checkpoint : a folder. What it holds of the same run is taken up again; of another run, it is refused.
    checkpoint_minutes : write a checkpoint when so many minutes have passed since the last and at the end; None: after
        each epoch.
    fallback : where the newest checkpoint is damaged take the one before it.
    statistics : look at the layers with the first so many training examples, before training and after each epoch.
    progress : show a progress bar, on a terminal and in Jupyter.

    Several processes, started by torchrun, train as one: each takes its share of every batch, the gradients are summed,
    and the first one evaluates and writes checkpoints. The result is that of one process but for rounding (dropout
    apart, whose masks each draws for itself); batch normalization is refused. Ctrl-C is heeded between two steps, after
    what was done is in the checkpoint; a second one ends the step under way.

    Raises ValueError for arguments that make no sense, `DivergedError` when the loss is no longer finite, `Interrupted`
    after Ctrl-C, and `CheckpointError` for a checkpoint that is damaged, of another run, or cannot be written.

    >>> model, x, y = nn.Sequential(nn.Linear(2, 2)), torch.eye(2), torch.tensor([0, 1])
    >>> history = fit(model, (x, y), epochs=100, lr=1.0, device="cpu", progress=False)
    >>> history.stopped, float(history.epochs["accuracy"].iloc[-1])
    ('finished', 1.0)
    """
    settings = {
        "epochs": epochs,
        "batch_size": batch_size,
        "lr": lr,
        "optimizer": optimizer,
        "momentum": momentum,
        "schedule": schedule,
        "patience": patience,
        "clip": clip,
        "precision": precision,
        "seed": seed,
        "statistics": statistics,
    }
    _check_settings(settings, checkpoint_minutes, test is not None)
    device = _steps.pick_device(device, model)
    _check_precision(precision, device, model)
    with contextlib.ExitStack() as stack:
        processes = _steps.Processes(device)
        stack.enter_context(_steps.modes_kept(model))
        stack.enter_context(_steps.placed(model, device))
        stack.enter_context(_steps.tf32(precision == "tf32", device))
        stack.enter_context(torch.random.fork_rng([device] if device.type == "cuda" else []))
        run = _Run(model, train, test, settings, device, processes)
        run.agree()
        if checkpoint is not None:
            run.take_up(checkpoint, checkpoint_minutes, fallback)
            stack.callback(run.remember_model)
        run.interrupts = stack.enter_context(_steps.interrupts_noted())
        with _bar(progress and processes.rank == 0, epochs) as bar:
            try:
                run.train(bar)
            except (KeyboardInterrupt, _steps.ProcessLostError) as error:
                if not run.interrupts and not isinstance(error, KeyboardInterrupt):
                    raise
                raise Interrupted("training was interrupted", run.history("interrupted")) from None
        return run.history(run.stopped)


def evaluate(
    model: nn.Module, data, device: str | torch.device = "auto", batch_size: int = EVALUATION_BATCH
) -> tuple[float, float]:
    """(loss, accuracy) of a model in evaluation mode: mean cross-entropy and share of right answers.

    model, data and device are as `fit` takes them; batch_size is how many examples are looked at together. The model is
    left in the mode and on the device in which it was. Raises ValueError for data that do not fit the model.

    >>> model = nn.Sequential(nn.Linear(2, 2, bias=False))
    >>> model[0].weight.data = 9 * torch.eye(2)
    >>> loss, accuracy = evaluate(model, (torch.eye(2), torch.tensor([0, 1])), "cpu")
    >>> round(loss, 6), accuracy
    (0.000123, 1.0)
    """
    if not (isinstance(batch_size, Integral) and batch_size >= 1):
        raise ValueError(f"batch_size must be a whole number >= 1, got {batch_size!r}")
    device = _steps.pick_device(device, model)
    with _steps.placed(model, device), _steps.modes_kept(model):
        x, y = _steps.tensors(data, "data", model, device)
        _steps.check_fit_to_model(model, x, y, "data")
        return _evaluate(model, x, y, batch_size)


@torch.no_grad()
def _evaluate(model: nn.Module, x: Tensor, y: Tensor, batch_size: int = EVALUATION_BATCH) -> tuple[float, float]:
    model.eval()
    loss, hits = 0.0, 0
    for rows, labels in zip(x.split(batch_size), y.split(batch_size), strict=True):
        outputs = model(rows)
        loss += nn.functional.cross_entropy(outputs, labels, reduction="sum").item()
        hits += (outputs.argmax(1) == labels).sum().item()
    return loss / len(x), hits / len(x)


# --- the run ---------------------------------------------------------------------------------------------------------


class _Run:
    """A run of `fit`: where it stands, and how it goes on.

    `epoch` whole epochs are done, and `k` steps of the next one, whose losses and hits stand in `losses` and `hits`.
    """

    def __init__(self, model, train, test, settings, device, processes):
        self.model, self.settings, self.device, self.processes = model, settings, device, processes
        self.x, self.y = _steps.tensors(train, "train", model, device)
        _steps.check_fit_to_model(model, self.x, self.y, "train")
        self.test = None if test is None else _steps.tensors(test, "test", model, device)
        if self.test is not None:
            _steps.check_fit_to_model(model, *self.test, "test")
        self.batch_size = min(settings["batch_size"], len(self.x))
        self.steps = math.ceil(len(self.x) / self.batch_size)  # per epoch
        _check_batches(model, len(self.x), self.batch_size, processes)
        parameters = [p for p in model.parameters() if p.requires_grad]
        if not parameters:
            raise ValueError("the model has no parameters to train: is requires_grad off everywhere?")
        self.optimizer = _steps.Optimizer(settings["optimizer"], parameters, settings["momentum"])
        self.step = _steps.Step(
            model, self.optimizer, self.x, self.y, self.batch_size, settings["clip"], settings["precision"], processes
        )
        self.draws = any(isinstance(part, _DROPOUT) and part.p > 0 for part in model.modules())
        self.epoch = self.k = 0
        self.seconds = 0.0
        self.losses = torch.zeros(self.steps, dtype=self.x.dtype, device=device)
        self.hits = torch.zeros(self.steps, dtype=torch.long, device=device)
        self.rows: list[dict] = []
        self.layers: list[dict] = []
        self.best_loss, self.best_epoch, self.best = math.inf, 0, None
        self.folder = None

    def train(self, bar) -> None:
        """Go on to the end."""
        if self.settings["statistics"] and not self.layers:
            self.look_at_layers()
        bar.update(len(self.rows))
        while self.epoch < self.settings["epochs"] and self.stopped == "finished":
            self.train_epoch()
            self.close_epoch()
            bar.update(1)
            bar.set_postfix(
                {name: f"{self.rows[-1][name]:.4f}" for name in ("loss", "test_loss") if name in self.rows[-1]}
            )
            if self.folder is not None and (self.minutes is None or self.due()):
                self.save()
            self.heed_interrupts()
        if self.folder is not None and self.saved != (self.epoch, self.k):
            self.save()
        if self.best is not None:
            self.model.load_state_dict(self.best)

    @property
    def stopped(self) -> str:
        patience, left = self.settings["patience"], self.settings["epochs"] - self.epoch
        return "early stopping" if patience and left and self.epoch - self.best_epoch >= patience else "finished"

    def train_epoch(self) -> None:
        """Take the steps of the epoch that are left."""
        seed = self.settings["seed"]
        self.order = _steps.order(seed, self.epoch, len(self.x)).to(self.device)
        self.masks = _steps.mask_seeds(seed, self.epoch, self.processes.rank, self.steps)
        self.model.train()
        begin, before = time.perf_counter(), self.seconds
        self.take_snapshot()
        with _steps.in_place_activations(self.model):
            while self.k < self.steps:
                self.take_step()
                late = self.folder is not None and self.minutes is not None and self.due()
                last = self.k == self.steps
                if not self.step.looks and (last or self.k - self.snapshot[0] >= LOOK_EVERY):
                    self.look_for_divergence()
                self.seconds = before + time.perf_counter() - begin
                if late and not last:
                    self.save()
                if not last:
                    self.heed_interrupts()

    def rows_of_step(self) -> Tensor:
        return self.order[self.k * self.batch_size : (self.k + 1) * self.batch_size]

    def seed_masks(self) -> None:
        """Let the next step draw its own dropout masks, whatever was drawn before."""
        if self.draws:
            _steps.seed_masks(self.device, int(self.masks[self.k]))

    def take_step(self) -> None:
        """Take the next step, and note its loss and hits."""
        self.seed_masks()
        try:
            loss, hits = self.step(self.rows_of_step(), self.rate(), self.epoch * self.steps + self.k + 1)
        except _steps.NotFiniteError:
            raise self.diverged() from None
        self.losses[self.k], self.hits[self.k] = loss, hits
        self.k += 1

    def take_snapshot(self) -> None:
        """Keep what `look_for_divergence` may have to go back to."""
        if not self.step.looks:
            kept = [*self.model.state_dict().values(), *self.optimizer.state.values()]
            self.snapshot = self.k, [t.detach().clone() for t in kept]

    def look_for_divergence(self) -> None:
        """Look at the losses since the snapshot; where one is not finite, go back and take the steps up to it again."""
        begin, copies = self.snapshot
        bad = ~self.losses[begin : self.k].isfinite()
        if not bad.any():
            self.take_snapshot()
            return
        with torch.no_grad():
            kept = [*self.model.state_dict().values(), *self.optimizer.state.values()]
            for t, copy in zip(kept, copies, strict=True):
                t.copy_(copy)
        self.k, end = begin, begin + int(bad.nonzero()[0])
        while self.k < end:
            self.take_step()
        raise self.diverged()

    def heed_interrupts(self) -> None:
        """End here, between two steps, if Ctrl-C was pressed; what has been done is kept in the checkpoint."""
        if self.interrupts:
            if self.folder is not None and self.saved != (self.epoch, self.k):
                self.save()
            raise KeyboardInterrupt

    def rate(self) -> float:
        """The learning rate of the next step."""
        share = (self.epoch * self.steps + self.k) / (self.settings["epochs"] * self.steps)
        return float(self.settings["lr"]) * _factor(self.settings["schedule"], share)

    def close_epoch(self) -> None:
        """Add the epoch's row to the history."""
        sizes = torch.full((self.steps,), self.batch_size, dtype=torch.float64)
        sizes[-1] = len(self.x) - self.batch_size * (self.steps - 1)
        self.k -= 1
        lr = self.rate()
        self.epoch, self.k = self.epoch + 1, 0
        row = {"epoch": self.epoch, "step": self.epoch * self.steps, "lr": lr}
        row["loss"] = (self.losses.cpu().double() @ sizes).item() / len(self.x)
        row["accuracy"] = self.hits.sum().item() / len(self.x)
        if self.test is not None:
            row["test_loss"], row["test_accuracy"] = self.processes.first(lambda: _evaluate(self.model, *self.test))
        row["seconds"], self.seconds = self.seconds, 0.0
        self.rows.append(row)
        if self.settings["patience"] and (row["test_loss"] < self.best_loss or self.best is None):
            self.best_loss, self.best_epoch = row["test_loss"], self.epoch
            self.best = {name: t.detach().clone() for name, t in self.model.state_dict().items()}
        if self.settings["statistics"]:
            self.look_at_layers()

    def look_at_layers(self) -> None:
        b = self.settings["statistics"]
        table = layer_statistics(self.model.eval(), self.x[:b], self.y[:b])
        self.layers += [{"epoch": self.epoch, **row} for row in table.to_dict("records")]

    def diverged(self) -> DivergedError:
        """The error that says where the next step, whose loss is not finite, goes wrong."""
        found: list[Tensor] = []
        self.seed_masks()
        layer, depth = _steps.first_not_finite(self.model, lambda: found.append(self.step.outputs(self.rows_of_step())))
        loss = nn.functional.cross_entropy(found[0], self.y[self.rows_of_step()]).item()
        step, epoch = self.epoch * self.steps + self.k + 1, self.epoch + 1
        where = f": layer {layer} of {depth} was the first whose outputs were not finite" if layer else ""
        message = f"the loss became {loss} at step {step} (epoch {epoch}){where}; "
        message += f"lower lr ({self.settings['lr']:g}), clip gradients, or change the initial weights"
        return DivergedError(message, layer, step, epoch, self.history("diverged"))

    def history(self, stopped: str) -> History:
        return _history(self.rows, self.layers, self.settings, self.device, stopped, self.test is not None)

    # --- checkpoints ---

    def agree(self) -> None:
        """Start all processes from the parameters of the first one; raise ValueError where their runs differ."""
        if self.processes.count == 1:
            return
        runs = self.processes.gather(self.identify())
        for rank, run in enumerate(runs):
            if run != runs[0]:
                raise ValueError(
                    f"process {rank} was given another run than process 0: other {_differences(runs[0], run)}; "
                    "give every process the same model, data and settings"
                )
        for t in self.model.state_dict().values():
            self.processes.copy_from_first(t)

    def take_up(self, folder, minutes: float | None, fallback: bool) -> None:
        """Write checkpoints there from now on, and go on from the newest one that is there."""
        self.folder, self.minutes, self.last_save, self.saved = folder, minutes, time.monotonic(), None
        self.identity, self.beginning = self.identify(), _digest(*self.model.state_dict().values())
        found = self.processes.first(lambda: _checkpoints.load(folder, fallback))
        if found is None:
            return
        tensors, state = found
        left, beginning = _BEGINNINGS.get(self.model, (None, None))
        if left == self.beginning:  # as an earlier call of this run left it: interrupted in a notebook, say
            self.beginning = state["beginning"] if state["beginning"] == beginning else self.beginning
        self.check_identity(state)
        self.epoch, self.k, self.seconds = state["epoch"], state["k"], state["seconds"]
        self.saved = (self.epoch, self.k)
        self.rows, self.layers = state["rows"], state["layers"]
        self.best_loss, self.best_epoch = state["best_loss"], state["best_epoch"]
        parts: dict[str, dict[str, Tensor]] = {"model": {}, "optimizer": {}, "best": {}, "epoch": {}}
        for name, t in tensors.items():
            part, _, key = name.partition("/")
            parts[part][key] = t.to(self.device)
        self.model.load_state_dict(parts["model"])
        self.best = parts["best"] or None
        for name, t in self.optimizer.state.items():
            t.copy_(parts["optimizer"][name])
        self.losses.copy_(parts["epoch"]["losses"])
        self.hits.copy_(parts["epoch"]["hits"])

    def identify(self) -> dict:
        """What makes this run this run, beside its beginning; anything else may change when it is taken up again."""
        settings = {name: value for name, value in self.settings.items() if name != "epochs"}
        if self.settings["schedule"] is not None:
            settings["epochs"] = self.settings["epochs"]  # the rates depend on it
            settings["schedule"] = [_factor(self.settings["schedule"], i / 16) for i in range(16)]
        for name in ("lr", "momentum", "clip"):  # fractions, say
            settings[name] = None if settings[name] is None else float(settings[name])
        parts = [re.sub(" at 0x[0-9a-f]+", "", str(self.model))]
        parts += [f"{name} {list(t.shape)} {t.dtype}" for name, t in self.model.state_dict().items()]
        data = {"training data": _digest(self.x, self.y), "test data": self.test and _digest(*self.test)}
        return {**settings, "architecture": "\n".join(parts), **data}

    def check_identity(self, state: dict) -> None:
        """Raise CheckpointError when the state is that of another run, or of more epochs."""
        theirs = {**state["run"], "initial parameters": state["beginning"]}
        ours = {**self.identity, "initial parameters": self.beginning}
        if theirs != ours:
            raise CheckpointError(
                f"the checkpoint in {self.folder} is of another run: other {_differences(theirs, ours)}; "
                "name another folder, or empty this one to start afresh"
            )
        if state["epoch"] > self.settings["epochs"]:
            raise CheckpointError(
                f"the checkpoint in {self.folder} is of epoch {state['epoch']}, and epochs is "
                f"{self.settings['epochs']}: ask for {state['epoch']} epochs at least, or name another folder"
            )

    def remember_model(self) -> None:
        """Note how this run leaves the model, so that another call can take the run up with the same model."""
        _BEGINNINGS[self.model] = (_digest(*self.model.state_dict().values()), self.beginning)

    def due(self) -> bool:
        return time.monotonic() - self.last_save >= 60 * self.minutes

    def save(self) -> None:
        if self.k and not self.step.looks:
            self.look_for_divergence()
        self.saved, self.last_save = (self.epoch, self.k), time.monotonic()
        if self.processes.rank > 0:
            return
        tensors = {f"model/{name}": t for name, t in self.model.state_dict().items()}
        tensors |= {f"best/{name}": t for name, t in (self.best or {}).items()}
        tensors |= {f"optimizer/{name}": t for name, t in self.optimizer.state.items()}
        tensors |= {"epoch/losses": self.losses, "epoch/hits": self.hits}
        state = {"run": self.identity, "beginning": self.beginning}
        state |= {name: getattr(self, name) for name in ("epoch", "k", "seconds", "rows", "layers")}
        state |= {"best_loss": self.best_loss, "best_epoch": self.best_epoch}
        _checkpoints.save(self.folder, self.epoch * self.steps + self.k, tensors, state)


def _history(rows: list, layers: list, settings: dict, device: torch.device, stopped: str, tested: bool) -> History:
    """The `History` of rows and layers, lists with a dictionary for each row."""
    columns = ["epoch", "step", "lr", "loss", "accuracy", *["test_loss", "test_accuracy"] * tested, "seconds"]
    schedule = settings["schedule"]
    if callable(schedule):
        settings = {**settings, "schedule": getattr(schedule, "__name__", "a function")}
    table = pd.DataFrame(layers) if settings["statistics"] else None
    return History(pd.DataFrame(rows, columns=columns), table, dict(settings), _steps.device_name(device), stopped)


_DROPOUT = (nn.modules.dropout._DropoutNd,)
_BEGINNINGS: WeakKeyDictionary[nn.Module, tuple[str, str]] = WeakKeyDictionary()  # see _Run.remember_model


def _digest(*tensors: Tensor) -> str:
    """The SHA-256 of types, shapes and contents."""
    sha = hashlib.sha256()
    for t in tensors:
        sha.update(f"{t.dtype} {list(t.shape)} ".encode())
        for chunk in t.reshape(-1).split(2**22):
            sha.update(chunk.cpu().view(torch.uint8).numpy())
    return sha.hexdigest()


def _differences(theirs: dict, ours: dict) -> str:
    """Name the entries that differ, with both values where these are short."""
    words = []
    for name in {**ours, **theirs}:
        values = f"{theirs.get(name)!r} there, {ours.get(name)!r} here"
        if theirs.get(name) != ours.get(name):
            words.append(f"{name} ({values})" if len(values) < 80 else name)
    return ", ".join(words)


# --- arguments -------------------------------------------------------------------------------------------------------


def _whole(value, least: int) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool) and value >= least


def _positive(value) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value) and value > 0


def _check_settings(settings: dict, minutes: float | None, tested: bool) -> None:
    for name, least in (("epochs", 1), ("batch_size", 1), ("seed", 0), ("statistics", 0)):
        if not _whole(settings[name], least):
            raise ValueError(f"{name} must be a whole number >= {least}, got {settings[name]!r}")
    if not _positive(settings["lr"]):
        raise ValueError(f"lr must be a finite number > 0, got {settings['lr']!r}")
    if settings["optimizer"] not in OPTIMIZERS:
        raise ValueError(f"unknown optimizer {settings['optimizer']!r}; choose one of {', '.join(OPTIMIZERS)}")
    momentum = settings["momentum"]
    if not (isinstance(momentum, Real) and 0 <= momentum < 1):
        raise ValueError(f"momentum must be a number, 0 <= momentum < 1, got {momentum!r}")
    schedule = settings["schedule"]
    if schedule is not None and schedule not in SCHEDULES and not callable(schedule):
        raise ValueError(f"unknown schedule {schedule!r}; choose None, {', '.join(SCHEDULES)} or a function")
    if settings["patience"] is not None:
        if not _whole(settings["patience"], 1):
            raise ValueError(f"patience must be a whole number of epochs >= 1, or None, got {settings['patience']!r}")
        if not tested:
            raise ValueError("patience watches the loss on a test set: give one, fit(model, train, test, ...)")
    for name, value in (("clip", settings["clip"]), ("checkpoint_minutes", minutes)):
        if value is not None and not _positive(value):
            raise ValueError(f"{name} must be a finite number > 0, or None, got {value!r}")
    if settings["precision"] not in _steps.PRECISIONS:
        raise ValueError(f"unknown precision {settings['precision']!r}; choose one of {', '.join(_steps.PRECISIONS)}")


def _factor(schedule: str | Callable[[float], float] | None, share: float) -> float:
    """The factor of the learning rate when this share of the steps is done."""
    if schedule is None:
        return 1.0
    factor = SCHEDULES.get(schedule, schedule)(share)
    if not (isinstance(factor, Real) and math.isfinite(factor) and factor >= 0):
        raise ValueError(f"schedule must give a factor >= 0 of the learning rate, but gives {factor!r} at {share:g}")
    return float(factor)


def _check_precision(precision: str, device: torch.device, model: nn.Module) -> None:
    if precision == "tf32" and device.type != "cuda":
        raise ValueError(f"precision 'tf32' exists on CUDA only, and the device is {device.type!r}: use 'fp32'")
    if precision != "fp32" and any(p.dtype != torch.float32 for p in model.parameters()):
        raise ValueError(f"precision {precision!r} needs parameters of type float32: use model.float() or 'fp32'")


def _check_batches(model: nn.Module, n: int, batch_size: int, processes: _steps.Processes) -> None:
    """Raise ValueError where batch normalization would not get what it needs."""
    if not any(isinstance(part, nn.modules.batchnorm._BatchNorm) for part in model.modules()):
        return
    if processes.count > 1:
        raise ValueError(
            f"batch normalization would see a part of each batch in each of {processes.count} processes, and one "
            "process the whole: train this model in one process, or use layer normalization"
        )
    if 1 in (batch_size, n % batch_size):
        raise ValueError(
            f"batch normalization needs two examples at least, but {n} examples in batches of {batch_size} make one of "
            "a single example: choose another batch_size"
        )


# --- progress --------------------------------------------------------------------------------------------------------


def _bar(wanted: bool, epochs: int):
    """A progress bar over the epochs that goes away at the end; a silent one where nobody looks on.

    Somebody does at a terminal, and in JupyterLab, Jupyter Notebook and VS Code, which name themselves in the
    environment of a kernel; a notebook that runs by itself stores no bars.
    """
    kernel = "ipykernel" in sys.modules and any(name in os.environ for name in ("JPY_SESSION_NAME", "VSCODE_PID"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # where there are no widgets the bar is made of letters, which is fine
        tqdm = importlib.import_module("tqdm.auto" if kernel else "tqdm").tqdm
    watched = kernel or (sys.stderr is not None and sys.stderr.isatty())
    return tqdm(total=epochs, unit="epoch", leave=False, disable=not (wanted and watched))
