"""The numbers of the figures that one can move, by another route than their scripts: {class name: state -> numbers}."""

import numpy as np
import torch
from scipy import stats
from scipy.optimize import elementwise

from snnlib import activations
from snnlib.moments import moment_map


def chain(state):
    """Logarithms, and what torch says of its formats."""
    exponents = np.arange(state["N"] - 1, -1, -1.0)
    u = np.exp(exponents * np.log(state["c"]))
    ranges = [torch.finfo(dtype) for dtype in (torch.float16, torch.bfloat16, torch.float32)]
    outside = [int(((u < info.smallest_normal * info.eps) | (u > info.max)).sum()) for info in ranges]
    return {"u": u, "xi": -1 / np.log(state["c"]), "outside": outside}


def push_forward(state):
    """The moments by `snnlib`; the share of y in each bin from the ends of the intervals where f(z) <= an edge."""
    f, (mu, nu, omega, tau) = activations.get(state["activation"]), (state[k] for k in ("mu", "nu", "omega", "tau"))
    z = stats.norm(mu * omega, np.sqrt(nu * tau))
    mean, variance = moment_map(f, mu, nu, omega, tau)
    edges = np.linspace(-4, 5, 181)
    lowest = {"gelu": -0.751791524693564457, "silu": -1.27846454276107379}.get(f.name, -100.0)  # f rises from here

    def end(far):
        """Where f crosses each edge between `lowest` and `far`; `far` where it stays below, `lowest` above."""
        found = elementwise.find_root(lambda z, y: f.f(z) - y, (lowest, far), args=(edges,)).x
        return np.where(edges < f.f(lowest), lowest, np.where(edges >= f.f(far), far, found))

    below = np.diff(z.cdf([end(-100.0), end(100.0)]), axis=0)[0]
    atoms = [[0.0, z.cdf(0)]] if f.name == "relu" else []
    after = np.diff(below)
    if atoms:
        after[80] -= z.cdf(0)  # the bin that begins at 0
    return {
        "m": mu * omega,
        "v": nu * tau,
        "mean": mean,
        "variance": variance,
        "ratio": variance / nu,
        "before": z.pdf(np.linspace(-5, 5, 201)),
        "after": after / np.diff(edges),
        "atoms": atoms,
    }


REFERENCES = {"Chain": chain, "PushForward": push_forward}
