"""Expectations against closed forms and mpmath's own quadrature."""

import mpmath as mp
import numpy as np
import pytest

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


def test_a_jump_that_is_not_named_is_refused_and_a_named_one_is_exact():
    step = lambda z: (z > 0.3).astype(float)  # noqa: E731
    with pytest.raises(ValueError, match="does not settle.*kinks"):
        expectation(step)
    assert expectation(step, kinks=(0.3,)) == pytest.approx(float(mp.ncdf(-0.3)), rel=1e-13)


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
