"""Fully connected networks: what a layer computes, where its numbers come from, what is refused."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from snnlib import activations
from snnlib.backprop import Network, softmax_cross_entropy
from snnlib.networks import fully_connected

WIDTHS = (6, 8, 8, 8, 4)


@pytest.fixture
def float64():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def batch(rows=50, columns=6, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).standard_normal((rows, columns)))


def arrays(layer):
    """W and b of a layer."""
    return layer.linear.weight.detach().numpy(), layer.linear.bias.detach().numpy()


# --- what a layer computes -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("activation", [*activations.names(), activations.selu(alpha=1.5, lam=1.1)])
def test_outputs_and_gradients_are_those_of_backpropagation_from_scratch(activation, float64):
    model = fully_connected(WIDTHS, activation, sigma_b=0.3, seed=1)
    network = Network(WIDTHS, activation)
    for ours, theirs in zip(model.parameters(), network.parameters, strict=True):
        theirs[...] = ours.detach().numpy()
    x, labels = batch(), np.arange(50) % 4
    logits = network.forward(x.numpy())
    _, dlogits = softmax_cross_entropy(logits, labels)
    _, gradients = network.backward(dlogits)

    y = model(x)
    functional.cross_entropy(y, torch.from_numpy(labels)).backward()
    np.testing.assert_allclose(y.detach(), logits, rtol=1e-12, atol=1e-13)
    for parameter, gradient in zip(model.parameters(), gradients, strict=True):
        np.testing.assert_allclose(parameter.grad, gradient, rtol=1e-10, atol=1e-14)


def test_a_model_is_a_sequence_of_layers_with_named_parts():
    model = fully_connected(WIDTHS, "tanh", "batch", residual=True, dropout=0.1)
    assert isinstance(model, torch.nn.Sequential) and len(model) == 4
    assert [list(dict(layer.named_children())) for layer in model] == [
        *[["linear", "norm", "activation", "dropout"]] * 3,
        ["linear"],
    ]
    assert [layer.linear.weight.shape for layer in model] == [(8, 6), (8, 8), (8, 8), (4, 8)]
    assert len(list(fully_connected((3, 2))[0].children())) == 1  # one layer: linear
    x = batch().float()
    assert torch.equal(model.eval()(x), model[2:](model[:2](x)))


def test_residual_layers_add_their_input_where_the_width_is_kept_and_never_in_the_last(float64):
    model = fully_connected((5, 7, 7, 7, 7), "tanh", residual=True, seed=2)
    y = x = batch(columns=5).numpy()
    (w1, b1), *others, (w4, b4) = map(arrays, model)
    y = np.tanh(x @ w1.T + b1)
    for w, b in others:
        y = y + np.tanh(y @ w.T + b)
    np.testing.assert_allclose(model(torch.from_numpy(x)).detach(), y @ w4.T + b4, rtol=1e-12, atol=1e-13)
    assert [layer.residual for layer in model] == [False, True, True, False]
    assert not any(layer.residual for layer in fully_connected((5, 7, 7, 7), residual=False))


@pytest.mark.parametrize("normalization, axis", [("batch", 0), ("layer", 1)])
def test_normalization_stands_between_linear_map_and_activation(normalization, axis, float64):
    model = fully_connected((5, 7, 3), "tanh", normalization, sigma_b=1.0, seed=3)
    (w1, b1), (w2, b2) = map(arrays, model)
    x = batch(columns=5)
    z = x.numpy() @ w1.T + b1
    z = (z - z.mean(axis, keepdims=True)) / np.sqrt(z.var(axis, keepdims=True) + 1e-5)
    np.testing.assert_allclose(model(x).detach(), np.tanh(z) @ w2.T + b2, rtol=1e-10, atol=1e-12)


def test_weight_normalization_keeps_the_first_outputs_and_splits_length_from_direction(float64):
    plain, model = (fully_connected(WIDTHS, "tanh", n, scheme="he", sigma_b=0.1, seed=4) for n in (None, "weight"))
    x = batch()
    np.testing.assert_allclose(model(x).detach(), plain(x).detach(), rtol=1e-12, atol=1e-13)
    w = model[1].linear.weight.detach().clone()
    length, direction = model[1].linear.parametrizations.weight.parameters()
    with torch.no_grad():
        length *= 3
        direction *= 5
    np.testing.assert_allclose(model[1].linear.weight.detach(), 3 * w, rtol=1e-13)
    assert not hasattr(model[-1].linear, "parametrizations")


def test_selu_gets_alpha_dropout_and_every_other_activation_ordinary_dropout():
    for activation in [*activations.names(), activations.selu(alpha=1.5)]:
        kind = torch.nn.AlphaDropout if activation == "selu" else torch.nn.Dropout
        assert all(type(layer.dropout) is kind for layer in fully_connected(WIDTHS, activation, dropout=0.2)[:-1])


def test_dropout_follows_the_activation_at_its_rate_and_is_off_in_evaluation(float64):
    model = fully_connected((6, 4000, 4000, 2), "relu", dropout=0.3, residual=True, sigma_b=0.5, seed=5)
    x = batch(20)
    x1 = model[0](x)
    clean = torch.relu(functional.linear(x1, *model[1].linear.parameters()))
    y = model[1](x1) - x1  # what is dropped is the branch, not the input that is added
    dropped = (y.abs() < 1e-12) & (clean > 1e-9)
    # 40,000 active units: the rate is known to 5 sqrt(0.21 / 40000) = 0.012
    assert dropped.sum() / (clean > 1e-9).sum() == pytest.approx(0.3, abs=0.012)
    np.testing.assert_allclose(y[~dropped].detach(), clean[~dropped].detach() / 0.7, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose((model.eval()[1](x1) - x1).detach(), clean.detach(), rtol=1e-9, atol=1e-12)


# --- where its numbers come from -------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme, variance", [("lecun", 1 / 500), ("he", 2 / 500), ("xavier", 2 / 900)])
def test_weights_have_the_variance_of_their_scheme_times_sigma_w_squared(scheme, variance):
    model = fully_connected((500, 400, 500, 400), "tanh", scheme=scheme, sigma_w=1.5, sigma_b=0.2, seed=6)
    for w, b in [arrays(model[0]), arrays(model[2])]:  # hidden and last
        assert w.var() == pytest.approx(2.25 * variance, rel=0.02)  # 200,000 draws: 5 sqrt(2 / 200000) = 1.6 %
        assert b.std() == pytest.approx(0.2, rel=0.18)  # 400 draws: 5 / sqrt(800)
        assert abs(b.mean()) < 5 * 0.2 / np.sqrt(400)
    assert not fully_connected(WIDTHS)[0].linear.bias.any()


def test_normalized_rows_are_those_of_the_scheme():
    w, _ = arrays(fully_connected(WIDTHS, scheme="normalized_rows", seed=0)[1])
    np.testing.assert_allclose(w.sum(axis=1), 0, atol=1e-6)
    np.testing.assert_allclose((w**2).sum(axis=1), 1, atol=1e-6)


def test_one_seed_gives_one_network_bit_for_bit_and_leaves_the_random_state_of_torch_alone():
    state = torch.random.get_rng_state()
    first, second, other = (fully_connected(WIDTHS, sigma_b=0.1, seed=s) for s in (7, 7, 8))
    fresh = [fully_connected(WIDTHS) for _ in range(2)]
    assert torch.equal(state, torch.random.get_rng_state())
    assert all(map(torch.equal, first.parameters(), second.parameters()))
    assert not any(map(torch.equal, first.parameters(), other.parameters()))
    assert not torch.equal(fresh[0][0].linear.weight, fresh[1][0].linear.weight)


def test_variants_of_one_seed_start_from_the_same_numbers_and_their_layers_from_different_ones():
    reference = fully_connected(WIDTHS, seed=9, sigma_b=0.1)
    variants = [
        fully_connected(WIDTHS, "relu", "batch", residual=True, dropout=0.1, seed=9, sigma_b=0.1),
        fully_connected((*WIDTHS[:-1], 8, 8, 4), seed=9, sigma_b=0.1),
    ]
    for model in variants:
        for layer, expected in zip(model[:3], reference[:3], strict=True):
            assert torch.equal(layer.linear.weight, expected.linear.weight)
            assert torch.equal(layer.linear.bias, expected.linear.bias)
    assert not torch.equal(reference[1].linear.weight, reference[2].linear.weight)


@pytest.mark.parametrize("normalization", [None, "batch", "layer", "weight"])
def test_parameters_have_the_default_type(normalization):
    assert {p.dtype for p in fully_connected(WIDTHS, normalization=normalization).parameters()} == {torch.float32}
    torch.set_default_dtype(torch.float64)
    try:
        assert {p.dtype for p in fully_connected(WIDTHS, normalization=normalization).parameters()} == {torch.float64}
    finally:
        torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("normalization", [None, "batch", "layer", "weight"])
def test_two_hundred_layers_can_be_trained_saved_and_loaded(normalization, tmp_path):
    widths = [10] * 201
    model = fully_connected(widths, "relu", normalization, residual=True, sigma_w=0.1, dropout=0.05, seed=0)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    x, labels = batch(64, 10).float(), torch.arange(64) % 10
    losses = []
    for _ in range(5):
        optimizer.zero_grad()
        losses.append(functional.cross_entropy(model.train()(x), labels))
        losses[-1].backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
        optimizer.step()
    torch.save(model.state_dict(), tmp_path / "model.pt")
    again = fully_connected(widths, "relu", normalization, residual=True, dropout=0.05)
    again.load_state_dict(torch.load(tmp_path / "model.pt"))
    assert torch.equal(again.eval()(x), model.eval()(x))


# --- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"widths": (3,)}, r"at least two whole numbers .* got \(3,\)"),
        ({"widths": (3, 0, 2)}, r"got \(3, 0, 2\)"),
        ({"widths": (3, 2.5)}, r"got \(3, 2.5\)"),
        ({"activation": "swish"}, "unknown activation 'swish'; choose one of"),
        ({"normalization": "group"}, "unknown normalization 'group'; choose one of None, batch, layer, weight"),
        ({"dropout": 1.0}, "0 <= dropout < 1, got 1.0"),
        ({"dropout": -0.1}, "got -0.1"),
        ({"scheme": "kaiming"}, "unknown scheme 'kaiming'; choose one of lecun"),
        ({"sigma_w": 0}, "sigma_w must be a finite number > 0, got 0"),
        ({"sigma_w": float("nan")}, "sigma_w .* got nan"),
        ({"sigma_b": -1.0}, "sigma_b must be a finite number >= 0, got -1.0"),
        ({"sigma_b": float("inf")}, "sigma_b .* got inf"),
        ({"seed": -1}, "seed must be a whole number >= 0, or None .* got -1"),
        ({"seed": 0.5}, "got 0.5"),
    ],
)
def test_impossible_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        fully_connected(**{"widths": WIDTHS, **arguments})
