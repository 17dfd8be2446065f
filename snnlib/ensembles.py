"""Many networks of one shape, trained side by side as one tensor program.

Chapters: book/gradients/signal-propagation, book/gradients/remedies, book/practice/deep-networks. Small networks leave
a processor idle between operations; S of them in one batched product take far less than S times as long. The parameters
of the networks are stacked along a new first axis. A layer of all S networks of `networks.fully_connected` is then one
batched matrix product, Z_s = X_s W_s^T + b_s for s = 1, ..., S; over models of other kinds torch maps the S sets of
parameters (`torch.vmap`). `fit_many` is `training.fit` for S networks at once.
"""

from __future__ import annotations

import contextlib
import copy
import math
import time
from collections.abc import Callable, Sequence
from itertools import groupby

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.utils import parametrize

from . import _steps, training
from .activations import SELU_ALPHA, SELU_LAMBDA
from .networks import Layer
from .propagation import layer_statistics
from .training import History

#: Minus the value that torch's alpha dropout gives to dropped units: lambda alpha, eq-alpha-prime.
ALPHA_DROPPED = 1.7580993408473766


class Ensemble:
    """S networks that differ in their parameters and, where `networks.fully_connected` made them, in their activations.

    Parameters
    ----------
    models : modules of one architecture and one shape, all in the same mode, as `networks.fully_connected` makes them
        with different seeds, schemes, gains or activations. They are copied and stay as they are.

    Attributes
    ----------
    parameters, buffers : {name: tensor (S, ...)}. Parameters that do not require gradients are never changed.

    Raises ValueError for no model, or models whose parameters do not have the same names and shapes.

    >>> pair = Ensemble([nn.Sequential(nn.Linear(4, 3)) for _ in range(2)])
    >>> pair.logits(torch.zeros(5, 4)).shape
    torch.Size([2, 5, 3])
    """

    def __init__(self, models: Sequence[nn.Module]):
        models = list(models)
        self._plain = _check_alike(models)
        if len({model.training for model in models}) > 1:
            raise ValueError("the models must be in one mode, training or evaluation: call train() or eval() on each")
        parameters = [dict(model.named_parameters()) for model in models]
        buffers = [dict(model.named_buffers()) for model in models]
        self.parameters = {
            name: torch.stack([own[name].detach() for own in parameters]).requires_grad_(p.requires_grad)
            for name, p in parameters[0].items()
        }
        self.buffers = {name: torch.stack([own[name].detach() for own in buffers]) for name in buffers[0]}
        kinds = [_activation_kinds(model) if self._plain else () for model in models]
        skeletons = {kind: copy.deepcopy(models[kinds.index(kind)]) for kind in set(kinds)}
        self._skeletons = [skeletons[kind] for kind in kinds]  # networks with the same activations share one
        self._masks, self._randomness = _masks_for_each, "different"
        if self._plain:
            self._activations = [_by_group(layers) for layers in zip(*self._skeletons, strict=True)]
        self._descent = _Descent(self) if _Descent.suits(self) else None

    def __len__(self) -> int:
        return len(self._skeletons)

    @property
    def training(self) -> bool:
        """Whether the networks are in training mode."""
        return self._skeletons[0].training

    def train(self, mode: bool = True) -> Ensemble:
        """Switch all networks to training mode, or, where mode is False, to evaluation; returns the ensemble."""
        for skeleton in self._skeletons:
            skeleton.train(mode)
        return self

    def logits(self, x: Tensor) -> Tensor:
        """(S, B, K), the outputs of every network for the same batch x (B, n), or for its own, x (S, B, n).

        Models of other kinds than those of `networks.fully_connected` take one batch for all.
        """
        return self._outputs(x, self._plain and x.ndim == 3)

    def losses(self, x: Tensor, labels: Tensor) -> Tensor:
        """(S,), the mean cross-entropy of each network over a batch, x (B, n) with labels (B,) or (S, B, n), (S, B)."""
        return _cross_entropy(self.logits(x), labels).mean(dim=1)

    def step(self, x: Tensor, labels: Tensor, rates: ArrayLike, clip: float | None = None) -> Tensor:
        """One step of gradient descent for each network on its own loss; returns the losses (S,) before it.

        Parameters
        ----------
        x, labels : the batch, (B, n) and (B,), or one for each network, (S, B, n) and (S, B).
        rates : learning rate, one for all or one for each, (S,).
        clip : largest norm of a network's whole gradient; a longer one is shortened to it (Pascanu et al., 2013).

        A network that diverges goes on with inf and nan, and leaves the others alone.
        """
        like = next(iter(self.parameters.values()))
        rates = torch.as_tensor(rates, dtype=like.dtype, device=like.device).expand(len(self))
        if clip is None and self._descent is not None:
            losses, _ = self._descent.forwards(x, labels)
            self._descent.backwards(rates)
            return losses
        with self._in_place():
            losses = self.losses(x, labels)
        gradients = self._gradients(losses, clip)
        _steps.Optimizer("sgd", self._trained, 0).update(gradients, self._factors(rates), 1.0)
        return losses.detach()

    @torch.no_grad()
    def accuracy(self, x: Tensor, labels: Tensor) -> Tensor:
        """(S,), the share of right answers of each network, taken in evaluation mode; x and labels as in `losses`."""
        training = self.training
        try:
            return (self.train(False).logits(x).argmax(dim=2) == labels).float().mean(dim=1)
        finally:
            self.train(training)

    def model(self, s: int) -> nn.Module:
        """A copy of network s as a module of its own."""
        model = copy.deepcopy(self._skeletons[s])
        self._write(s, model)
        return model

    # --- parameters and gradients ---

    @property
    def _trained(self) -> list[Tensor]:
        return [p for p in self.parameters.values() if p.requires_grad]

    def _factors(self, values: Tensor) -> list[Tensor]:
        """Numbers (S,), one for each network, in the shapes in which they multiply the parameters."""
        return [values.view(-1, *[1] * (p.ndim - 1)) for p in self._trained]

    def _gradients(self, losses: Tensor, clip: float | None) -> list[Tensor]:
        """The gradient of each network's loss by its own parameters, each no longer than clip."""
        gradients = list(torch.autograd.grad(losses.sum(), self._trained, materialize_grads=True))
        if clip is not None:
            norms = torch.stack([g.flatten(1).norm(dim=1) for g in gradients]).norm(dim=0)
            factors = self._factors((clip / norms).clamp(max=1))
            gradients = [g * factor for g, factor in zip(gradients, factors, strict=True)]
        return gradients

    @torch.no_grad()
    def _write(self, s: int, model: nn.Module) -> None:
        """Give the model the parameters and buffers of network s."""
        for name, t in [*model.named_parameters(), *model.named_buffers()]:
            t.copy_((self.parameters.get(name) if name in self.parameters else self.buffers[name])[s])

    # --- the forward pass ---

    def _in_place(self) -> contextlib.AbstractContextManager:
        """Activations may overwrite their argument, where there is one activation for all networks."""
        alike = self._plain and all(skeleton is self._skeletons[0] for skeleton in self._skeletons)
        return _steps.in_place_activations(self._skeletons[0]) if alike else contextlib.nullcontext()

    def _outputs(self, x: Tensor, own: bool) -> Tensor:
        """(S, B, K); own says whether x has a first axis of S batches, one for each network."""
        if self._plain:
            return self._batched(x)

        def run(parameters: dict, buffers: dict, x: Tensor) -> Tensor:
            return functional_call(self._skeletons[0], (parameters, buffers), (x,))

        batched = torch.vmap(run, (0, 0, 0 if own else None), randomness=self._randomness)
        return batched(self.parameters, self.buffers, x)

    def _batched(self, x: Tensor) -> Tensor:
        y = x
        for i, layer in enumerate(self._skeletons[0]):
            z = self._linear(f"{i}.linear", layer.linear, y)
            if hasattr(layer, "norm"):
                z = self._normalized(f"{i}.norm", layer.norm, z)
            z = _activated(self._activations[i], z)
            if hasattr(layer, "dropout") and self.training:
                z = self._dropped(layer.dropout, z)
            y = y + z if layer.residual else z
        return y

    def _linear(self, name: str, linear: nn.Linear, x: Tensor) -> Tensor:
        """(S, B, m): x W^T + b of every network; x (B, n) is one product with all rows of all W."""
        b = self.parameters.get(f"{name}.bias")
        if parametrize.is_parametrized(linear):
            g, v = (self.parameters[f"{name}.parametrizations.weight.original{i}"] for i in range(2))
            W = torch._weight_norm(v.flatten(0, 1), g.flatten(0, 1), 0).view_as(v)  # g v / ||v||, row by row
        else:
            W = self.parameters[f"{name}.weight"]
        if x.ndim == 2:
            z = nn.functional.linear(x, W.flatten(0, 1), None if b is None else b.flatten())
            return z.view(len(x), *W.shape[:2]).transpose(0, 1).contiguous()
        return torch.bmm(x, W.mT) if b is None else torch.baddbmm(b.unsqueeze(1), x, W.mT)

    def _normalized(self, name: str, norm: nn.Module, z: Tensor) -> Tensor:
        w, b = self.parameters[f"{name}.weight"], self.parameters[f"{name}.bias"]
        if isinstance(norm, nn.LayerNorm):
            return torch.addcmul(b.unsqueeze(1), nn.functional.layer_norm(z, z.shape[2:], eps=norm.eps), w.unsqueeze(1))
        mean, variance = (self.buffers[f"{name}.running_{moment}"].view(-1) for moment in ("mean", "var"))
        if self.training:
            self.buffers[f"{name}.num_batches_tracked"] += 1
        units = z.transpose(0, 1).flatten(1)  # (B, S m): the S networks are further units
        units = nn.functional.batch_norm(
            units, mean, variance, w.flatten(), b.flatten(), self.training, norm.momentum, norm.eps
        )
        return units.view(-1, *w.shape).transpose(0, 1).contiguous()

    def _dropped(self, dropout: nn.Module, y: Tensor) -> Tensor:
        """Dropout as torch does it, with masks from `self._masks`."""
        p = dropout.p
        kept = self._masks(y, 1 - p)
        if isinstance(dropout, nn.Dropout):
            return y * kept.div_(1 - p)
        a = 1 / math.sqrt((ALPHA_DROPPED**2 * p + 1) * (1 - p))
        shift = (kept - 1).mul_(ALPHA_DROPPED * a).add_(ALPHA_DROPPED * a * p)
        return torch.addcmul(shift, y, kept.mul_(a))


