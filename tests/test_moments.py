"""The map, its Jacobian, its fixed points and SELU's constants against mpmath, the paper's numbers, and torch."""

import itertools
from fractions import Fraction

import mpmath as mp
import numpy as np
import pytest
import torch
from activations_reference import EXACT as REFERENCE

from snnlib import activations
from snnlib.activations import SELU_ALPHA, SELU_LAMBDA
from snnlib.moments import (
    NoFixedPointError,
    alpha_dropout_affine,
    fixed_point,
    iterate,
    jacobian,
    moment_map,
    selu_constants,
)

mp.mp.dps = 50

# What was computed with 40 digits, independently: Klambauer et al. (2017), equation 14, and other targets.
ALPHA = "1.673263242354377284817042991671652038461"
LAM = "1.050700987355480493419334985294606351959"
OTHERS = {  # (mu, nu, omega): (alpha, lam)
    ("0", "2", 0): ("1.9712557503462689381", "1.0607090761030122194"),
    ("0", "0.5", 0): ("1.4680598705305052804", "1.0409573375386349625"),
    ("0.1", "1", 0): ("1.3119574562734102226", "1.1608585070504000584"),
    ("-0.1", "1", 0): ("2.1212434074231682438", "0.93625773666612353275"),
    ("-0.1", "2", 1): ("1.9769021954242004", "1.0738512396160457"),
    ("0.1", "1", 1): ("1.6650774255244751679", "1.0382096627359875163"),
}

# The range for which the digits are promised: mu, nu, omega, tau.
CORNERS = np.array(list(itertools.product([-10, -1e-3, 0, 10], [1e-6, 1, 100], [-1, 1e-3, 1], [0.1, 10])))


