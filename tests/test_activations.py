"""Values and derivatives against mpmath (50 digits) and torch, over |z| <= 50 and at the kinks."""

import subprocess
import sys

import mpmath as mp
import numpy as np
import pytest
import torch
from activations_reference import EXACT

from snnlib import activations

mp.mp.dps = 50

AT_ZERO = {  # the derivative from the left, the convention at a kink
    "identity": 1,
    "sigmoid": 0.25,
    "tanh": 1,
    "relu": 0,
    "leaky_relu": 0.01,
    "elu": 1,
    "selu": 1.6732632423543772848 * 1.0507009873554804934,
    "gelu": 0.5,
    "silu": 0.5,
}
# 0.3 keeps the points off the kinks, where a difference quotient of mpmath would straddle them
POINTS = np.concatenate([np.linspace(-50, 50, 41) + 0.3, [-1.0, -1e-3, -1e-9, 1e-9, 1e-3, 1.0]])


def relative(value, exact):
    """The error, relative to the exact value, or absolute where that is below 1e-290 (float64 underflows there)."""
    return float(abs(mp.mpf(float(value)) - exact) / max(abs(exact), mp.mpf("1e-290")))


def test_the_tables_above_cover_every_activation():
    assert tuple(EXACT) == tuple(AT_ZERO) == activations.names()


def test_constants_are_the_correctly_rounded_ones_of_the_closed_form():
    e = mp.erfc(1 / mp.sqrt(2)) * mp.sqrt(mp.e)
    alpha = -mp.sqrt(2 / mp.pi) / (e - 1)
    root = 2 * mp.erfc(mp.sqrt(2)) * mp.e**2 + mp.pi * e**2 - 2 * (2 + mp.pi) * e + mp.pi + 2
    lam = (1 - e) * mp.sqrt(2 * mp.pi) / mp.sqrt(root)
    assert activations.SELU_ALPHA == float(alpha)
    assert activations.SELU_LAMBDA == float(lam)


@pytest.mark.parametrize("name", activations.names())
def test_value_equals_mpmath(name):
    f = activations.get(name).f
    for z in POINTS:
        exact = EXACT[name][0](mp.mpf(float(z)))
        # the normal distribution function of SciPy loses digits in its far tail, as exp(-z^2 / 2) must: eps * z^2
        assert relative(f(z), exact) < 4e-16 * max(4, z * z), z


@pytest.mark.parametrize("name", activations.names())
def test_derivative_equals_the_derivative_of_mpmath(name):
    derivative = activations.get(name).derivative
    for z in POINTS:
        exact = mp.diff(EXACT[name][0], mp.mpf(float(z)), h=mp.mpf("1e-20"))
        assert relative(derivative(z), exact) < 4e-16 * max(8, z * z), z


@pytest.mark.parametrize("name", activations.names())
def test_derivative_at_zero_is_the_left_one(name):
    activation = activations.get(name)
    assert activation.derivative(0.0) == pytest.approx(AT_ZERO[name], rel=1e-15)
    assert activation.derivative(-1e-12) == pytest.approx(AT_ZERO[name], rel=1e-10)


@pytest.mark.parametrize("name", activations.names())
def test_kinks_are_named_where_second_derivatives_jump(name):
    """Divided second differences from both sides of 0 differ exactly where a kink is declared."""

    def second(side):
        return mp.diff(EXACT[name][0], 0, 2, direction=side, h=mp.mpf("1e-15"))

    def first(side):
        return mp.diff(EXACT[name][0], 0, 1, direction=side, h=mp.mpf("1e-15"))

    jumps = max(abs(first(1) - first(-1)), abs(second(1) - second(-1))) > 1e-6
    assert activations.get(name).kinks == ((0.0,) if jumps else ())


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize("activation", [*activations.names(), activations.selu(1.2, 0.9)], ids=str)
def test_module_is_the_torch_twin(activation, device):
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("no GPU")
    activation = activations.get(activation)
    z = torch.linspace(-50, 50, 2001, dtype=torch.float64, device=device, requires_grad=True)  # contains 0, the kink
    y = activation.module()(z)
    (slope,) = torch.autograd.grad(y.sum(), z)
    z = z.detach().cpu().numpy()
    np.testing.assert_allclose(activation.f(z), y.detach().cpu(), rtol=0, atol=1e-14)
    np.testing.assert_allclose(activation.derivative(z), slope.cpu(), rtol=0, atol=1e-14)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", activations.names())
def test_shared_computation_agrees_and_types_are_kept(name, dtype):
    activation = activations.get(name)
    z = np.linspace(-50, 50, 4001).astype(dtype)
    y, slope = activation.value_and_derivative(z)
    assert y.dtype == slope.dtype == activation.f(z).dtype == activation.derivative(z).dtype == dtype
    np.testing.assert_array_equal(y, activation.f(z))
    np.testing.assert_allclose(slope, activation.derivative(z), rtol=0, atol=10 * np.finfo(dtype).eps)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", activations.names())
def test_no_finite_argument_overflows(name, dtype):
    huge = np.finfo(dtype).max / 4
    z = np.array([-huge, -1e30, -1e4, -800, -100, 0, 100, 800, 1e4, 1e30, huge], dtype)
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        activation = activations.get(name)
        values = [activation.f(z), activation.derivative(z), *activation.value_and_derivative(z)]
    assert all(np.isfinite(v).all() for v in values)


@pytest.mark.parametrize("name", activations.names())
def test_complex_arguments_continue_the_branch_of_the_real_part(name):
    activation = activations.get(name)
    z = np.linspace(-5, 5, 100)  # 0 is not among them
    y = activation.f(z + 1e-30j)
    np.testing.assert_allclose(y.real, activation.f(z), rtol=1e-14, atol=1e-16)
    exact = [float(mp.diff(EXACT[name][0], mp.mpf(float(t)), h=mp.mpf("1e-20"))) for t in z]
    np.testing.assert_allclose(y.imag / 1e-30, exact, rtol=1e-12, atol=1e-15)


def test_integers_lists_and_scalars_are_taken_as_float64():
    relu = activations.get("relu")
    assert relu.f([-1, 2]).tolist() == [0.0, 2.0]
    assert relu.f([-1, 2]).dtype == np.float64
    assert np.ndim(activations.get("selu").f(-1)) == 0


def test_unknown_names_are_refused_with_the_choices():
    with pytest.raises(ValueError, match=r"unknown activation 'slu'; choose one of identity, sigmoid.*silu"):
        activations.get("slu")


@pytest.mark.parametrize("alpha, lam, message", [(np.nan, 1, "alpha .*nan"), (1, np.inf, "lam .*inf")])
def test_constants_that_are_not_finite_are_refused(alpha, lam, message):
    with pytest.raises(ValueError, match=message):
        activations.selu(alpha, lam)


def test_selu_with_other_constants_says_so_in_its_name():
    assert activations.selu().name == "selu"
    assert "alpha=1.2" in repr(activations.selu(1.2, 0.9))


def test_the_numpy_modules_do_not_import_torch():
    modules = "activations, gaussian, initialization, backprop, meanfield, datasets"
    code = f"import sys; from snnlib import {modules}; print('torch' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "False"
