"""Fixed points, chi and correlations against mpmath, closed forms, and networks that are drawn at random."""

import mpmath as mp
import numpy as np
import pytest

from snnlib import activations
from snnlib.meanfield import (
    chi,
    correlation_fixed_point,
    correlation_map,
    critical_sigma_w,
    depth_scale,
    variance_depth_scale,
    variance_fixed_point,
    variance_map,
    variance_path,
)

SB = 0.05**0.5
LAM, ALPHA = mp.mpf("1.0507009873554804934193349852946"), mp.mpf("1.6732632423543772848170429916717")

# (f, f') for mpmath
EXACT = {
    "tanh": (mp.tanh, lambda z: mp.sech(z) ** 2),
    "sigmoid": (lambda z: 1 / (1 + mp.exp(-z)), lambda z: 1 / (2 + mp.exp(z) + mp.exp(-z))),
    "relu": (lambda z: max(z, 0), lambda z: mp.mpf(z > 0)),
    "selu": (
        lambda z: LAM * z if z > 0 else LAM * ALPHA * mp.expm1(z),
        lambda z: LAM if z > 0 else LAM * ALPHA * mp.exp(z),
    ),
    "gelu": (lambda z: z * mp.ncdf(z), lambda z: mp.ncdf(z) + z * mp.npdf(z)),
}


def mean(h, q):
    """E[h(sqrt(q) Z)] by mpmath, split at 0."""
    s = mp.sqrt(q)
    return mp.quad(lambda x: h(s * x) * mp.npdf(x), [-12, -3, -3 / (3 + s), 0, 3 / (3 + s), 3, 12])


# --- variance --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", EXACT)
@pytest.mark.parametrize("q, sigma_w, sigma_b", [(0.3, 1.1, 0.2), (4.0, 0.7, 0.0)])
def test_the_variance_map_and_chi_agree_with_mpmath(name, q, sigma_w, sigma_b):
    f, slope = EXACT[name]
    expected = sigma_w**2 * mean(lambda z: f(z) ** 2, q) + sigma_b**2
    assert variance_map(name, q, sigma_w, sigma_b) == pytest.approx(float(expected), rel=1e-12)
    expected = sigma_w**2 * mean(lambda z: slope(z) ** 2, q)
    assert chi(name, sigma_w, sigma_b, q) == pytest.approx(float(expected), rel=1e-12)


@pytest.mark.parametrize(
    "name, sigma_w, sigma_b, q, slope",
    [
        ("selu", 1.0, 0.0, 1.0, 1.07157499245579925757),
        ("selu", 0.75, 0.0, 0.0230337846, 1.0036704),
        ("selu", 0.93320580177803**0.5, 0.06679419822197**0.5, 1.0, 1.0),  # critical, with bias
        ("tanh", 5 / 3, 0.0, 1.178480, 1.209831),
        ("tanh", 1.7609546396067391316**0.5, SB, 0.57004788164076414999, 1.0),
        ("selu", 0.90176589176632877828**0.5, SB, 0.82730159027092528755, 1.0),
    ],
)
def test_fixed_points_known_from_other_computations(name, sigma_w, sigma_b, q, slope):
    digits = 5e-7 if slope in (1.0036704, 1.209831) else 1e-12  # what those rows state
    assert variance_fixed_point(name, sigma_w, sigma_b) == pytest.approx(q, rel=digits)
    assert chi(name, sigma_w, sigma_b) == pytest.approx(slope, rel=digits)


def test_relu_with_bias_has_its_geometric_series():
    """q = sigma_b^2 / (1 - sigma_w^2 / 2), from 1e-14 to nearly 1e12."""
    sigma_w, sigma_b = np.array([1.0, 1.4, 0.5, np.sqrt(2 * (1 - 1e-9))]), np.array([0.3, 2.0, 1e-7, 20.0])
    found, exact = variance_fixed_point("relu", sigma_w, sigma_b), sigma_b**2 / (1 - sigma_w**2 / 2)
    np.testing.assert_allclose(found[:3], exact[:3], rtol=1e-12)
    assert found[3] == pytest.approx(exact[3], rel=1e-6)  # 1 - sigma_w^2 / 2 = 1e-9 has lost nine digits


