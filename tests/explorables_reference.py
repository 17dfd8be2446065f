"""The numbers of the figures that one can move, by another route than their scripts: {class name: state -> numbers}."""

import mpmath
import numpy as np
import torch
from scipy.special import digamma

from snnlib import meanfield
from snnlib.explorables import JacobianProduct, SignalThroughDepth


def chain(state):
    """Logarithms, and what torch says of its formats."""
    exponents = np.arange(state["N"] - 1, -1, -1.0)
    u = np.exp(exponents * np.log(state["c"]))
    ranges = [torch.finfo(dtype) for dtype in (torch.float16, torch.bfloat16, torch.float32)]
    outside = [int(((u < info.smallest_normal * info.eps) | (u > info.max)).sum()) for info in ranges]
    return {"u": u, "xi": -1 / np.log(state["c"]), "outside": outside}


def decades(value):
    """log10 of a number of mpmath, which may be out of a float's range."""
    mantissa, power = mpmath.frexp(value)
    return np.log10(float(mantissa)) + int(power) * np.log10(2) if value > 0 else -np.inf


def jacobian_product(state):
    """Products in 300 digits, in which nothing cancels; single factors by NumPy."""
    J = JacobianProduct(**state).jacobians()
    found = {name: [] for name in ("singular", "eigen", "complex", "length", "image")}
    v = [mpmath.mpf(np.cos(np.radians(state["angle"]))), mpmath.mpf(np.sin(np.radians(state["angle"])))]
    with mpmath.workdps(300):
        whole = mpmath.eye(2)
        for factor in J:
            whole = mpmath.matrix(factor.tolist()) * whole
            a, b, c, d = whole
            det, trace, square = a * d - b * c, a + d, a * a + b * b + c * c + d * d
            s = mpmath.sqrt((square + mpmath.sqrt(max(square**2 - 4 * det**2, 0))) / 2)
            det = det if abs(det) > mpmath.mpf("1e-100") * s * s else mpmath.mpf(0)
            root = mpmath.sqrt(trace**2 / 4 - det)
            large, small = sorted((abs(trace / 2 + root), abs(trace / 2 - root)), reverse=True)
            small = small if det else mpmath.mpf(0)
            found["singular"].append([decades(s), decades(abs(det) / s if s else s)])
            found["eigen"].append([decades(large), decades(small)])
            found["complex"].append(isinstance(root, mpmath.mpc) and root.imag != 0)
            found["length"].append(decades(mpmath.hypot(a * v[0] + b * v[1], c * v[0] + d * v[1])))
            found["image"].append([float(entry / s) if s else 0.0 for entry in (a, b, c, d)])
    with np.errstate(divide="ignore"):
        size = np.maximum(np.abs(J).max(axis=(1, 2)), 5e-324)  # numpy loses the digits of the smallest floats
        absolute = np.log10(np.sort(np.abs(np.linalg.eigvals(J / size[:, None, None])))) + np.log10(size)[:, None]
    exponents = {"gaussian": digamma([1, 0.5]) / 2, "orthogonal": np.zeros(2)}.get(state["weights"])
    theory = absolute[0, ::-1] if exponents is None else (exponents + np.log(state["sigma_w"])) / np.log(10)
    return {**found, "radii": np.cumsum(absolute[:, 1]), "theory": theory if state["activation"] == "identity" else []}


def signal_through_depth(state):
    """Mean-field theory by the package."""
    path, gradient = SignalThroughDepth(**state).theory()
    return {"q": path, "gradient": gradient, "chi": meanfield.chi(state["activation"], state["sigma_w"], q=path[-1])}


REFERENCES = {"Chain": chain, "JacobianProduct": jacobian_product, "SignalThroughDepth": signal_through_depth}