def sample(n, seed=0):
    """n points of the range, a third of them close to the kink on the scale of the standard deviation."""
    rng = np.random.default_rng(seed)
    mu, omega = rng.uniform(-10, 10, n), rng.uniform(-1, 1, n)
    nu, tau = 10 ** rng.uniform(-6, 2, n), 10 ** rng.uniform(-1, 1, n)
    near = slice(0, n // 3)
    mu[near] = rng.uniform(-12, 12, n // 3) * np.sqrt(nu * tau)[near] / omega[near]
    return np.column_stack([np.clip(mu, -10, 10), nu, omega, tau])


def by_the_papers_formulas(point, alpha, lam):
    """(mu~, nu~, the four entries of the Jacobian) of the exponential linear unit, at exactly the floats in `point`.

    Klambauer et al. (2017), equations 4, 5 and the Jacobian of (mu~, nu~ + mu~^2), as they stand there; what cancels in
    them is paid for with digits.
    """
    mu, nu, omega, tau, alpha, lam = (mp.mpf(float(x)) for x in (*point, alpha, lam))
    distance = min(float((mu * omega) ** 2 / (nu * tau)), 1600.0)  # beyond 40 standard deviations float64 underflows
    with mp.workdps(100 + int(distance / 4)):
        m, v = mu * omega, nu * tau
        e0, e1, e2 = (mp.exp(j * m + j * j * v / 2) * mp.erfc((m + j * v) / mp.sqrt(2 * v)) for j in (0, 1, 2))
        bell = mp.exp(-m * m / (2 * v))
        mean = lam / 2 * (-(alpha + m) * e0 + alpha * e1 + mp.sqrt(2 * v / mp.pi) * bell + 2 * m)
        square = (lam**2 / 2) * (
            (m * m + v) * (2 - e0) + alpha**2 * (e0 - 2 * e1 + e2) + mp.sqrt(2 * v / mp.pi) * m * bell
        )
        j11 = lam / 2 * omega * (alpha * e1 - e0 + 2)
        j12 = lam / 4 * tau * (alpha * e1 - (alpha - 1) * mp.sqrt(2 / (mp.pi * v)) * bell)
        j21 = lam**2 * omega * (alpha**2 * (e2 - e1) + m * (2 - e0) + mp.sqrt(2 * v / mp.pi) * bell)
        j22 = lam**2 / 2 * tau * (-(alpha**2) * e1 + 2 * alpha**2 * e2 - e0 + 2)
        return [mean, square - mean**2, j11, j12, j21 - 2 * mean * j11, j22 - 2 * mean * j12]


def computed(activation, points):
    """The same by snnlib; shape (6, E). Nothing may raise a warning."""
    with np.errstate(all="raise"):
        moments, H = moment_map(activation, *points.T), jacobian(activation, *points.T)
    return np.stack([*moments, H[:, 0, 0], H[:, 0, 1], H[:, 1, 0], H[:, 1, 1]])


def errors(values, exact, floor):
    """Errors, relative to the exact values or to floor where that is larger; below 1e-290 float64 has few digits."""
    return [
        float(abs(mp.mpf(float(x)) - y) / max(abs(y), z, mp.mpf("1e-290")))
        for x, y, z in zip(values, exact, floor, strict=True)
    ]


# --- shapes and special arguments ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["selu", "tanh"])
def test_arguments_broadcast_and_scalars_stay_scalars(name):
    mu, nu, tau = np.linspace(-1, 1, 3)[:, None], np.array([0.5, 1.0]), np.full((4, 1, 1), 1.1)
    mean, variance = moment_map(name, mu, nu, 0.5, tau)
    H = jacobian(name, mu, nu, 0.5, tau)
    assert mean.shape == variance.shape == (4, 3, 2) and H.shape == (4, 3, 2, 2, 2)
    one = moment_map(name, -1.0, 1.0, 0.5, 1.1)
    assert (mean[2, 0, 1], variance[2, 0, 1]) == pytest.approx(one, rel=1e-14)
    np.testing.assert_allclose(H[2, 0, 1], jacobian(name, -1.0, 1.0, 0.5, 1.1), rtol=1e-13)
    assert all(np.ndim(x) == 0 and isinstance(x, float) for x in one)
    assert moment_map(name, np.zeros((0, 2)), 1.0)[0].shape == (0, 2)
    assert jacobian(name, np.zeros((0, 2)), 1).shape == (0, 2, 2, 2)


@pytest.mark.parametrize("name, count", [("selu", 20_000), ("gelu", 600)])
def test_many_points_give_the_same_as_one_at_a_time(name, count):
    points = sample(count)
    together, some = computed(name, points), [0, 1, 255, 256, 257, count // 2, count - 1]
    for k in some:
        np.testing.assert_allclose(together[:, k], computed(name, points[k : k + 1])[:, 0], rtol=1e-12, atol=1e-300)


@pytest.mark.parametrize("name", activations.names())
def test_a_point_mass_is_mapped_by_f(name):
    mu = np.array([-30.0, -1.0, 0.0, 0.5, 30.0])
    with np.errstate(all="raise"):
        mean, variance = moment_map(name, mu, [[0.0], [1.0]], 1.0, [[1.0], [0.0]])
    np.testing.assert_allclose(mean, [activations.get(name).f(mu)] * 2, rtol=1e-15)
    assert (variance == 0).all()


def test_iterating_is_the_map_again_and_again():
    path = iterate("selu", [[0.5], [-1.0]], 2.0, 3, 0.1, [0.9, 1.0, 1.1])
    assert path.shape == (4, 2, 3, 2) and (path[0, ..., 0] == [[0.5] * 3, [-1.0] * 3]).all()
    mean, variance = moment_map("selu", path[1, ..., 0], path[1, ..., 1], 0.1, [0.9, 1.0, 1.1])
    np.testing.assert_array_equal(path[2], np.stack([mean, variance], axis=-1))
    assert iterate("tanh", 0.0, 1.0, 0).tolist() == [[0.0, 1.0]]


def test_the_jacobian_at_the_fixed_point_is_the_papers():
    H = jacobian("selu", 0.0, 1.0)
    np.testing.assert_allclose(H, [[0, 0.08883475510689], [0, 0.78264788319681]], rtol=1e-12, atol=1e-15)
    assert np.linalg.norm(H, 2) == pytest.approx(0.78767336046572, rel=1e-12)
    corner = jacobian("selu", 0.1, 0.8, 0.1, 1.1)  # where the norm is largest in Theorem 1
    assert np.linalg.norm(corner, 2) == pytest.approx(0.89760835840891801557, rel=1e-12)


# --- fixed points ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "tau, mu, nu, radius",
    [
        (1.0, 0.0, 1.0, 0.78264788319681),
        (0.95, -0.01856606448667, 0.82879460478766, 0.78852),
        (1.1, 0.04851779666767, 1.39930808682464, 0.77635),
        (2.0, 1.780, 18.46, 0.8762),
        (9 / 16, -0.0284, 0.02676, 0.9406),
    ],
)
def test_selus_fixed_points_are_the_known_ones(tau, mu, nu, radius):
    """To the digits that are known."""
    found, known = fixed_point("selu", tau=tau), 1e-12 if 0.9 < tau < 1.2 else 5e-4
    assert found.mu == pytest.approx(mu, abs=known) and found.nu == pytest.approx(nu, rel=known)
    assert found.spectral_radius == pytest.approx(radius, abs=1e-12 if tau == 1 else 1e-4) and found.attracting
    np.testing.assert_array_equal(found.jacobian, jacobian("selu", found.mu, found.nu, 0.0, tau))


def test_the_variance_answers_to_tau_with_a_slope_of_three_point_six():
    above, below = (fixed_point("selu", tau=1 + h).nu for h in (1e-5, -1e-5))
    assert (above - below) / 2e-5 == pytest.approx(3.600829, rel=1e-6)


@pytest.mark.parametrize("name, omega, tau", [("selu", 0.1, 1.1), ("tanh", 0.3, 2.0), ("elu", 0.0, 2.0)])
def test_iteration_leads_to_an_attracting_fixed_point(name, omega, tau):
    found = fixed_point(name, omega, tau)
    end = iterate(name, 0.2, 0.7, 400, omega, tau)[-1]
    np.testing.assert_allclose([found.mu, found.nu], end, rtol=1e-12, atol=1e-14)
    assert found.attracting


@pytest.mark.parametrize("mu, nu, radius", [("-0.1", "2", 1.1084), ("0.1", "1", 1.0617)])
def test_fixed_points_that_iteration_runs_away_from_are_found_and_called_repelling(mu, nu, radius):
    alpha, lam = selu_constants(mu, nu, omega=1)
    found = fixed_point(activations.selu(alpha, lam), omega=1.0)
    assert (found.mu, found.nu) == pytest.approx((float(mu), float(nu)), rel=1e-12)
    assert not found.attracting and found.spectral_radius == pytest.approx(radius, abs=1e-4)
    path = iterate(activations.selu(alpha, lam), found.mu + 1e-3, found.nu, 60, omega=1.0)
    assert abs(path[-1, 0] - found.mu) > 0.01


def test_without_a_mean_selu_repels_for_large_omega():
    """Linear stability of (0, 1) at tau = 1 ends at omega = -1.030787 and 0.901659."""
    inside, outside = (-1.0307, 0.9016), (-1.0309, 0.9017)
    assert all(fixed_point("selu", omega).attracting for omega in inside)
    assert not any(fixed_point("selu", omega).attracting for omega in outside)
    assert fixed_point("selu", 1.0).spectral_radius == pytest.approx(1.07675, abs=1e-5)


def test_gelu_has_a_fixed_point_between_dying_out_and_growing():
    """It repels: below it the variance dies out, above it grows; from nu = 1 it takes a search."""
    found = fixed_point("gelu", tau=3.0)
    assert not found.attracting and found.spectral_radius > 1
    assert moment_map("gelu", 0.0, found.nu, 0.0, 3.0) == pytest.approx((found.mu, found.nu), rel=1e-12)
    ends = iterate("gelu", 0.0, found.nu * np.array([0.9, 1.1]), 40, 0.0, 3.0)[-1, :, 1]
    assert ends[0] < 0.5 * found.nu and ends[1] > 2 * found.nu
    assert fixed_point("gelu", tau=3.0, start=(0.0, 1e3)).nu == pytest.approx(found.nu, rel=1e-12)


def test_relu_that_keeps_every_variance_has_a_fixed_point_that_does_not_attract():
    tau = 2 / (1 - 1 / np.pi)
    found = fixed_point("relu", tau=tau, start=(0.5, 3.0))
    assert found.mu == pytest.approx(np.sqrt(found.nu * tau / (2 * np.pi)), rel=1e-12)
    assert found.spectral_radius == pytest.approx(1, abs=1e-14) and not found.attracting
    assert fixed_point("identity", start=(0.0, 3.0)).nu == pytest.approx(3.0, rel=1e-12)


@pytest.mark.parametrize(
    "name, omega, tau, what",
    [
        ("tanh", 0.0, 1.0, r"dies out slowly \(.* nu = 5\.0e-04 after 1000 layers"),  # like 1 / (2 l)
        ("tanh", 0.0, 0.5, "dies out"),
        ("sigmoid", 0.0, 1.0, "dies out"),
        ("relu", 0.0, 1.0, "variance dies out"),
        ("selu", 0.0, 0.4, "dies out"),  # below 2 / (lambda^2 (1 + alpha^2)) = 0.477, less the mean's share
        ("elu", 0.0, 1.0, "dies out slowly"),
        ("selu", 0.0, 0.0, "after 1 layers"),
        ("relu", 0.0, 3.0, "grow"),
        ("selu", 0.0, 5.0, "grow without bound"),
        ("relu", 2.0, 1.0, "grow without bound"),
        ("relu", 1.0, 1.0, "has not settled"),  # the mean creeps upwards for ever
    ],
)
def test_where_there_is_no_fixed_point_the_error_says_what_happens(name, omega, tau, what):
    with pytest.raises(NoFixedPointError, match=f"{name} with omega = {omega:g}, tau = {tau:g} .*{what}"):
        fixed_point(name, omega, tau)


# --- SELU's constants ------------------------------------------------------------------------------------------------


def test_selus_constants_are_exact_to_every_digit():
    alpha, lam = selu_constants(digits=50)
    with mp.workdps(70):  # Klambauer et al. (2017), equation 14
        e = mp.erfc(1 / mp.sqrt(2)) * mp.sqrt(mp.e)
        root = 2 * mp.erfc(mp.sqrt(2)) * mp.e**2 + mp.pi * e**2 - 2 * (2 + mp.pi) * e + mp.pi + 2
        exact = -mp.sqrt(2 / mp.pi) / (e - 1), (1 - e) * mp.sqrt(2 * mp.pi) / mp.sqrt(root)
    assert (mp.nstr(alpha, 50), mp.nstr(lam, 50)) == tuple(mp.nstr(x, 50) for x in exact)
    assert (mp.nstr(alpha, 40), mp.nstr(lam, 40)) == (ALPHA, LAM)
    assert selu_constants() == (SELU_ALPHA, SELU_LAMBDA)
    assert all(type(x) is float for x in selu_constants())


@pytest.mark.parametrize("target", OTHERS)
def test_constants_for_other_targets_are_the_known_ones(target):
    mu, nu, omega = target
    for found, known in zip(selu_constants(mu, nu, 30, omega=omega), OTHERS[target], strict=True):
        assert mp.nstr(found, len(known) - 1 - (known[0] == "0")) == known


@pytest.mark.parametrize("mu, nu, omega, tau", [("-2", "14", "-0.5", "1.3"), ("0.4", "0.7", "0.8", "0.9")])
def test_constants_make_the_target_a_fixed_point(mu, nu, omega, tau):
    alpha, lam = selu_constants(mu, nu, omega=omega, tau=tau)
    target = float(mu), float(nu)
    assert moment_map(activations.selu(alpha, lam), *target, float(omega), float(tau)) == pytest.approx(target, 1e-13)


def test_narrow_and_wide_targets_lose_no_digits():
    """As nu goes to 0, f becomes linear: alpha, lam -> 1; digits are compared with those of twice as many."""
    for nu in ("1e-40", "1e-8", "1e6"):
        few, many = (selu_constants(0, nu, digits) for digits in (30, 60))
        assert [mp.nstr(x, 30) for x in few] == [mp.nstr(x, 30) for x in many]
    alpha, lam = selu_constants(0, "1e-40", 30)
    assert abs(alpha - 1) < 1e-19 and abs(lam - 1) < 1e-19


def test_numbers_are_taken_as_they_are_and_the_precision_is_left_alone():
    before = mp.mp.dps
    decimal, binary = selu_constants("0.1", digits=40), selu_constants(0.1, digits=40)
    assert decimal == selu_constants(Fraction(1, 10), digits=40) != binary
    assert binary == selu_constants(Fraction(0.1), digits=40) == selu_constants(mp.mpf(0.1), digits=40)
    assert abs(decimal[0] / binary[0] - 1) < 1e-15
    assert mp.mp.dps == before


def test_a_target_out_of_reach_is_refused_with_what_is_possible():
    """With omega = 0, the limit is that of relu, mean / standard deviation = 1 / sqrt(pi - 1) = 0.683; on the other
    side it is that of min(e^z - 1, 0)."""
    limit = 1 / np.sqrt(np.pi - 1)
    alpha, _ = selu_constants(limit * (1 - 1e-6), 1.0)
    assert 0 < alpha < 1e-5
    with pytest.raises(ValueError, match=r"mu = 0.7, nu = 1.0: .* must be below 0.683332 for a positive mean"):
        selu_constants(0.7, 1.0)
    Q, T = (mp.quad(lambda z, k=k: (-mp.expm1(z)) ** k * mp.npdf(z), [-40, -5, 0]) for k in (1, 2))
    bound = mp.nstr(Q / mp.sqrt(T - Q**2), 6)
    assert bound == "0.803261"
    with pytest.raises(ValueError, match=rf"must be below {bound} for a negative mean"):
        selu_constants(-0.81, 1.0)
    assert selu_constants(-0.8, 1.0)[0] > 50


# --- alpha dropout ---------------------------------------------------------------------------------------------------


def test_alpha_dropouts_constants_are_the_known_ones_and_torchs():
    a, b = alpha_dropout_affine([0.05, 0.1])
    assert a.tolist() == pytest.approx([0.95484447600503087638620867910, 0.92128451614971148272842882848], rel=1e-15)
    assert b.tolist() == pytest.approx([0.083935572193810186713131025102, 0.16197097005757022793817572563], rel=1e-15)
    x = torch.linspace(-2, 2, 1000, dtype=torch.float64)
    torch.manual_seed(0)
    for rate in (0.05, 0.3, 0.9):
        a, b = alpha_dropout_affine(rate)
        y = torch.nn.functional.alpha_dropout(x, rate, training=True).numpy()
        kept, dropped = a * x.numpy() + b, a * -SELU_LAMBDA * SELU_ALPHA + b
        assert np.minimum(np.abs(y - kept), np.abs(y - dropped)).max() < 1e-14


@pytest.mark.parametrize("mu, nu, alpha, lam", [(0.0, 1.0, SELU_ALPHA, SELU_LAMBDA), (0.4, 2.5, 1.3, 1.1)])
def test_alpha_dropout_keeps_mean_and_variance(mu, nu, alpha, lam):
    """From E[d x + (1 - d) s] and its square for a coin d and an independent x, in exact arithmetic."""
    for rate in (0.0, 0.2, 0.99):
        a, b = alpha_dropout_affine(rate, mu, nu, alpha, lam)
        q, s = 1 - rate, -lam * alpha
        mean = q * mu + rate * s
        square = q * (nu + mu**2) + rate * s**2
        assert a * mean + b == pytest.approx(mu, abs=1e-14)
        assert a**2 * (square - mean**2) == pytest.approx(nu, rel=1e-12)
    assert alpha_dropout_affine(0.0, mu, nu) == (1, 0)


# --- errors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: moment_map("selu", 0.0, -1.0), "nu must not be negative, got -1.0: it is a variance"),
        (lambda: moment_map("selu", 0.0, 1.0, 0.0, [1.0, -0.5]), "tau must not be negative, got -0.5: it is a sum"),
        (lambda: moment_map("tanh", np.nan, 1.0), "mu must be finite, got nan"),
        (lambda: moment_map("tanh", 0.0, np.inf), "nu must be finite, got inf"),
        (lambda: moment_map("tanh", 0.0, 1.0, -np.inf), "omega must be finite, got -inf"),
        (lambda: moment_map("selu", 1e200, 1.0, 1e200), "mu omega must be finite"),
        (lambda: moment_map("cosine", 0.0, 1.0), "unknown activation 'cosine'"),
        (lambda: jacobian("selu", 0.0, 0.0), "the Jacobian needs nu tau > 0"),
        (lambda: jacobian("selu", 0.0, 1.0, 0.0, np.nan), "tau must be finite, got nan"),
        (lambda: iterate("selu", 0.0, 1.0, -1), "steps must be at least 0, got -1"),
        (lambda: fixed_point("selu", start=(0.0, 0.0)), "start must have a positive variance, got nu = 0.0"),
        (lambda: fixed_point("selu", start=(np.inf, 1.0)), "mu must be finite, got inf"),
        (lambda: fixed_point("selu", tau=-1.0), "tau must not be negative, got -1.0"),
        (lambda: selu_constants(0.0, 0.0), "nu must be positive, got 0.0"),
        (lambda: selu_constants(0.0, 1.0, tau=-2), "tau must be positive, got -2"),
        (lambda: selu_constants(float("inf")), "mu must be a finite number, got inf"),
        (lambda: selu_constants("much"), "mu must be a finite number, got 'much'"),
        (lambda: selu_constants(digits=0), "digits must be at least 1, got 0"),
        (lambda: alpha_dropout_affine(1.0), r"rate must be in \[0, 1\), got 1.0"),
        (lambda: alpha_dropout_affine([0.1, np.nan]), r"rate must be in \[0, 1\), got nan"),
        (lambda: alpha_dropout_affine(0.1, nu=0.0), "nu must be positive, got 0.0"),
        (lambda: alpha_dropout_affine(0.1, mu=np.inf), "mu must be finite, got inf"),
    ],
)
def test_impossible_arguments_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