@pytest.mark.parametrize("name", activations.names())
def test_the_fixed_point_is_where_iteration_leads(name):
    sigma_w, sigma_b = np.array([0.6, 0.9, 1.25, 1.7]), np.array([0.0, 0.5, 0.1, 0.8])
    q = np.ones(4)
    for _ in range(600):
        q = np.minimum(variance_map(name, q, sigma_w, sigma_b), 1e15)
    expected = np.where(q < 1e-20, 0, np.where(q > 1e13, np.inf, q))
    np.testing.assert_allclose(variance_fixed_point(name, sigma_w, sigma_b), expected, rtol=1e-10)


def test_a_signal_that_dies_slowly_is_recognized():
    """At sigma_w = 1 tanh loses q like 1 / (2 l); just above, tanh(z) ~ z - z^3 / 3 gives q = (sigma_w^2 - 1) / 2."""
    found = variance_fixed_point("tanh", [0.3, 1.0, np.sqrt(1 + 1e-7)])
    assert found.tolist()[:2] == [0, 0]
    assert found[2] == pytest.approx(5e-8, rel=1e-6)
    path = variance_path("tanh", 101, 1.0)
    assert path[100] == pytest.approx(1 / 200, rel=0.05)  # while iteration is still here


def test_what_grows_without_bound_and_what_keeps_every_variance():
    sigma_w, sigma_b = [np.sqrt(2), 1.4, 1.5, np.sqrt(2), np.sqrt(2)], [0.0, 0.0, 0.0, 0.1, 1e-3]
    assert variance_fixed_point("relu", sigma_w, sigma_b).tolist() == [1, 0, np.inf, np.inf, np.inf]
    assert variance_fixed_point("identity", [1.0, 0.9, 1.1]).tolist() == [1, 0, np.inf]
    assert variance_fixed_point("selu", np.sqrt(2)) == np.inf  # selu with He's initialization
    assert variance_fixed_point("tanh", 0.0, [0.0, 0.5]).tolist() == [0, 0.25]


def test_a_variance_path_is_the_map_again_and_again():
    path = variance_path("selu", 4, [0.8, 1.2], 0.1, [[0.5], [1.0], [2.0]])
    assert path.shape == (4, 3, 2) and (path[0] == [[0.5] * 2, [1.0] * 2, [2.0] * 2]).all()
    np.testing.assert_array_equal(path[1:], variance_map("selu", path[:-1], [0.8, 1.2], 0.1))


# --- chi and criticality ---------------------------------------------------------------------------------------------


def test_chi_has_its_limits_at_zero_and_infinity():
    np.testing.assert_allclose(chi("selu", 1.0, q=[0, 1e-14]), float(LAM**2 * (1 + ALPHA**2) / 2), rtol=1e-6)
    assert chi("relu", 2.0, q=[0, 1e-20, 3.0, 1e6, np.inf]) == pytest.approx([2] * 5, rel=1e-13)
    assert chi("relu", 1.6) == pytest.approx(1.28, rel=1e-13)  # at its fixed point, inf
    assert chi("tanh", 1.5, q=[0, np.inf]) == pytest.approx([2.25, 0], abs=1e-14)
    assert chi("gelu", 1.0, q=[0, np.inf]) == pytest.approx([0.25, 0.5], rel=1e-13)


@pytest.mark.parametrize(
    "name, sigma_b, squared",
    [
        ("tanh", 0.0, 1.0),
        ("elu", 0.0, 1.0),
        ("selu", 0.0, float(2 / (LAM**2 * (1 + ALPHA**2)))),
        ("relu", 0.0, 2.0),
        ("relu", 0.3, 2.0),  # in the limit q -> inf
        ("leaky_relu", 0.0, 2 / (1 + 0.01**2)),
        ("tanh", SB, 1.7609546396067391316),
        ("selu", SB, 0.90176589176632877828),
        ("selu", 0.06679419822197**0.5, 0.93320580177803),
    ],
)
def test_the_critical_sigma_w_is_known(name, sigma_b, squared):
    assert critical_sigma_w(name, sigma_b) ** 2 == pytest.approx(squared, rel=1e-12)


