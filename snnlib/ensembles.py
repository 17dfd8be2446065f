"""Many networks of one shape, trained side by side as one tensor program.

Chapters: book/gradients/signal-propagation, book/gradients/remedies. Small networks leave a processor idle between
operations; S of them in one batched product take far less than S times as long. The parameters of the networks are
stacked along a new first axis, and torch maps the model over it.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state


class Ensemble:
    """S networks that differ in their parameters alone.

    Parameters
    ----------
    models : modules of one architecture and one shape, all in the same mode, as `networks.fully_connected` makes them
        with different seeds, schemes or gains. They are copied and stay as they are.

    Attributes
    ----------
    parameters, buffers : {name: tensor (S, ...)}.

    Raises ValueError for no model, or models whose parameters do not have the same names and shapes.
    """

    def __init__(self, models: Sequence[nn.Module]):
        models = list(models)
        if not models:
            raise ValueError("an ensemble needs at least one model, got none")
        shapes = [{name: tuple(p.shape) for name, p in model.named_parameters()} for model in models]
        different = next((s for s, shape in enumerate(shapes) if shape != shapes[0]), None)
        if different is not None or len({str(model) for model in models}) > 1:
            raise ValueError("the models must have one architecture, with parameters of the same names and shapes")
        parameters, buffers = stack_module_state(models)
        self.parameters = {name: p.detach().clone().requires_grad_() for name, p in parameters.items()}
        self.buffers = {name: b.detach().clone() for name, b in buffers.items()}
        self._skeleton = copy.deepcopy(models[0])
        self._size = len(models)

    def __len__(self) -> int:
        return self._size

    def train(self, mode: bool = True) -> Ensemble:
        """Switch all networks to training mode, or to evaluation."""
        self._skeleton.train(mode)
        return self

    def logits(self, x: Tensor) -> Tensor:
        """(S, B, K), the outputs of every network for the same batch x (B, n)."""

        def run(parameters: dict, buffers: dict) -> Tensor:
            return functional_call(self._skeleton, (parameters, buffers), (x,))

        return torch.vmap(run, randomness="different")(self.parameters, self.buffers)

    def losses(self, x: Tensor, labels: Tensor) -> Tensor:
        """(S,), the mean cross-entropy of each network over a batch; labels (B,)."""
        logits = self.logits(x)
        each = nn.functional.cross_entropy(logits.mT, labels.expand(len(self), -1), reduction="none")
        return each.mean(dim=1)

    def step(self, x: Tensor, labels: Tensor, rates: ArrayLike, clip: float | None = None) -> Tensor:
        """One step of gradient descent for each network on its own loss; returns the losses (S,) before it.

        Parameters
        ----------
        x, labels : the batch, (B, n) and (B,).
        rates : learning rate, one for all or one for each, (S,).
        clip : largest norm of a network's whole gradient; a longer one is shortened to it (Pascanu et al., 2013).

        A network that diverges goes on with inf and nan, and leaves the others alone.
        """
        losses = self.losses(x, labels)
        parameters = list(self.parameters.values())
        gradients = torch.autograd.grad(losses.sum(), parameters)
        rates = torch.as_tensor(rates, dtype=losses.dtype, device=losses.device).expand(len(self))
        with torch.no_grad():
            if clip is not None:
                norms = torch.stack([g.flatten(1).norm(dim=1) for g in gradients]).norm(dim=0)
                rates = rates * (clip / norms).clamp(max=1)
            for p, g in zip(parameters, gradients, strict=True):
                p -= rates.view(-1, *[1] * (p.ndim - 1)) * g
        return losses.detach()

    @torch.no_grad()
    def accuracy(self, x: Tensor, labels: Tensor) -> Tensor:
        """(S,), the share of right answers of each network, taken in evaluation mode."""
        training = self._skeleton.training
        try:
            return (self.train(False).logits(x).argmax(dim=2) == labels).float().mean(dim=1)
        finally:
            self.train(training)

    def model(self, s: int) -> nn.Module:
        """A copy of network s as a module of its own."""
        model = copy.deepcopy(self._skeleton)
        state = {name: t[s].detach().clone() for name, t in {**self.parameters, **self.buffers}.items()}
        model.load_state_dict(state)
        return model