def fit_many(
    models: Sequence[nn.Module],
    train,
    test=None,
    *,
    epochs: int,
    batch_size: int = 256,
    lr: float | Sequence[float] = 0.01,
    optimizer: str = "sgd",
    momentum: float = 0.9,
    schedule: str | Callable[[float], float] | None = None,
    clip: float | None = None,
    device: str | torch.device = "auto",
    precision: str = "fp32",
    seed: int | Sequence[int] = 0,
    statistics: int = 0,
    progress: bool = True,
) -> list[History]:
    """Train S models in place, side by side: what S calls of `training.fit` do, in less time.

    Parameters
    ----------
    models : as `Ensemble` takes them: of one shape, normalization, residual and dropout; parameters (seeds, schemes,
        gains) and activations may differ. They end in the modes and on the devices in which they were given.
    lr, seed : one for all models, or S of them. With one seed all models see the same batches in the same order.
    train, test, epochs, batch_size, optimizer, momentum, schedule, clip, device, precision, statistics, progress : as
        in `training.fit`. The gradient of each model is clipped by itself.

    Returns
    -------
    S histories, in the order of the models, whose `seconds` are those of all models together. Parameters, buffers and
    histories equal those of S calls of `fit` up to rounding. Dropout masks are the ones that `fit` would draw from the
    model's seed, on the CPU and for networks of `networks.fully_connected`; otherwise they are equally distributed, but
    others.

    A model that diverges leaves the others alone. Where `fit` would raise `DivergedError`, its parameters become nan,
    its history holds nan from that epoch on, and `stopped` is "diverged".

    Raises ValueError for models that are not of one shape and for arguments that make no sense, and
    `training.Interrupted` after Ctrl-C, whose `history` is a list of S; the models then are as the last step left them.
    """
    models = list(models)
    settings = {
        "epochs": epochs,
        "batch_size": batch_size,
        "lr": lr,
        "optimizer": optimizer,
        "momentum": momentum,
        "schedule": schedule,
        "patience": None,
        "clip": clip,
        "precision": precision,
        "seed": seed,
        "statistics": statistics,
    }
    each = _for_each(settings, len(models))
    for s in each:
        training._check_settings(s, None, test is not None)
    if len({id(model) for model in models}) < len(models):
        raise ValueError("models holds one model twice: each is trained in place, so pass copies (copy.deepcopy)")
    with contextlib.ExitStack() as stack:
        for model in models:
            stack.enter_context(_steps.modes_kept(model))
            model.train()
        plain = _check_alike(models)
        device = _steps.pick_device(device, models[0])
        training._check_precision(precision, device, models[0])
        for model in models:
            stack.enter_context(_steps.placed(model, device))
        stack.enter_context(_steps.tf32(precision == "tf32", device))
        stack.enter_context(torch.random.fork_rng([device] if device.type == "cuda" else []))
        runs = _Runs(models, plain, train, test, each, device)
        runs.interrupts = stack.enter_context(_steps.interrupts_noted())
        stack.callback(runs.write_back)
        with training._bar(progress, epochs) as bar:
            try:
                runs.train(bar)
            except KeyboardInterrupt:
                raise training.Interrupted("training was interrupted", runs.histories("interrupted")) from None
        return runs.histories("finished")


