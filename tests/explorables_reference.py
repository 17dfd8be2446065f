"""The numbers of the figures that one can move, by another route than their scripts: {class name: state -> numbers}."""

import mpmath
import numpy as np
import torch
from scipy import special, stats
from scipy.optimize import elementwise

from snnlib import activations, gaussian, meanfield, moments
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
    exponents = {"gaussian": special.digamma([1, 0.5]) / 2, "orthogonal": np.zeros(2)}.get(state["weights"])
    theory = absolute[0, ::-1] if exponents is None else (exponents + np.log(state["sigma_w"])) / np.log(10)
    return {**found, "radii": np.cumsum(absolute[:, 1]), "theory": theory if state["activation"] == "identity" else []}


def signal_through_depth(state):
    """Mean-field theory by the package."""
    path, gradient = SignalThroughDepth(**state).theory()
    return {"q": path, "gradient": gradient, "chi": meanfield.chi(state["activation"], state["sigma_w"], q=path[-1])}


def self_normalizing_map(state):
    """The map of `moments`, all starts at once."""
    layer = state["activation"], state["omega"], state["tau"]

    def g(mu, nu):
        return np.stack(moments.moment_map(layer[0], mu, nu, *layer[1:]), axis=-1)

    try:
        level = moments.fixed_point(*layer)
    except moments.NoFixedPointError:
        level = None
    lost, large = (min(0.01, level.nu / 2), max(100, 2 * level.nu)) if level else (0.01, 100)

    def fate(mu, nu):
        if level and level.attracting and abs(mu - level.mu) + abs(nu - level.nu) < 0.02 * level.nu:
            return 0
        return 1 if nu < lost else 2 if max(nu, abs(mu)) > large else None

    now, points, fates = np.transpose([state["mu"], state["nu"]]), [[], [], [], []], [None] * 4
    for step in range(101):
        now = g(*now.T) if step else now
        for k in range(4):
            if fates[k] is None:
                points[k].append(now[k])
                fates[k] = fate(*now[k])
        if None not in fates:
            break

    mu, nu = np.meshgrid(-1.4 + 0.2 * np.arange(15), 0.2 + 0.35 * np.arange(9))
    along = np.arange(12) / 12
    around = np.concatenate([along, np.ones(12), 1 - along, np.zeros(12)])
    upwards = np.roll(around, 12)
    image = g(-0.1 + 0.2 * around, 0.8 + 0.7 * upwards)
    return {
        "level": [level.mu, level.nu] if level else [],
        "radius": level.spectral_radius if level else 0,
        "attracting": bool(level and level.attracting),
        "field": g(mu.ravel(), nu.ravel()),
        "image": image,
        "within": bool((abs(image - (0, 1.15)) <= (0.1, 0.35)).all()),
        "points": np.concatenate(points),
        "layers": [len(path) - 1 for path in points],
        "fates": [3 if end is None else end for end in fates],
    }


def selu_designer(state):
    """For the target by `moments`, for the plane of targets by the closed forms of the paper."""
    mu, nu, omega, tau = (state[name] for name in ("mu", "nu", "omega", "tau"))
    result = plane_of_targets(omega, tau) | {"constants": [], "eigenvalues": [], "chi": 0, "curve": []}
    P, S, Q, T = halves(mu * omega, nu * tau)[:4]
    result["reach"] = [-Q / np.sqrt(T - Q**2), P / np.sqrt(S - P**2)]
    try:
        constants = moments.selu_constants(mu, nu, omega=omega, tau=tau)
    except ValueError:
        return result
    f = activations.selu(*constants)
    values = np.linalg.eigvals(moments.jacobian(f, mu, nu, omega, tau)).astype(complex)
    values = sorted(values, key=lambda value: (-abs(value), -value.imag))
    return result | {
        "constants": constants,
        "eigenvalues": [[value.real, value.imag] for value in values],
        "chi": tau * gaussian.expectation(lambda z: f.derivative(z) ** 2, mu * omega, nu * tau, f.kinks),
        "curve": f.f(np.arange(151) / 25 - 3),
    }


def halves(m, v):
    """P, S, Q, T of `moments.selu_constants`, and the terms of Klambauer et al. (2017) that they are made of."""
    x, root = m / np.sqrt(v), np.sqrt(2 * v)
    density, ratio = np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi), np.sqrt(np.pi / 2) * special.erfcx(-x / np.sqrt(2))
    P, S = np.sqrt(v) * density * (1 + x * ratio), v * density * ((1 + x**2) * ratio + x)
    e0, e1, e2 = (np.exp(k * m + k**2 * v / 2) * special.erfc((m + k * v) / root) for k in range(3))
    return P, S, (e0 - e1) / 2, (e0 - 2 * e1 + e2) / 2, e0, e1, e2, 2 * np.sqrt(v) * density