# --- accuracy, which takes longest ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "alpha, lam, n",
    [(SELU_ALPHA, SELU_LAMBDA, 250), (1.0, 1.0, 120), (0.0, 1.0, 120), (0.3, 2.0, 60), (50.0, 0.7, 60)],
)
def test_the_exponential_linear_family_agrees_with_mpmath_over_the_whole_range(alpha, lam, n):
    """To 1e-11, of the value; where mu~ is close to 0, of a thousandth of the standard deviation."""
    points = np.concatenate([CORNERS, sample(n)])
    values = computed(activations.selu(alpha, lam), points)
    for i, point in enumerate(points):
        exact = by_the_papers_formulas(point, alpha, lam)
        floor = [mp.mpf("1e-3") * mp.sqrt(abs(exact[1])), 0, 0, 0, 0, 0]
        assert max(errors(values[:, i], exact, floor)) < 1e-11, point


@pytest.mark.parametrize("name, alpha, lam", [("selu", SELU_ALPHA, SELU_LAMBDA), ("elu", 1, 1), ("relu", 0, 1)])
def test_names_and_constants_mean_the_same(name, alpha, lam):
    points = sample(50)
    np.testing.assert_array_equal(computed(name, points), computed(activations.selu(alpha, lam), points))


@pytest.mark.parametrize("point", [(0.3, 1.2, 0.5, 0.9), (-2.0, 0.04, 1.0, 1.0), (0.1, 30.0, -1.0, 2.0)])
def test_the_papers_formulas_are_the_integrals(point):
    """What the test above relies on, by numerical integration."""
    mu, nu, omega, tau = (mp.mpf(x) for x in point)
    m, s = mu * omega, mp.sqrt(nu * tau)
    f = lambda z: LAMBDA * (z if z > 0 else SELU_ALPHA * mp.expm1(z))  # noqa: E731
    LAMBDA, cuts = mp.mpf(SELU_LAMBDA), sorted({m - 40 * s, m - 5 * s, m, m + 5 * s, m + 40 * s, mp.mpf(0)})
    mean, square = (mp.quad(lambda z, k=k: f(z) ** k * mp.npdf(z, m, s), cuts) for k in (1, 2))
    exact = by_the_papers_formulas(point, SELU_ALPHA, SELU_LAMBDA)
    assert abs(exact[0] - mean) < 1e-20 and abs(exact[1] - (square - mean**2)) < 1e-20
    h = mp.mpf("1e-20")
    for k, j in ((0, 2), (1, 3)):  # the columns of the Jacobian, by difference quotients with enough digits
        with mp.workdps(80):
            shifted = [[x + sign * h * (i == k) for i, x in enumerate((mu, nu, omega, tau))] for sign in (1, -1)]
            a, b = (by_exact_numbers(p) for p in shifted)
        assert abs((a[0] - b[0]) / (2 * h) - exact[j]) < 1e-18
        assert abs((a[1] - b[1]) / (2 * h) - exact[j + 2]) < 1e-18