def test_the_sigmoid_is_critical_only_with_large_weights():
    """E[f^2] = 1/4 + E[tanh(u / 2)^2] / 4 keeps q large: with mpmath, chi = 1 and q is fixed."""
    sigma_w = critical_sigma_w("sigmoid", 0.0)
    q, (f, slope) = variance_fixed_point("sigmoid", sigma_w), EXACT["sigmoid"]
    assert 10 < sigma_w < 10.5
    assert float(sigma_w**2 * mean(lambda z: slope(z) ** 2, q)) == pytest.approx(1, rel=1e-11)
    assert float(sigma_w**2 * mean(lambda z: f(z) ** 2, q)) == pytest.approx(q, rel=1e-11)


@pytest.mark.parametrize("sigma_b", [0.0, 0.3])
def test_gelu_has_no_critical_point(sigma_b):
    """From q = 1 the variance falls where chi < 1 or grows without bound: on either side of the jump chi is not 1."""
    sigma_w = np.linspace(1.3, 1.7, 201)
    slopes = chi("gelu", sigma_w, sigma_b)
    assert (slopes < 0.99).any() and (slopes > 1.01).any() and (np.abs(slopes - 1) > 0.01).all()
    with pytest.raises(ValueError, match=r"gelu has no critical point at sigma_b = 0"):
        critical_sigma_w("gelu", sigma_b)


