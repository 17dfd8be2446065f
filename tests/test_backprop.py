"""Networks from scratch against torch autograd, finite differences in mpmath, and the complex step."""

import mpmath as mp
import numpy as np
import pytest
import torch
from twins import torch_twin

from snnlib import activations
from snnlib.backprop import Network, check_gradients, complex_step, softmax_cross_entropy


def random_case(number):
    """Architecture, inputs and labels number `number`: widths 1-40, depth 1-12, every activation, batches of 1-17."""
    rng = np.random.default_rng(number)
    depth = int(rng.integers(1, 13))
    widths = rng.integers(1, 41, depth + 1)
    names = activations.names()
    schemes = ("lecun", "xavier", "he", "orthogonal")
    network = Network(widths, names[number % len(names)], schemes[number % len(schemes)], seed=rng)
    for b in network.parameters[1::2]:
        b += 0.5 * rng.standard_normal(b.shape)
    batch = int(rng.choice([1, 2, 5, 17]))
    return network, rng.standard_normal((batch, widths[0])), rng.integers(0, widths[-1], batch)


def assert_equal_to_torch(network, x, labels, tolerance):
    twin = torch_twin(network)
    xt = torch.from_numpy(np.asarray(x, network.dtype)).requires_grad_()
    loss = torch.nn.functional.cross_entropy(twin(xt), torch.from_numpy(labels))
    expected = torch.autograd.grad(loss, [xt, *twin.parameters()])
    ours, dlogits = softmax_cross_entropy(network.forward(x), labels)
    dx, gradients = network.backward(dlogits)
    assert ours == pytest.approx(loss.item(), rel=tolerance, abs=tolerance)
    for got, want in zip([dx, *gradients], expected, strict=True):
        assert got.dtype == network.dtype
        np.testing.assert_allclose(got, want, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("number", range(200))
def test_two_hundred_random_networks_pass_the_complex_step_and_equal_autograd(number):
    network, x, labels = random_case(number)
    assert check_gradients(network, x, labels) < 1e-6
    assert_equal_to_torch(network, x, labels, 1e-10)


def test_the_random_networks_cover_what_the_test_above_says():
    cases = [random_case(number) for number in range(200)]
    assert {c[0].activation.name for c in cases} == set(activations.names())
    assert {c[0].depth for c in cases} == set(range(1, 13))
    assert {len(c[1]) for c in cases} == {1, 2, 5, 17}
    widths = {w for c in cases for w in c[0].widths}
    assert min(widths) == 1 and max(widths) == 40


@pytest.mark.parametrize("name", activations.names())
def test_float32_networks_equal_autograd_in_float32(name):
    network = Network([12, 30, 30, 7], name, seed=5, dtype=np.float32)
    rng = np.random.default_rng(6)
    assert_equal_to_torch(network, rng.standard_normal((9, 12)), rng.integers(0, 7, 9), 2e-6)
    assert check_gradients(network, rng.standard_normal((9, 12)), rng.integers(0, 7, 9)) < 1e-4


def test_gradients_equal_central_differences_of_a_loss_written_in_mpmath():
    """A route that shares no code: a 2-3-2 network, every entry, 40 digits."""
    network = Network([2, 3, 2], "selu", seed=1)
    x, label = np.array([[0.7, -1.2]]), np.array([1])
    alpha, lam = mp.mpf(activations.SELU_ALPHA), mp.mpf(activations.SELU_LAMBDA)

    def loss(values):
        w1, b1, w2, b2 = values[:6], values[6:9], values[9:15], values[15:17]
        z = [w1[2 * i] * x[0, 0] + w1[2 * i + 1] * x[0, 1] + b1[i] for i in range(3)]
        y = [lam * (t if t > 0 else alpha * mp.expm1(t)) for t in z]
        out = [sum(w2[3 * k + j] * y[j] for j in range(3)) + b2[k] for k in range(2)]
        return mp.log(mp.exp(out[0]) + mp.exp(out[1])) - out[1]

    with mp.workdps(40):
        values = [mp.mpf(float(v)) for p in network.parameters for v in p.ravel()]
        exact, h = [], mp.mpf("1e-15")
        for i in range(len(values)):
            up, down = values.copy(), values.copy()
            up[i] += h
            down[i] -= h
            exact.append(float((loss(up) - loss(down)) / (2 * h)))
    _, dlogits = softmax_cross_entropy(network.forward(x), label)
    _, gradients = network.backward(dlogits)
    np.testing.assert_allclose(np.concatenate([g.ravel() for g in gradients]), exact, rtol=1e-13, atol=1e-16)


def test_check_gradients_sees_every_kind_of_mistake(monkeypatch):
    """A checker that finds nothing wrong with a wrong backward pass would be worth nothing."""
    network = Network([4, 5, 3], "tanh", seed=0)
    x, labels = np.random.default_rng(1).standard_normal((6, 4)), np.array([0, 1, 2, 0, 1, 2])
    assert check_gradients(network, x, labels) < 1e-14
    right = Network.backward
    for i in range(5):  # dx and each of the four parameter arrays, one entry wrong by one part in a thousand

        def wrong(self, upstream, i=i):
            dx, gradients = right(self, upstream)
            array = [dx, *gradients][i]
            array.flat[np.abs(array).argmax()] *= 1.001
            return dx, gradients

        monkeypatch.setattr(Network, "backward", wrong)
        assert check_gradients(network, x, labels) > 1e-5


def test_complex_step_gives_the_jacobian_of_a_function_with_a_known_one():
    x = np.array([0.3, -1.2, 2.0])
    jacobian = complex_step(lambda v: np.stack([v[0] * v[1], np.exp(v[2]), v.sum()]), x)
    np.testing.assert_allclose(jacobian, [[-1.2, 0.3, 0], [0, 0, np.exp(2.0)], [1, 1, 1]], rtol=1e-15, atol=1e-15)
    assert complex_step(lambda v: v @ v, x).tolist() == pytest.approx((2 * x).tolist(), rel=1e-15)
    assert complex_step(lambda v: np.outer(v, v), x).shape == (3, 3, 3)


def test_backward_is_linear_in_upstream_and_leaves_it_alone():
    network, x, _ = random_case(13)
    y = network.forward(x)
    upstream = np.ones_like(y)
    dx, gradients = network.backward(upstream)
    assert (upstream == 1).all()
    dx2, gradients2 = network.backward(2 * upstream)
    np.testing.assert_allclose(dx2, 2 * dx, rtol=1e-13)
    for one, two in zip(gradients, gradients2, strict=True):
        np.testing.assert_allclose(two, 2 * one, rtol=1e-13)


def test_parameters_are_the_arrays_that_the_network_computes_with():
    network = Network([3, 2], seed=0)
    for p in network.parameters:
        p[...] = 0
    assert (network.forward(np.ones((4, 3))) == 0).all()
    assert [p.shape for p in Network([3, 5, 2]).parameters] == [(5, 3), (5,), (2, 5), (2,)]


def test_one_seed_gives_one_network_and_biases_start_at_zero():
    a, b, c = (Network([3, 4, 2], seed=s) for s in (7, 7, 8))
    assert all(np.array_equal(p, q) for p, q in zip(a.parameters, b.parameters, strict=True))
    assert not np.array_equal(a.parameters[0], c.parameters[0])
    assert (a.parameters[1] == 0).all()


def test_loss_survives_logits_at_which_the_naive_formula_overflows():
    loss, dlogits = softmax_cross_entropy([[1e4, 0.0], [0.0, 1e4]], [0, 0])
    assert loss == pytest.approx(5e3)
    np.testing.assert_allclose(dlogits, [[0, 0], [-0.5, 0.5]], atol=1e-300)


def test_loss_of_equal_logits_is_the_logarithm_of_the_number_of_classes():
    loss, dlogits = softmax_cross_entropy(np.zeros((3, 10), np.float32), [1, 2, 3])
    assert loss == pytest.approx(np.log(10), rel=1e-6)
    assert dlogits.dtype == np.float32
    np.testing.assert_allclose(dlogits.sum(axis=1), 0, atol=1e-7)


NETWORK = Network([3, 4, 2], seed=0)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: Network([3]), r"at least two whole numbers.*\(3,\)"),
        (lambda: Network([3, 0, 2]), r"\(3, 0, 2\)"),
        (lambda: Network([3, 2.5]), r"2\.5"),
        (lambda: Network([3, 2], "swish"), "unknown activation 'swish'.*silu"),
        (lambda: Network([3, 2], weights="glorot"), "unknown scheme 'glorot'.*xavier"),
        (lambda: Network([3, 2], dtype=np.float16), "float32 or float64, got float16"),
        (lambda: NETWORK.forward(np.ones((5, 4))), r"x must have shape \(B, 3\), got \(5, 4\)"),
        (lambda: NETWORK.forward(np.ones(3)), r"got \(3,\); one example is x\[None, :\]"),
        (lambda: NETWORK.forward(np.ones((0, 3))), "at least one row"),
        (lambda: NETWORK.forward([[1, 2, np.nan]]), r"x\[0, 2\] is nan"),
        (lambda: NETWORK.forward([[1, 2, 3], [1, -np.inf, 3]]), r"x\[1, 1\] is -inf"),
        (lambda: Network([3, 2]).backward(np.ones((1, 2))), r"call forward\(x\) first"),
        (lambda: (NETWORK.forward(np.ones((5, 3))), NETWORK.backward(np.ones((4, 2)))), r"\(5, 2\), got \(4, 2\)"),
        (lambda: (NETWORK.forward(np.ones((1, 3))), NETWORK.backward([[np.inf, 0]])), r"upstream\[0, 0\] is inf"),
        (lambda: complex_step(np.sin, [[1.0]]), r"real vector of shape \(n,\), got float64 of shape \(1, 1\)"),
        (lambda: complex_step(np.sin, [1j]), "got complex128"),
        (lambda: complex_step(np.abs, [1.0]), "must return complex numbers .* got float64"),
        (lambda: softmax_cross_entropy(np.ones(3), [0]), r"\(B, K\).*\(3,\)"),
        (lambda: softmax_cross_entropy(np.ones((2, 3)), [0]), r"labels must have shape \(2,\).*\(1,\)"),
        (lambda: softmax_cross_entropy(np.ones((2, 3)), [0, 3]), r"between 0 and 2, but labels\[1\] is 3"),
        (lambda: softmax_cross_entropy(np.ones((2, 3)), [-1, 0]), r"labels\[0\] is -1"),
        (lambda: softmax_cross_entropy(np.ones((2, 3)), [0.0, 1.0]), "integers from 0 to 2, got float64"),
        (lambda: softmax_cross_entropy([[1, np.nan]], [0]), r"logits\[0, 1\] is nan"),
    ],
)
def test_bad_input_is_refused_with_the_value(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_bad_input_loses_nothing():
    network = Network([3, 4, 2], seed=0)
    x = np.ones((2, 3))
    before = network.forward(x)
    expected = network.backward(before)[0]
    with pytest.raises(ValueError):
        network.forward(np.full((2, 3), np.nan))
    np.testing.assert_array_equal(network.backward(before)[0], expected)