def plane_of_targets(omega, tau):
    """The borders of what is possible, by the bisection of the script, and the spectral radius within."""
    edges = 3 * (np.arange(1, 12) / 11) ** 2
    borders = []
    for end in (-1, 1):

        def possible(mu, end=end):
            P, S, Q, T = halves(mu * omega, edges * tau)[:4]
            share = P / np.sqrt(S) if end == 1 else Q / np.sqrt(T)
            return end * mu / np.sqrt(edges + mu**2) < share

        inner, outer = np.zeros(11), np.full(11, float(end))
        for _ in range(9):
            middle = (inner + outer) / 2
            inner, outer = np.where(possible(middle), [middle, outer], [inner, middle])
        borders.append(np.where(possible(np.full(11, float(end))), end, inner))
    borders = np.transpose(borders)
    columns = borders[:, :1] + np.diff(borders) * (np.arange(10) + 0.5) / 10
    mu, nu = ((columns[1:] + columns[:-1]) / 2).ravel(), np.repeat((edges[1:] + edges[:-1]) / 2, 10)
    return {"borders": borders, "radii": radii_of_targets(mu, nu, omega, tau)}


def radii_of_targets(mu, nu, omega, tau):
    """Spectral radii by the Jacobian in the appendix of Klambauer et al. (2017); -1 where there is no SELU."""
    m, v = mu * omega, nu * tau
    P, S, Q, T, e0, e1, e2, slope = halves(m, v)
    share = mu**2 / (nu + mu**2)
    A, B, C = Q**2 - share * T, P * Q, P**2 - share * S
    roots = (B + np.array([[1], [-1]]) * np.sqrt(np.maximum(B**2 - A * C, 0))) / A
    fits = (roots > 0) & ((P - roots * Q) * mu >= 0) & (B**2 >= A * C)
    alpha = np.where(fits[0], roots[0], roots[1])
    lam = np.sqrt((nu + mu**2) / (S + alpha**2 * T))
    J11 = lam / 2 * omega * (alpha * e1 - e0 + 2)
    J12 = lam / 4 * tau * (alpha * e1 - (alpha - 1) * slope / v)
    J21 = lam**2 * omega * (alpha**2 * (e2 - e1) + m * (2 - e0) + slope)
    J22 = lam**2 / 2 * tau * (-(alpha**2) * e1 + 2 * alpha**2 * e2 - e0 + 2)
    H = np.array([[J11, J12], [J21 - 2 * mu * J11, J22 - 2 * mu * J12]])
    radii = abs(np.linalg.eigvals(np.moveaxis(H, -1, 0))).max(axis=1)
    return np.where(fits.any(axis=0), radii, -1)


def push_forward(state):
    """The moments by `snnlib`; the share of y in each bin from the ends of the intervals where f(z) <= an edge."""
    f, (mu, nu, omega, tau) = activations.get(state["activation"]), (state[k] for k in ("mu", "nu", "omega", "tau"))
    z = stats.norm(mu * omega, np.sqrt(nu * tau))
    mean, variance = moments.moment_map(f, mu, nu, omega, tau)
    edges = np.linspace(-4, 5, 181)
    lowest = {"gelu": -0.751791524693564457, "silu": -1.27846454276107379}.get(f.name, -100.0)  # f rises from here

    def end(far):
        """Where f crosses each edge between `lowest` and `far`; `far` where it stays below, `lowest` above."""
        found = elementwise.find_root(lambda z, y: f.f(z) - y, (lowest, far), args=(edges,)).x
        return np.where(edges < f.f(lowest), lowest, np.where(edges >= f.f(far), far, found))

    below = np.diff(z.cdf([end(-100.0), end(100.0)]), axis=0)[0]
    atoms = [[0.0, z.cdf(0)]] if f.name == "relu" and z.cdf(0) > 1e-32 else []  # beyond 12 standard deviations: none
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


REFERENCES = {
    "BackwardPass": backward,
    "Chain": chain,
    "JacobianProduct": jacobian_product,
    "PushForward": push_forward,
    "SelfNormalizingMap": self_normalizing_map,
    "SeluDesigner": selu_designer,
    "SignalThroughDepth": signal_through_depth,
}
