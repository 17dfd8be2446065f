"""Loss and gradients of plain networks by hand, several operations at once and in memory that is used again.

The formulas are those of book/backpropagation, as in `backprop`, here in torch and on any device. A chain is a network
of linear maps with biases and, between them, activations whose slope follows from their value, so that y = f(z) may
take the place of z, and dz that of y. `training.fit` trains such networks with it, and all others with autograd; the
difference is that nothing is recorded, allocated or copied, and that plain descent adds a gradient to the parameters
while it arises.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from .networks import Layer

_ops = torch.ops.aten


def _elu(alpha: float, scale: float) -> tuple[Callable, Callable]:
    def slope(u: Tensor, y: Tensor) -> None:
        _ops.elu_backward.grad_input(u, alpha, scale, 1.0, True, y, grad_input=y)

    return (torch.selu_ if scale != 1 else lambda z: nn.functional.elu_(z, alpha)), slope


def _leaky(a: float) -> tuple[Callable, Callable]:
    def slope(u: Tensor, y: Tensor) -> None:
        _ops.leaky_relu_backward.grad_input(u, y, a, True, grad_input=y)

    return lambda z: nn.functional.leaky_relu_(z, a), slope


# type of the module: module -> (z is overwritten by f(z), y is overwritten by u f'(z))
_IN_PLACE = {
    nn.SELU: lambda f: _elu(1.6732632423543772848, 1.0507009873554804934),
    nn.ELU: lambda f: _elu(f.alpha, 1.0),
    nn.ReLU: lambda f: (torch.relu_, lambda u, y: _ops.threshold_backward.grad_input(u, y, 0, grad_input=y)),
    nn.LeakyReLU: lambda f: _leaky(f.negative_slope),
    nn.Tanh: lambda f: (torch.tanh_, lambda u, y: _ops.tanh_backward.grad_input(u, y, grad_input=y)),
    nn.Sigmoid: lambda f: (torch.sigmoid_, lambda u, y: _ops.sigmoid_backward.grad_input(u, y, grad_input=y)),
    nn.Identity: lambda f: (lambda z: z, lambda u, y: y.copy_(u)),
}


def is_chain(model: nn.Module) -> bool:
    """Whether `Chain` can stand for a model from `networks.fully_connected`, in its float32 or float64."""
    if type(model) is not nn.Sequential or not all(type(layer) is Layer and not layer.residual for layer in model):
        return False
    *hidden, last = [[*layer] for layer in model]
    plain = len(last) == 1 and all(len(parts) == 2 and type(parts[1]) in _IN_PLACE for parts in hidden)
    linears = [parts[0] for parts in (*hidden, last)]
    trained = [p for p in model.parameters() if p.requires_grad]
    return (
        plain
        and all(type(linear) is nn.Linear and linear.bias is not None for linear in linears)
        and len(trained) == 2 * len(linears)  # all of them, and none shared
        and not any(f.inplace for parts in hidden for f in parts if hasattr(f, "inplace"))
    )


class Chain:
    """The network of a model for which `is_chain` holds, with memory for batches of at most so many examples.

    The model's parameters are used where they are. Call `forwards`, then `backwards`.
    """

    def __init__(self, model: nn.Sequential, batch_size: int):
        self.parameters = [(layer.linear.weight.detach(), layer.linear.bias.detach()) for layer in model]
        self.activations = [_IN_PLACE[type(layer.activation)](layer.activation) for layer in model[:-1]]
        new = self.parameters[0][0].new_empty
        self._y = [new(batch_size, len(b)) for _, b in self.parameters]
        self._u = new(batch_size * max(len(b) for _, b in self.parameters))
        self._ones = new(batch_size).fill_(1)

    @torch.no_grad()
    def forwards(self, x: Tensor, labels: Tensor, size: int) -> tuple[Tensor, Tensor]:
        """(loss, hits): the summed cross-entropy of a batch over `size`, and right answers; x (B, n), labels (B,)."""
        self._inputs = self._forward(x)
        outputs = self._inputs.pop()
        hits = (outputs.argmax(1) == labels).sum()
        dz = torch.log_softmax(outputs, 1)
        loss = nn.functional.nll_loss(dz, labels, reduction="sum") / size
        dz.exp_()
        dz.scatter_add_(1, labels[:, None], dz.new_full((1, 1), -1.0).expand(len(dz), 1))  # softmax - one-hot
        self._dz = dz.mul_(1 / size)
        return loss, hits

    @torch.no_grad()
    def backwards(self, into: list[Tensor], keep: float = 0.0, factor: float | Tensor = 1.0) -> None:
        """Put keep t + factor g in the place of each t of `into`, where g is the gradient of the last loss.

        One t for each parameter, in the order of `model.parameters()`; they may be the parameters themselves. As g is
        a product of matrices, it never stands alone in memory. All of backwards is linear in the first dz: there the
        factor goes.
        """
        dz, inputs = self._dz.mul_(factor), self._inputs
        for i in reversed(range(len(inputs))):
            y = inputs[i]
            if i > 0:  # before the weights are changed
                u = torch.mm(dz, self.parameters[i][0], out=self._u[: y.numel()].view_as(y))
            into[2 * i].addmm_(dz.T, y, beta=keep)
            into[2 * i + 1].addmv_(dz.T, self._ones[: len(dz)], beta=keep)
            if i > 0:
                self.activations[i - 1][1](u, y)
                dz = y

    def _forward(self, x: Tensor) -> list[Tensor]:
        """The input of every layer, and the outputs of the last."""
        ys = [x]
        for i, (w, b) in enumerate(self.parameters):
            z = torch.addmm(b, ys[-1], w.T, out=self._y[i][: len(x)])
            if i < len(self.activations):
                self.activations[i][0](z)
            ys.append(z)
        return ys