def by_exact_numbers(point):
    """(mu~, nu~) of SELU for mpmath numbers, from E[e^(jz); z <= 0] and the moments of the positive part."""
    mu, nu, omega, tau = point
    m, v, alpha, lam = mu * omega, nu * tau, mp.mpf(SELU_ALPHA), mp.mpf(SELU_LAMBDA)
    e0, e1, e2 = (mp.exp(j * m + j * j * v / 2) * mp.ncdf(-(m + j * v) / mp.sqrt(v)) for j in (0, 1, 2))
    bell = mp.sqrt(v) * mp.npdf(m / mp.sqrt(v))
    mean = lam * (m * (1 - e0) + bell - alpha * (e0 - e1))
    return mean, lam**2 * ((m * m + v) * (1 - e0) + m * bell + alpha**2 * (e0 - 2 * e1 + e2)) - mean**2


def test_far_beyond_the_range_nothing_breaks():
    mu = np.array([1e6, -1e6, 1e5, -50.0, -50.0, 0.0, 1e-9, 0.0, -1e4])
    nu = np.array([1e-30, 1e-30, 1e8, 1e-20, 4.0, 1e-30, 1e-18, 1e12, 1e4])
    with np.errstate(all="raise"):
        mean, variance = moment_map("selu", mu, nu, 1.0, 1.0)
        H = jacobian("selu", mu, nu, 1.0, 1.0)
    for k in range(2, 8):
        exact = by_the_papers_formulas((mu[k], nu[k], 1.0, 1.0), SELU_ALPHA, SELU_LAMBDA)
        assert errors([mean[k], variance[k], *H[k].ravel()], exact, [0] * 6) == pytest.approx([0] * 6, abs=2e-11), k
    assert mean[[0, 1, 8]] == pytest.approx([SELU_LAMBDA * 1e6] + [-SELU_LAMBDA * SELU_ALPHA] * 2, rel=1e-15)
    assert variance[[0, 1, 8]].tolist() == [pytest.approx(SELU_LAMBDA**2 * 1e-30), 0, 0]
    assert H[8].tolist() == [[0, 0], [0, 0]]


