"""Expectations against closed forms, mpmath's own quadrature, and SciPy's."""

import mpmath as mp
import numpy as np
import pytest
from scipy import integrate, special

from snnlib import activations
from snnlib.gaussian import expectation

mp.mp.dps = 30


def by_mpmath(f, mean, variance):
    density = lambda z: mp.npdf(z, mean, mp.sqrt(variance))  # noqa: E731
    reach = 40 * mp.sqrt(variance)
    return float(mp.quad(lambda z: f(z) * density(z), sorted([mean - reach, mp.mpf(0), mean, mean + reach])))


@pytest.mark.parametrize("power, moment", [(0, 1), (1, 0), (2, 1), (3, 0), (4, 3), (6, 15), (10, 945)])
def test_moments_of_the_standard_normal(power, moment):
    assert expectation(lambda z: z**power) == pytest.approx(moment, rel=1e-13, abs=1e-13)


def test_relu_has_the_moments_of_the_half_normal():
    relu = activations.get("relu")
    variance = np.array([1e-8, 0.3, 1.0, 50.0, 1e6])
    np.testing.assert_allclose(
        expectation(relu.f, 0, variance, relu.kinks), np.sqrt(variance / (2 * np.pi)), rtol=1e-13
    )
    np.testing.assert_allclose(expectation(lambda z: relu.f(z) ** 2, 0, variance, relu.kinks), variance / 2, rtol=1e-13)


def test_exponential_has_the_mean_of_the_log_normal():
    assert expectation(np.exp, 0.3, 2.0) == pytest.approx(np.exp(0.3 + 1.0), rel=1e-13)


@pytest.mark.parametrize("mean, variance", [(0.0, 1.0), (-1.5, 0.2), (0.7, 9.0), (2.0, 0.01)])
def test_selu_agrees_with_mpmath(mean, variance):
    selu = activations.selu()

    def exact(z):
        return activations.SELU_LAMBDA * (z if z > 0 else activations.SELU_ALPHA * mp.expm1(z))

    value = expectation(selu.f, mean, variance, selu.kinks)
    assert value == pytest.approx(by_mpmath(exact, mp.mpf(mean), mp.mpf(variance)), rel=1e-12, abs=1e-14)


def test_selu_keeps_mean_zero_and_variance_one():
    selu = activations.selu()
    assert abs(expectation(selu.f, kinks=selu.kinks)) < 1e-15
    assert expectation(lambda z: selu.f(z) ** 2, kinks=selu.kinks) == pytest.approx(1, abs=1e-14)


@pytest.mark.parametrize(
    "name, mean, second, slope",  # at N(0, 1), from closed forms and 20-digit quadrature
    [
        ("tanh", 0, 0.39429449039784117442, 0.46440290244826824197),
        ("relu", 0.39894228040143267794, 0.5, 0.5),
        ("selu", 0, 1, 1.0715749924557992576),
        ("gelu", 0.28209479177387814347, 0.42522148257029867492, 0.45585086564928712211),
    ],
)
def test_values_known_from_the_literature(name, mean, second, slope):
    a = activations.get(name)
    assert expectation(a.f, kinks=a.kinks) == pytest.approx(mean, rel=1e-13, abs=1e-14)
    assert expectation(lambda z: a.f(z) ** 2, kinks=a.kinks) == pytest.approx(second, rel=1e-13)
    assert expectation(lambda z: a.derivative(z) ** 2, kinks=a.kinks) == pytest.approx(slope, rel=1e-13)


def test_mean_and_variance_broadcast_and_scalars_stay_scalars():
    grid = expectation(np.square, np.array([[0.0], [1.0], [2.0]]), np.array([0.0, 1.0]))
    np.testing.assert_allclose(grid, [[0, 1], [1, 2], [4, 5]], rtol=1e-13, atol=1e-15)
    assert np.ndim(expectation(np.square)) == 0
    assert expectation(np.square, np.zeros((0,)), 1.0).shape == (0,)


