"""The numbers of the figures that one can move, by another route than their scripts: {class name: state -> numbers}."""

import numpy as np
import torch


def chain(state):
    """Logarithms, and what torch says of its formats."""
    exponents = np.arange(state["N"] - 1, -1, -1.0)
    u = np.exp(exponents * np.log(state["c"]))
    ranges = [torch.finfo(dtype) for dtype in (torch.float16, torch.bfloat16, torch.float32)]
    outside = [int(((u < info.smallest_normal * info.eps) | (u > info.max)).sum()) for info in ranges]
    return {"u": u, "xi": -1 / np.log(state["c"]), "outside": outside}


def backward(state):
    """Automatic differentiation, and a difference of its own for the nudge."""
    shapes = [(3, 2), (2, 3), (1, 2)]
    flat = torch.tensor(state["weights"], dtype=torch.float64)
    x = torch.tensor(state["x"], dtype=torch.float64, requires_grad=True)

    def run(flat):
        """The values of all layers, the pre-activations and the loss."""
        y, z = [x], []
        for i, part in enumerate(flat.split([m * n for m, n in shapes])):
            z.append(part.reshape(shapes[i]) @ y[-1])
            y.append(torch.tanh(z[-1]) if i < 2 else 1 * z[-1])
        return y, z, (y[-1][0] - state["t"]) ** 2 / 2

    weights = flat.clone().requires_grad_()
    y, z, loss = run(weights)
    numbers = [y, [torch.autograd.grad(b.sum(), a, retain_graph=True)[0] for a, b in zip(z, y[1:], strict=True)]]
    *u, gradients = torch.autograd.grad(loss, [*y, weights])
    step = torch.zeros(14, dtype=torch.float64)
    step[state["chosen"]] = 1e-4
    difference = (run(flat + step)[2] - run(flat - step)[2]) / 2e-4
    y, slopes, u = (torch.cat([part.detach() for part in parts]) for parts in (*numbers, u))
    rest = {"gradients": gradients, "loss": loss.item(), "difference": difference.item()}
    return {"y": y, "slopes": slopes, "u": u, **rest}


REFERENCES = {"BackwardPass": backward, "Chain": chain}