# --- quadrature ------------------------------------------------------------------------------------------------------

EXACT = {  # what has no closed form here
    name: pair for name, pair in REFERENCE.items() if not activations.get(name).exponential_linear
}
NODES = [(node, weight) for node, weight in mp.calculus.quadrature.GaussLegendre(mp.mp).calc_nodes(4, 120)]
HARD = np.array(  # saturated, narrow, at the minima of gelu and silu, where the rules change, wide
    [
        (10, 1e-6, 1, 0.1),
        (-10, 1e-6, 1, 0.1),
        (-0.7517915246935645, 1e-6, 1, 0.1),
        (-1.2784645427610738, 1e-6, 1, 0.1),
        (10, 0.02, 1, 1),
        (-10, 4, 1, 1),
        (-1.5, 0.0101, 1, 1),
        (0.76, 0.0099, 1, 1),
        (1e-3, 1e-6, 1, 0.1),
        (10, 100, 0.1, 10),
    ]
)


def by_quadrature(name, point):
    """The six, as above, and what each is to be compared with near a zero: by Gauss-Legendre with 50 digits."""
    (f, slope), (mu, nu, omega, tau) = EXACT[name], (mp.mpf(float(x)) for x in point)
    m, s = mu * omega, mp.sqrt(nu * tau)
    cuts = {mp.mpf(x) for x in range(-18, 19, 6)} | {(c - m) / s for c in (0, -2, 2, -5, 5, -12, 12, -40, 40)}
    cuts = sorted(x for x in cuts if abs(x) <= 18)
    sums, sizes = [mp.mpf(0)] * 6, [mp.mpf(0)] * 6
    for left, right in itertools.pairwise(cuts):
        for node, weight in NODES:
            x = ((right - left) * node + left + right) / 2
            d, k = f(m + s * x) - f(m), slope(m + s * x)
            terms = [weight * (right - left) / 2 * mp.npdf(x) * t for t in (d, d * d, k, k * x, d * k, d * k * x)]
            sums = [a + b for a, b in zip(sums, terms, strict=True)]
            sizes = [a + abs(b) for a, b in zip(sizes, terms, strict=True)]
    mean, square, *rest = sums
    variance = square - mean**2
    exact = [f(m) + mean, variance, omega * rest[0], tau * rest[1] / (2 * s)]
    exact += [2 * omega * (rest[2] - mean * rest[0]), tau * (rest[3] - mean * rest[1]) / s]
    scales = [mp.sqrt(variance), 0, abs(omega) * sizes[2], tau * sizes[3] / (2 * s), 2 * abs(omega) * sizes[4], 0]
    return exact, [x / 1000 for x in scales]


