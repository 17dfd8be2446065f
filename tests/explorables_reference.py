"""The numbers of the figures that one can move, by another route than their scripts: {class name: state -> numbers}."""

import numpy as np
import torch
from scipy import special

from snnlib import activations, gaussian, moments


def chain(state):
    """Logarithms, and what torch says of its formats."""
    exponents = np.arange(state["N"] - 1, -1, -1.0)
    u = np.exp(exponents * np.log(state["c"]))
    ranges = [torch.finfo(dtype) for dtype in (torch.float16, torch.bfloat16, torch.float32)]
    outside = [int(((u < info.smallest_normal * info.eps) | (u > info.max)).sum()) for info in ranges]
    return {"u": u, "xi": -1 / np.log(state["c"]), "outside": outside}


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
    m, v = mu * omega, nu * tau
    relu, left = activations.get("relu"), activations.selu(1.0, 1.0)
    result = {"constants": [], "eigenvalues": [], "chi": 0, "curve": [], "radii": radii_of_targets(omega, tau)}
    mean, square = (gaussian.expectation(lambda z, k=k: left.f(np.minimum(z, 0)) ** k, m, v, (0.0,)) for k in (1, 2))
    ratios = mean / np.sqrt(square - mean**2), np.divide(*moments.moment_map(relu, m, v, 1, 1) ** np.array([1, 0.5]))
    result["reach"] = ratios
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
        "chi": tau * gaussian.expectation(lambda z: f.derivative(z) ** 2, m, v, f.kinks),
        "curve": f.f(np.arange(151) / 25 - 3),
    }


def radii_of_targets(omega, tau):
    """The spectral radius at every target of the plane; -1 where none of both roots of the quadratic equation will do.

    Klambauer et al. (2017), equations 4, 5 and the Jacobian of the appendix.
    """
    mu, nu = (axis.ravel() for axis in np.meshgrid((np.arange(16) + 0.5) / 8 - 1, (np.arange(12) + 0.5) / 4))
    m, v = mu * omega, nu * tau
    root, density = np.sqrt(2 * v), np.exp(-(m**2) / (2 * v))
    e0, e1, e2 = (
        special.erfc(m / root),
        density * special.erfcx((m + v) / root),
        density * special.erfcx((m + 2 * v) / root),
    )
    P = m * (1 - e0 / 2) + density * np.sqrt(v / (2 * np.pi))
    S = (m**2 + v) * (1 - e0 / 2) + m * density * np.sqrt(v / (2 * np.pi))
    Q, T = (e0 - e1) / 2, (e0 - 2 * e1 + e2) / 2
    share = mu**2 / (nu + mu**2)
    A, B, C = Q**2 - share * T, P * Q, P**2 - share * S
    with np.errstate(invalid="ignore"):
        roots = (B + np.array([[1], [-1]]) * np.sqrt(B**2 - A * C)) / A
    fits = (roots > 0) & ((P - roots * Q) * mu > 0)
    alpha = np.where(fits[0], roots[0], roots[1])
    lam = np.sqrt((nu + mu**2) / (S + alpha**2 * T))
    with np.errstate(invalid="ignore"):
        J11 = lam / 2 * omega * (alpha * e1 - e0 + 2)
        J12 = lam / 4 * tau * (alpha * e1 - (alpha - 1) * np.sqrt(2 / (np.pi * v)) * density)
        J21 = alpha**2 * (e2 - e1) + m * (2 - e0) + np.sqrt(2 * v / np.pi) * density
        J22 = lam**2 / 2 * tau * (-(alpha**2) * e1 + 2 * alpha**2 * e2 - e0 + 2)
    H = np.array([[J11, J12], [lam**2 * omega * J21 - 2 * mu * J11, J22 - 2 * mu * J12]])
    radii = abs(np.linalg.eigvals(np.nan_to_num(np.moveaxis(H, -1, 0)))).max(axis=1)
    return np.where(fits.any(axis=0), radii, -1)


REFERENCES = {"Chain": chain, "SelfNormalizingMap": self_normalizing_map, "SeluDesigner": selu_designer}