# --- correlation -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("q", [1e-6, 1.0, 1e4])
def test_relu_has_the_arc_cosine_kernel(q):
    """Cho and Saul (2009): (sqrt(1 - c^2) + c (pi - arccos c)) / pi at sigma_w = sqrt(2), sigma_b = 0."""
    c = np.array([-1.0, -0.7, 0.0, 0.4, *(1 - 10.0 ** -np.arange(1, 12)), 1.0])
    kernel = (np.sqrt((1 - c) * (1 + c)) + c * (np.pi - np.arccos(c))) / np.pi
    np.testing.assert_allclose(correlation_map("relu", c, q, np.sqrt(2)), kernel, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("name", ["tanh", "selu", "gelu"])
@pytest.mark.parametrize("c", [-0.6, 0.3, 0.95])
def test_the_correlation_map_agrees_with_a_double_integral(name, c):
    """By a product of Gauss-Legendre rules on panels that end at the kinks."""
    f = activations.get(name).f
    q, sigma_w, sigma_b = 1.3, 1.2, 0.4
    x, w = np.polynomial.legendre.leggauss(60)
    edges = np.sqrt(q) * np.array([-12, -4, -1.5, 0, 1.5, 4, 12])
    half = np.diff(edges)[:, None] / 2
    u, w = (edges[:-1, None] + half * (x + 1)).ravel(), (half * w).ravel()
    form = (u[:, None] ** 2 - 2 * c * np.outer(u, u) + u**2) / (q * (1 - c * c))
    density = np.exp(-form / 2) / (2 * np.pi * q * np.sqrt(1 - c * c))
    product, square = (w * f(u)) @ density @ (w * f(u)), (w * f(u) ** 2) @ density @ w
    expected = (sigma_w**2 * product + sigma_b**2) / (sigma_w**2 * square + sigma_b**2)
    assert correlation_map(name, c, q, sigma_w, sigma_b) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("c", [1e-4, 1e-8, 1e-12])
def test_the_correlation_of_almost_independent_signals_is_the_squared_mean_slope(c):
    """E[f(u_1) f(u_2)] = c E[f']^2 + O(c^2) where f has mean 0; E[selu'] = 0.98523... in closed form."""
    slope = float(LAM * (0.5 + ALPHA * mp.exp(0.5) * mp.ncdf(-1)))
    assert correlation_map("selu", c, 1.0, 1.0) == pytest.approx(slope**2 * c, rel=3e-5, abs=1e-15)


def test_the_correlation_map_keeps_one_and_broadcasts():
    values = correlation_map("tanh", np.array([[0.2], [1.0]]), [0.5, 1.0, 2.0], 1.5, 0.1)
    assert values.shape == (2, 3) and (values[1] == 1).all() and (values[0] < 1).all()
    assert np.ndim(correlation_map("selu", 0.5, 1.0, 1.0)) == 0


@pytest.mark.parametrize("name, sigma_w, sigma_b", [("tanh", 2.0, 0.3), ("selu", 1.1, 0.2), ("tanh", 1.2, 0.3)])
def test_the_correlation_tends_to_its_fixed_point_at_the_rate_of_xi(name, sigma_w, sigma_b):
    q, fixed = variance_fixed_point(name, sigma_w, sigma_b), correlation_fixed_point(name, sigma_w, sigma_b)
    assert fixed == 1 if chi(name, sigma_w, sigma_b) < 1 else 0 < fixed < 1
    xi = depth_scale(name, sigma_w, sigma_b)
    c = fixed - 1e-4
    for _ in range(3):
        c, before = correlation_map(name, c, q, sigma_w, sigma_b), c
    assert (fixed - c) / (fixed - before) == pytest.approx(np.exp(-1 / xi), rel=1e-3)


def test_the_variance_tends_to_its_fixed_point_at_the_rate_of_its_own_xi():
    sigma_w, sigma_b = np.array([2.0, 0.7, 0.8]), np.array([0.3, 0.2, 0.0])
    q = variance_fixed_point("tanh", sigma_w, sigma_b)
    ratio = (variance_map("tanh", q + 1e-6, sigma_w, sigma_b) - q) / 1e-6
    np.testing.assert_allclose(np.exp(-1 / variance_depth_scale("tanh", sigma_w, sigma_b)), ratio, rtol=1e-5)
    assert variance_depth_scale("relu", 1.0, 0.5) == pytest.approx(1 / np.log(2), rel=1e-12)
    assert variance_depth_scale("relu", [2**0.5, 2.0]).tolist() == [np.inf, np.inf]


def test_odd_functions_without_bias_forget_the_sign_of_the_correlation():
    """E[f] = 0 makes c = 0 a fixed point: of tanh, and of selu at q = 1."""
    assert correlation_fixed_point("tanh", 1.5) == 0
    assert correlation_fixed_point("selu", 1.0) == 0
    # the slope there is sigma_w^2 E[f'(Z)]^2, and E[selu'(Z)] = 0.98523111618580
    assert np.exp(-1 / depth_scale("selu", 1.0)) == pytest.approx(0.98523111618580**2, rel=1e-11)


def test_depth_scales_are_infinite_at_criticality_and_chi_rules_in_order():
    for name, sigma_b in [("tanh", 0.0), ("tanh", SB), ("selu", SB), ("selu", 0.0), ("relu", 0.0), ("relu", 0.2)]:
        sigma_w = critical_sigma_w(name, sigma_b)
        assert depth_scale(name, sigma_w, sigma_b) == np.inf
        assert correlation_fixed_point(name, sigma_w, sigma_b) == 1
        if sigma_b:
            assert depth_scale("tanh", 0.9 * critical_sigma_w("tanh", sigma_b), sigma_b) < 20
    assert depth_scale("tanh", 0.8) == pytest.approx(-1 / np.log(0.64), rel=1e-12)
    assert depth_scale("relu", [1.0, 2.0], 0.3) == pytest.approx([1 / np.log(2), np.inf], rel=1e-12)
    assert depth_scale("tanh", 0.0) == 0


# --- what all share --------------------------------------------------------------------------------------------------


def test_random_networks_do_what_the_theory_says():
    """A wide random network: variance, correlation and squared gradient norm after 10 layers, within its scatter."""
    rng, width, depth, sigma_w, sigma_b = np.random.default_rng(0), 1000, 10, 1.1, 0.3
    a = activations.get("selu")
    u = rng.standard_normal((2, width))
    u = np.stack([u[0], 0.5 * u[0] + np.sqrt(0.75) * u[1]])  # q = 1, c = 0.5
    upstream = rng.standard_normal(width)
    weights, slopes = [], []
    for _ in range(depth):
        w = rng.standard_normal((width, width)) * sigma_w / np.sqrt(width)
        weights.append(w)
        slopes.append(a.derivative(u[0]))
        u = a.f(u) @ w.T + sigma_b * rng.standard_normal(width)
    before = upstream
    for w, slope in zip(reversed(weights), reversed(slopes), strict=True):
        upstream = slope * (upstream @ w)
    path = variance_path(a, depth + 1, sigma_w, sigma_b)
    c = 0.5
    for q in path[:-1]:
        c = correlation_map(a, c, q, sigma_w, sigma_b)
    growth = np.prod(chi(a, sigma_w, q=path[:-1]))
    # a layer of 1000 units adds relative errors of some 1 / sqrt(1000) = 3 %, 10 layers of them 10 %: allow three times
    assert np.sum(u[0] ** 2) / width == pytest.approx(path[-1], rel=0.3)
    assert u[0] @ u[1] / np.linalg.norm(u[0]) / np.linalg.norm(u[1]) == pytest.approx(c, abs=0.1) and c > 0.55
    assert np.sum(upstream**2) / np.sum(before**2) == pytest.approx(growth, rel=0.3) and growth > 2
    assert len(path) == depth + 1


def test_arrays_broadcast_and_scalars_stay_scalars():
    sigma_w, sigma_b = np.array([[0.8], [1.5], [3.0]]), np.array([0.0, 0.4])
    for function in (variance_fixed_point, chi, correlation_fixed_point, depth_scale, variance_depth_scale):
        grid = function("tanh", sigma_w, sigma_b)
        assert grid.shape == (3, 2)
        assert grid[2, 1] == pytest.approx(function("tanh", 3.0, 0.4), rel=1e-10)
        assert np.ndim(function("tanh", 0.8)) == 0
    assert chi("relu", 1.0, [0.0, 0.1, 0.2], q=1.0).shape == (3,)


@pytest.mark.parametrize("name", activations.names())
def test_a_phase_diagram_is_drawn_without_warning(name):
    sigma_w, sigma_b = np.linspace(0, 4, 40)[:, None], np.linspace(0, 1, 30)
    with np.errstate(all="raise", under="ignore"):
        q = variance_fixed_point(name, sigma_w, sigma_b)
        slopes = chi(name, sigma_w, sigma_b, q)
    assert q.shape == (40, 30) and np.isfinite(slopes).all() and not np.isnan(q).any()
    finite = np.isfinite(q)
    np.testing.assert_allclose((variance_map(name, np.where(finite, q, 1), sigma_w, sigma_b))[finite], q[finite], 1e-13)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: variance_map("tanh", -1.0, 1.0), "q must be finite and at least 0, got -1.0: it is a variance"),
        (lambda: variance_map("tanh", 1.0, -2.0), "sigma_w must be finite and at least 0, got -2.0: it is a standard"),
        (lambda: variance_fixed_point("tanh", 1.0, [0, np.nan]), "sigma_b .* got nan"),
        (lambda: chi("tanh", np.inf), "sigma_w .* got inf"),
        (lambda: chi("tanh", 1.0, q=np.nan), r"q must be at least 0 \(inf is allowed\), got nan"),
        (lambda: correlation_map("tanh", [0, 1.1], 1.0, 1.0), r"c must be in \[-1, 1\], got 1.1"),
        (lambda: correlation_map("tanh", 0.5, 0.0, 1.0), "where a variance is 0 no correlation is defined"),
        (lambda: correlation_map("tanh", 0.5, 1.0, 0.0), "where a variance is 0 no correlation is defined"),
        (lambda: correlation_fixed_point("tanh", -1.0), "sigma_w"),
        (lambda: depth_scale("tanh", 1.0, -1.0), "sigma_b"),
        (lambda: variance_depth_scale("tanh", 1.0, -1.0), "sigma_b"),
        (lambda: critical_sigma_w("tanh", -0.1), "sigma_b"),
        (lambda: critical_sigma_w("tanh", [0.1, 0.2]), r"sigma_b must be one number, got an array of shape \(2,\)"),
        (lambda: variance_path("tanh", 0, 1.0), "depth must be at least 1, got 0"),
        (lambda: chi("cosine", 1.0), "unknown activation 'cosine'"),
    ],
)
def test_impossible_arguments_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