# --- the runs --------------------------------------------------------------------------------------------------------


class _Runs:
    """S runs of `fit`, side by side. Networks of the same activation stand together in the ensemble."""

    def __init__(self, models: list[nn.Module], plain: bool, train, test, settings: list[dict], device: torch.device):
        self.models, self.settings, self.device = models, settings, device
        self.common = settings[0]
        self.x, self.y = _steps.tensors(train, "train", models[0], device)
        _steps.check_fit_to_model(models[0], self.x, self.y, "train")
        self.test = None if test is None else _steps.tensors(test, "test", models[0], device)
        if self.test is not None:
            _steps.check_fit_to_model(models[0], *self.test, "test")
        n = len(self.x)
        self.batch_size = min(self.common["batch_size"], n)
        self.steps = math.ceil(n / self.batch_size)  # per epoch
        training._check_batches(models[0], n, self.batch_size, _steps.Processes(device))
        first = {}
        kinds = [first.setdefault(_activation_kinds(model) if plain else (), s) for s, model in enumerate(models)]
        self.places = sorted(range(len(models)), key=kinds.__getitem__)  # place in the ensemble -> model
        self.ensemble = Ensemble([models[s] for s in self.places])
        self.seeds = [settings[s]["seed"] for s in self.places]
        self.one_order = len(set(self.seeds)) == 1
        self.step = _Step(self, [float(settings[s]["lr"]) for s in self.places])
        self.losses = torch.zeros(self.steps, len(models), dtype=self.x.dtype, device=device)
        self.hits = torch.zeros(self.steps, len(models), dtype=torch.long, device=device)
        self.epoch = 0
        self.rows: list[list[dict]] = [[] for _ in models]
        self.layers: list[list[dict]] = [[] for _ in models]

    def train(self, bar) -> None:
        """Take all steps of all epochs."""
        self.look_at_layers()
        while self.epoch < self.common["epochs"]:
            begin = time.perf_counter()
            self.ensemble.train()
            self.train_epoch()
            if self.device.type == "cuda":
                torch.cuda.synchronize(self.device)
            self.close_epoch(time.perf_counter() - begin)
            self.look_at_layers()
            bar.update(1)
            self.heed_interrupts()

    def train_epoch(self) -> None:
        seeds = self.seeds[:1] if self.one_order else self.seeds
        orders = {seed: _steps.order(seed, self.epoch, len(self.x)) for seed in seeds}
        order = torch.stack([orders[seed] for seed in seeds]).to(self.device)
        masks = [_steps.mask_seeds(seed, self.epoch, 0, self.steps) for seed in seeds]
        with self.ensemble._in_place():
            for k in range(self.steps):
                rows = order[:, k * self.batch_size : (k + 1) * self.batch_size]
                if self.draws:
                    self.seed_masks([int(of_one[k]) for of_one in masks])
                t = self.epoch * self.steps + k
                self.losses[k], self.hits[k] = self.step(rows[0] if self.one_order else rows, self.factor(t), t + 1)
                if k + 1 < self.steps:
                    self.heed_interrupts()

    def heed_interrupts(self) -> None:
        """End here, between two steps, if Ctrl-C was pressed."""
        if self.interrupts:
            raise KeyboardInterrupt

    def factor(self, t: int) -> float:
        """The factor of the learning rates after t steps."""
        return training._factor(self.common["schedule"], t / (self.common["epochs"] * self.steps))

    @property
    def draws(self) -> bool:
        return any(isinstance(part, training._DROPOUT) and part.p > 0 for part in self.models[0].modules())

    def seed_masks(self, seeds: list[int]) -> None:
        """Let the next step draw the dropout masks that `fit` draws after these seeds: one, or one for each network."""
        _steps.seed_masks(self.device, seeds[0])
        if len(seeds) == 1:
            self.ensemble._masks, self.ensemble._randomness = _one_mask, "same"
        elif self.device.type == "cpu":
            generators = [torch.Generator().manual_seed(seed) for seed in seeds]
            self.ensemble._masks = lambda y, q: torch.stack([_one_mask(y, q, g) for g in generators])

    def close_epoch(self, seconds: float) -> None:
        """Add the epoch's row to each history."""
        n, self.epoch = len(self.x), self.epoch + 1
        sizes = torch.full((self.steps,), self.batch_size, dtype=torch.float64)
        sizes[-1] = n - self.batch_size * (self.steps - 1)
        columns = {"loss": sizes @ self.losses.cpu().double() / n, "accuracy": self.hits.sum(0).cpu().double() / n}
        if self.test is not None:
            columns["test_loss"], columns["test_accuracy"] = self.evaluate(*self.test)
        columns = {name: torch.where(self.alive, values, torch.nan).tolist() for name, values in columns.items()}
        t = self.epoch * self.steps
        for place, s in enumerate(self.places):
            row = {"epoch": self.epoch, "step": t, "lr": self.settings[s]["lr"] * self.factor(t - 1)}
            row |= {name: values[place] for name, values in columns.items()}
            self.rows[s].append({**row, "seconds": seconds})

    @torch.no_grad()
    def evaluate(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Loss and accuracy of each network in evaluation mode, (S,) and (S,)."""
        self.ensemble.train(False)
        size = max(128, training.EVALUATION_BATCH // len(self.models))
        loss, hits = (torch.zeros(len(self.models), dtype=torch.float64) for _ in range(2))
        for rows, labels in zip(x.split(size), y.split(size), strict=True):
            logits = self.ensemble._outputs(rows, False)
            loss += _cross_entropy(logits, labels).sum(1).cpu()
            hits += (logits.argmax(2) == labels).sum(1).cpu()
        return loss / len(x), hits / len(x)

    @property
    def alive(self) -> Tensor:
        """(S,), on the CPU: which networks of the ensemble have had finite losses so far."""
        return self.step.alive.cpu()

    def look_at_layers(self) -> None:
        b = self.common["statistics"]
        if b == 0:
            return
        self.write_back()
        for model, layers in zip(self.models, self.layers, strict=True):
            table = layer_statistics(model.eval(), self.x[:b], self.y[:b])
            layers += [{"epoch": self.epoch, **row} for row in table.to_dict("records")]

    def write_back(self) -> None:
        """Give the models the parameters and buffers that the ensemble has; nan, where a loss was not finite."""
        with torch.no_grad():
            for p in self.ensemble._trained:
                p[~self.step.alive] = torch.nan
        for place, s in enumerate(self.places):
            self.ensemble._write(place, self.models[s])

    def histories(self, stopped: str) -> list[History]:
        alive = dict(zip(self.places, self.alive.tolist(), strict=True))
        return [
            training._history(
                self.rows[s],
                self.layers[s],
                self.settings[s],
                self.device,
                stopped if alive[s] else "diverged",
                self.test is not None,
            )
            for s in range(len(self.models))
        ]


class _Step:
    """A step of all networks, on batches of the training set; what `_steps.Step` is for one.

    Attributes
    ----------
    alive : (S,), which networks have had finite losses so far.
    """

    def __init__(self, runs: _Runs, rates: list[float]):
        self.ensemble, self.x, self.y = runs.ensemble, runs.x, runs.y
        self.clip, self.precision = runs.common["clip"], runs.common["precision"]
        self.optimizer = _steps.Optimizer(runs.common["optimizer"], self.ensemble._trained, runs.common["momentum"])
        plain_descent = self.optimizer.name == "sgd" and self.clip is None and self.precision != "bf16"
        self.descent = self.ensemble._descent if plain_descent else None
        self.rates = torch.tensor(rates, dtype=self.x.dtype, device=self.x.device)
        self.alive = torch.ones_like(self.rates, dtype=torch.bool)
        self.rows = (runs.batch_size,) if runs.one_order else (len(rates), runs.batch_size)
        capture = self.x.device.type == "cuda" and all(map(_steps.repeatable, self.ensemble._skeletons))
        self.captured = _steps.CapturedStep(self, self.rows) if capture else None

    def __call__(self, rows: Tensor, factor: float, t: int) -> tuple[Tensor, Tensor]:
        """Take step t with the factor of the rates; rows (B,) or (S, B). Returns mean losses and numbers of hits."""
        numbers = self.optimizer.numbers(factor, t)
        if self.captured is not None and rows.shape == self.rows:
            return self.captured(rows, numbers)
        return self.take(rows, *numbers)

    def take(self, rows: Tensor, factor: float | Tensor, root: float | Tensor) -> tuple[Tensor, Tensor]:
        """Forwards, backwards, and the parameters moved."""
        x = self.x.index_select(0, rows.flatten()).view(*rows.shape, *self.x.shape[1:])
        y = self.y[rows]
        if self.descent is not None:
            losses, hits = self.descent.forwards(x, y)
            self.descent.backwards(self.rates * factor)
            self.alive &= losses.isfinite()
            return losses, hits
        with torch.autocast(x.device.type, torch.bfloat16, enabled=self.precision == "bf16"):
            logits = self.ensemble._outputs(x, rows.ndim == 2)
        logits = logits.to(x.dtype)
        losses = _cross_entropy(logits, y).mean(1)
        gradients = self.ensemble._gradients(losses, self.clip)
        self.optimizer.update(gradients, self.ensemble._factors(self.rates * factor), root)
        self.alive &= losses.isfinite()
        return losses.detach(), (logits.detach().argmax(2) == y).sum(1)


def _for_each(settings: dict, count: int) -> list[dict]:
    """The settings of each of the models, where lr and seed may be one for all or one for each."""
    each = [dict(settings) for _ in range(count)]
    for name in ("lr", "seed"):
        values = settings[name]
        if isinstance(values, (Sequence, np.ndarray, Tensor)) and not isinstance(values, str) and np.ndim(values) > 0:
            values = values.tolist() if isinstance(values, (np.ndarray, Tensor)) else list(values)
            if len(values) != count:
                raise ValueError(f"{name} must be one value or one for each of {count} models, got {len(values)}")
            for own, value in zip(each, values, strict=True):
                own[name] = value
    return each


# --- plain gradient descent ------------------------------------------------------------------------------------------

_aten = torch.ops.aten
# Activations whose derivative is a function of y = f(z): f(z) in place of z, and u f'(z) in place of u.
_OVERWRITE = {
    nn.SELU: (
        lambda f, z: torch.selu_(z),
        lambda f, u, y: _aten.elu_backward(u, SELU_ALPHA, SELU_LAMBDA, 1, True, y, grad_input=u),
    ),
    nn.ELU: (
        lambda f, z: nn.functional.elu(z, f.alpha, inplace=True),
        lambda f, u, y: _aten.elu_backward(u, f.alpha, 1, 1, True, y, grad_input=u),
    ),
    nn.ReLU: (lambda f, z: torch.relu_(z), lambda f, u, y: _aten.threshold_backward(u, y, 0, grad_input=u)),
    nn.LeakyReLU: (
        lambda f, z: nn.functional.leaky_relu(z, f.negative_slope, inplace=True),
        lambda f, u, y: _aten.leaky_relu_backward(u, y, f.negative_slope, True, grad_input=u),
    ),
    nn.Tanh: (lambda f, z: torch.tanh_(z), lambda f, u, y: _aten.tanh_backward(u, y, grad_input=u)),
    nn.Sigmoid: (lambda f, z: torch.sigmoid_(z), lambda f, u, y: _aten.sigmoid_backward(u, y, grad_input=u)),
    nn.Identity: (lambda f, z: z, lambda f, u, y: u),
}


class _Descent:
    """Plain gradient descent on the losses of an ensemble's networks, without autograd and without gradients.

    What autograd does for an ensemble is written out here, for the sake of speed: hidden layers y = f(W x + b) whose
    derivative is a function of y, so that y may overwrite z. Since the gradient of W_s is a product of two matrices,
    the product is subtracted from W_s where it arises. The factor, the network's learning rate, goes into the first
    delta, as all others are linear in it.
    """

    def __init__(self, ensemble: Ensemble):
        self.ensemble, self.depth = ensemble, len(ensemble._activations)
        self.rooms: dict[int | str, Tensor] = {}

    @staticmethod
    def suits(ensemble: Ensemble) -> bool:
        """Whether all layers are of this kind."""
        if not ensemble._plain:
            return False
        names = {f"{i}.linear.{name}" for i in range(len(ensemble._activations)) for name in ("weight", "bias")}
        return (
            names == set(ensemble.parameters)
            and all(p.requires_grad for p in ensemble.parameters.values())
            and not any(hasattr(layer, "dropout") for layer in ensemble._skeletons[0])
            and all(_can_be_overwritten(f) for groups in ensemble._activations for _, f in groups)
        )

    @torch.no_grad()
    def forwards(self, x: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Losses and numbers of hits, (S,) and (S,), for a batch or for each network's own."""
        self.inputs, self.values, y = [], [], x
        for i, layer in enumerate(self.ensemble._skeletons[0]):
            z = self.product(i, y)
            for part, f in self.parts(i, z):
                _OVERWRITE[type(f)][0](f, part)
            self.inputs.append(y)
            self.values.append(z)
            y = y + z if layer.residual else z
        labels = labels.expand(y.shape[:2]).unsqueeze(2)
        logs = y.log_softmax(2)
        self.delta = logs.exp().scatter_add_(2, labels, logs.new_full((), -1.0).expand(labels.shape))
        return -logs.gather(2, labels).mean((1, 2)), (y.argmax(2, keepdim=True) == labels).sum((1, 2))

    @torch.no_grad()
    def backwards(self, rates: Tensor) -> None:
        """Subtract each network's rate, (S,), times the gradients of its loss from its parameters."""
        u = self.delta.mul_((rates / self.delta.shape[1]).view(-1, 1, 1))
        for i in range(self.depth - 1, -1, -1):
            x, y, residual = self.inputs.pop(), self.values.pop(), self.ensemble._skeletons[0][i].residual
            W, b = (self.ensemble.parameters[f"{i}.linear.{name}"] for name in ("weight", "bias"))
            d = u.clone() if residual else u
            for (delta, f), (value, _) in zip(self.parts(i, d), self.parts(i, y), strict=True):
                _OVERWRITE[type(f)][1](f, delta, value)
            if i > 0:
                room = self.room(f"delta {i % 2}", *d.shape[:2], W.shape[2])
                u = torch.baddbmm(u, d, W, out=room) if residual else torch.bmm(d, W, out=room)
            b -= d.sum(1)
            if x.ndim == 2:
                W.view(-1, W.shape[2]).addmm_(d.transpose(0, 1).flatten(1).T, x, alpha=-1)
            else:
                W.baddbmm_(d.mT, x, alpha=-1)

    def product(self, i: int, x: Tensor) -> Tensor:
        """(S, B, m): x W^T + b of layer i; x (B, n) is one product with all rows of all W."""
        W, b = (self.ensemble.parameters[f"{i}.linear.{name}"] for name in ("weight", "bias"))
        z = self.room(i, len(W), x.shape[-2], W.shape[1])
        if x.ndim == 3:
            return torch.baddbmm(b.unsqueeze(1), x, W.mT, out=z)
        rows = torch.addmm(b.flatten(), x, W.flatten(0, 1).T, out=self.room("rows", len(x), b.numel()))
        return z.copy_(rows.view(len(x), *b.shape).transpose(0, 1))

    def room(self, name: int | str, *shape: int) -> Tensor:
        """Memory that stays from step to step: to be given it anew takes as long as an activation."""
        size = math.prod(shape)
        if name not in self.rooms or self.rooms[name].numel() < size:
            self.rooms[name] = self.ensemble.parameters["0.linear.weight"].new_empty(size)
        return self.rooms[name][:size].view(shape)

    def parts(self, i: int, z: Tensor) -> list[tuple[Tensor, nn.Module]]:
        """The parts of z that have one activation, and which; none for a layer without."""
        groups = self.ensemble._activations[i]
        parts = z.split([count for count, _ in groups]) if groups else ()
        return [(part, f) for part, (_, f) in zip(parts, groups, strict=True)]


def _can_be_overwritten(f: nn.Module) -> bool:
    """Whether the derivative is a function of the value."""
    return type(f) in _OVERWRITE and getattr(f, "alpha", 1) > 0 and getattr(f, "negative_slope", 1) > 0


# --- the parts of a batched network ----------------------------------------------------------------------------------


def _check_alike(models: list[nn.Module]) -> bool:
    """Raise ValueError unless there are models, of one shape; return whether all are plain."""
    if not models:
        raise ValueError("an ensemble needs at least one model, got none")
    plain = all(map(_is_plain, models))
    first, *others = (_description(model, plain) for model in models)
    for s, other in enumerate(others, 1):
        differ = [name for name in first if first[name] != other[name]]
        if differ:
            raise ValueError(
                "the models must have one architecture, with parameters of the same names, shapes and types, but "
                f"model {s} has other {' and '.join(differ)} than model 0"
            )
    return plain


def _is_plain(model: nn.Module) -> bool:
    """Whether the model is made as `networks.fully_connected` makes them, so that its layers can be batched by hand."""
    if type(model) is not nn.Sequential or len(model) == 0 or _steps.hooked(model):
        return False
    if any(part.training != model.training for part in model.modules()):
        return False
    return all(type(layer) is Layer and _is_plain_layer(dict(layer.named_children())) for layer in model)


def _is_plain_layer(parts: dict[str, nn.Module]) -> bool:
    if list(parts) != [name for name in ("linear", "norm", "activation", "dropout") if name in parts]:
        return False
    linear, norm, activation, dropout = (parts.get(name) for name in ("linear", "norm", "activation", "dropout"))
    if not isinstance(linear, nn.Linear):
        return False
    if parametrize.is_parametrized(linear):
        chains = {
            name: [(type(f).__name__, getattr(f, "dim", None)) for f in linear.parametrizations[name]]
            for name in linear.parametrizations
        }
        if chains != {"weight": [("_WeightNorm", 0)]}:
            return False
    elif type(linear) is not nn.Linear:
        return False
    batch = type(norm) is nn.BatchNorm1d and norm.affine and norm.track_running_stats and norm.momentum is not None
    layer = type(norm) is nn.LayerNorm and norm.elementwise_affine and norm.bias is not None and norm.weight.ndim == 1
    if not (norm is None or batch or layer):
        return False
    if activation is not None and [*activation.parameters(), *activation.buffers()]:
        return False
    return dropout is None or type(dropout) in (nn.Dropout, nn.AlphaDropout)


def _description(model: nn.Module, plain: bool) -> dict:
    """What models of one ensemble have in common; of plain ones the activations may differ."""
    parameters = [(name, p.shape, p.dtype, p.requires_grad) for name, p in model.named_parameters()]
    buffers = [(name, b.shape, b.dtype) for name, b in model.named_buffers()]
    if not plain:
        return {"parameters": parameters, "buffers": buffers, "modules": _kind(model)}
    layers = [
        (layer.residual, [(name, "" if name == "activation" else repr(part)) for name, part in layer.named_children()])
        for layer in model
    ]
    return {"parameters": parameters, "buffers": buffers, "layers (normalization, residual, dropout)": layers}


def _kind(module: nn.Module) -> tuple:
    """Equal for two modules that compute the same but for their parameters and buffers."""
    return tuple((*_code(part), repr(part)) for part in module.modules())


def _code(module: nn.Module) -> tuple:
    """The code of `forward` and the constants that it closes over: two classes made by one function may have both."""
    forward = type(module).forward
    cells = [cell.cell_contents for cell in getattr(forward, "__closure__", None) or ()]
    constants = (value if isinstance(value, (int, float, str, type(None))) else id(value) for value in cells)
    return (getattr(forward, "__code__", forward), *constants)


def _activation_kinds(model: nn.Module) -> tuple:
    """The kind of each layer's activation, of a model that is plain."""
    return tuple(_kind(layer.activation) if hasattr(layer, "activation") else () for layer in model)


def _by_group(layers: Sequence[Layer]) -> list[tuple[int, nn.Module]]:
    """How many networks in succession have one activation, and which; no group for layers without."""
    functions = [layer.activation for layer in layers if hasattr(layer, "activation")]
    groups = [list(members) for _, members in groupby(functions, key=_kind)]
    return [(len(members), members[0]) for members in groups]


def _activated(groups: list[tuple[int, nn.Module]], z: Tensor) -> Tensor:
    """f(z), with the f of each group of networks."""
    if len(groups) < 2:
        return groups[0][1](z) if groups else z
    parts = z.split([count for count, _ in groups])
    return torch.cat([f(part) for (_, f), part in zip(groups, parts, strict=True)])


def _masks_for_each(y: Tensor, q: float) -> Tensor:
    """(S, B, m): ones with probability q, otherwise zeros, drawn from torch's random state."""
    return torch.empty_like(y).bernoulli_(q)


def _one_mask(y: Tensor, q: float, generator: torch.Generator | None = None) -> Tensor:
    """(B, m): one mask for a batch, drawn as torch's dropout does it on the CPU."""
    return torch.empty_like(y[0]).bernoulli_(q, generator=generator)


def _cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """(S, B), the cross-entropy of every example; logits (S, B, K), labels (B,) or (S, B)."""
    labels = labels.expand(logits.shape[:2]).flatten()
    return nn.functional.cross_entropy(logits.flatten(0, 1), labels, reduction="none").view(logits.shape[:2])