def test_the_table_covers_what_has_no_closed_form():
    closed = {name for name in activations.names() if activations.get(name).exponential_linear}
    assert closed == set(activations.names()) - set(EXACT) == {"relu", "elu", "selu"}


@pytest.mark.parametrize("name", EXACT)
def test_every_other_activation_agrees_with_mpmath_over_the_whole_range(name):
    """To 1e-9, relative to the value or to a thousandth of the integral of the absolute value."""
    points = np.concatenate([HARD, sample(9, seed=1)])
    values = computed(name, points)
    for i, point in enumerate(points):
        assert max(errors(values[:, i], *by_quadrature(name, point))) < 1e-9, point


def test_an_activation_of_ones_own_goes_by_quadrature():
    """z^2 has mean m^2 + v and variance 4 m^2 v + 2 v^2; its name does not matter."""
    square = activations.Activation("tanh", lambda z: np.square(z), lambda z: 2 * np.asarray(z))
    m, v = np.array([0.0, -3.0, 1e-3, 8.0]), np.array([1.0, 1e-7, 1e-4, 50.0])
    mean, variance = moment_map(square, m, v, 1.0)
    np.testing.assert_allclose(mean, m**2 + v, rtol=1e-13)
    np.testing.assert_allclose(variance, 4 * m**2 * v + 2 * v**2, rtol=1e-12)
    H = jacobian(square, m, v, 1.0)
    np.testing.assert_allclose(H, np.moveaxis([[2 * m, m**0], [8 * m * v, 4 * m**2 + 4 * v]], -1, 0), 1e-12, 1e-14)