def test_many_pairs_give_the_same_as_one_at_a_time():
    mean, variance = np.linspace(-1, 1, 600), np.linspace(0.1, 3, 600)
    together = expectation(np.tanh, mean, variance)
    assert together[[0, 299, 599]].tolist() == pytest.approx(
        [float(expectation(np.tanh, mean[i], variance[i])) for i in (0, 299, 599)], rel=1e-14
    )


def test_a_point_mass_gives_the_value_at_the_mean():
    assert expectation(np.exp, 1.5, 0.0, kinks=(0.0,)) == pytest.approx(np.exp(1.5), rel=1e-13)


def test_a_jump_is_found_even_when_it_is_not_named():
    step = lambda z: (z > 0.3).astype(float)  # noqa: E731
    exact = float(mp.ncdf(-0.3))
    assert expectation(step, kinks=(0.3,)) == pytest.approx(exact, rel=1e-13)
    assert expectation(step) == pytest.approx(exact, rel=1e-11)


def test_kinks_that_are_not_named_are_found_wherever_they_are():
    mean, variance = np.linspace(-4, 4, 2001), 0.25
    found = expectation(lambda z: np.maximum(z, 0), mean, variance)
    std = np.sqrt(variance)
    exact = mean * special.ndtr(mean / std) + std * np.exp(-((mean / std) ** 2) / 2) / np.sqrt(2 * np.pi)
    np.testing.assert_allclose(found, exact, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("mean, std", [(-5.0, 1.0), (-10.0, 1.0), (-3.0, 0.25)])
def test_what_lies_far_in_the_tail_keeps_its_digits(mean, std):
    relu, m, s = activations.get("relu"), mp.mpf(mean), mp.mpf(std)
    exact = float(m * mp.ncdf(m / s) + s * mp.npdf(m / s))
    assert 0 < exact < 1e-6
    assert expectation(relu.f, mean, std**2, relu.kinks) == pytest.approx(exact, rel=1e-11, abs=0)


def test_what_is_narrow_within_a_wide_gaussian_is_not_missed():
    """relu is odd but for |z| / 2, so that a coarse symmetric rule takes gelu for it and is content."""
    gelu, std = activations.get("gelu"), mp.mpf(100)
    excess = mp.quad(  # E[relu(Z)^2] - E[gelu(Z)^2], all of it near 0
        lambda z: 2 * z**2 * mp.ncdf(z) * mp.ncdf(-z) * mp.npdf(z, 0, std), [0, 1, 3, 6, 12]
    )
    found = expectation(lambda z: gelu.f(z) ** 2, 0.0, 1e4)
    assert found == pytest.approx(float(std**2 / 2 - excess), rel=1e-14)


@pytest.mark.parametrize("variance", [1e-2, 1.0, 10.0, 50.0])
def test_exponentials_are_followed_to_where_they_weigh(variance):
    assert expectation(np.exp, 0.0, variance) == pytest.approx(np.exp(variance / 2), rel=1e-12)


@pytest.mark.parametrize("rate", [0.1, 0.25, 0.3, 0.34])
def test_tails_fatter_than_those_of_a_gaussian_are_followed(rate):
    """E[exp(rate Z^2)] = (1 - 2 rate)^(-1/2): the integrand at 12 standard deviations is up to 1e-10."""
    assert expectation(lambda z: np.exp(rate * z * z)) == pytest.approx((1 - 2 * rate) ** -0.5, rel=1e-12)


MEANS, VARIANCES = np.array([-10.0, -0.3, 0.0, 10.0]), 10.0 ** np.array([-8, -1, 0, 2, 4])


def against_mpmath(function, activation):
    """The largest error, relative to max(1, |value|), over a wide range of means and variances."""
    ours = expectation(function, MEANS[:, None], VARIANCES, activation.kinks)
    worst = 0.0
    for (i, k), value in np.ndenumerate(ours):
        mean, std = mp.mpf(MEANS[i]), mp.sqrt(mp.mpf(VARIANCES[k]))
        cuts = {mean + j * std for j in (-14, -7, 0, 7, 14)} | {
            mp.mpf(c) for c in (-40, -10, -3, 0, 3, 10, 40) if abs(c - mean) < 14 * std
        }
        # mpmath integrates, in double precision per point: h is an activation, checked elsewhere against mpmath itself
        density = lambda z, mean=mean, std=std: mp.npdf(z, mean, std)  # noqa: E731
        exact = mp.quad(lambda z, d=density: mp.mpf(float(function(float(z)))) * d(z), sorted(cuts), maxdegree=7)
        worst = max(worst, float(abs(value - exact)) / max(1.0, abs(float(exact))))
    return worst


@pytest.mark.parametrize("name", ["tanh", "selu", "gelu"])
def test_wide_and_narrow_gaussians_agree_with_mpmath(name):
    a = activations.get(name)
    assert against_mpmath(lambda z: a.f(z) ** 2, a) < 1e-10
    assert against_mpmath(lambda z: a.derivative(z) ** 2, a) < 1e-10


def against_quad(function, kinks, mean, variance):
    """The largest difference to scipy.integrate.quad, relative to max(1, |value|), over arrays of pairs."""
    ours, worst = expectation(function, mean, variance, kinks), 0.0
    for value, m, s in zip(ours, mean, np.sqrt(variance), strict=True):
        cuts = [c for c in (-30, -3, 0, 3, 30) if abs(c - m) < 10 * s] + [m - 3 * s, m, m + 3 * s]

        def integrand(x, m=m, s=s):
            return float(function(m + s * x)) * np.exp(-x * x / 2) / np.sqrt(2 * np.pi)

        points = [(c - m) / s for c in cuts]
        exact = integrate.quad(integrand, -10, 10, points=points, epsabs=1e-13, epsrel=1e-12, limit=200)[0]
        worst = max(worst, abs(value - exact) / max(1, abs(exact)))
    return worst


@pytest.mark.parametrize("name", activations.names())
def test_every_activation_agrees_with_scipy_over_a_wide_range(name):
    a, rng = activations.get(name), np.random.default_rng(0)
    mean, variance = rng.uniform(-10, 10, 40), 10 ** rng.uniform(-8, 4, 40)
    for h in (a.f, lambda z: a.f(z) ** 2, lambda z: a.derivative(z) ** 2):
        assert against_quad(h, a.kinks, mean, variance) < 1e-10


@pytest.mark.parametrize("name", activations.names())
def test_every_activation_is_integrated_without_warning(name):
    a = activations.get(name)
    with np.errstate(all="raise", under="ignore"):
        for h in (a.f, lambda z: a.f(z) ** 2, lambda z: a.derivative(z) ** 2):
            assert np.isfinite(expectation(h, MEANS[:, None], VARIANCES, a.kinks)).all()


def test_a_function_that_is_not_finite_or_grows_too_fast_is_refused():
    with pytest.raises(ValueError, match="is not finite"):
        expectation(lambda z: np.where(z > 2, np.nan, z), 0.5, 1.0)
    for rate in (1.0, 0.4):  # the integral of the second is finite, but not within reach
        with pytest.raises(ValueError, match=r"mean 0, variance 1 .*grows too fast"):
            expectation(lambda z, rate=rate: np.exp(rate * z * z))
    with np.errstate(all="raise"), pytest.raises(ValueError, match=r"mean -3, variance 0.25 is not finite"):
        expectation(lambda z: np.where(z > 2, np.inf, np.where(z < -1, -np.inf, z)), [-3, 0.5], 0.25)


@pytest.mark.parametrize(
    "mean, variance, message",
    [
        (0, -1, "variance must not be negative, got -1"),
        (np.nan, 1, "mean must be finite, got nan"),
        (0, np.inf, "variance"),
    ],
)
def test_impossible_arguments_are_refused(mean, variance, message):
    with pytest.raises(ValueError, match=message):
        expectation(np.square, mean, variance)
