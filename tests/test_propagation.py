"""Layer statistics, Jacobians and Lyapunov exponents, each against another way to the same number."""

import copy
import itertools

import mpmath
import numpy as np
import pytest
import torch
from scipy.special import digamma, polygamma
from scipy.stats import ortho_group
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

from snnlib.backprop import Network, complex_step, softmax_cross_entropy
from snnlib.networks import fully_connected
from snnlib.propagation import (
    jacobian,
    jacobian_singular_values,
    layer_signals,
    layer_statistics,
    lyapunov_exponents,
    product_exponents,
)

WIDTHS = (6, 9, 9, 5, 4)


def inputs(rows=30, columns=6, seed=0):
    return 0.3 + np.random.default_rng(seed).standard_normal((rows, columns))


def twins(activation="selu", seed=0):
    """A float64 torch model and a network from scratch with the same parameters."""
    model = fully_connected(WIDTHS, activation, sigma_w=1.2, sigma_b=0.3, seed=seed).double()
    network = Network(WIDTHS, activation)
    for ours, theirs in zip(network.parameters, model.parameters(), strict=True):
        ours[...] = theirs.detach().numpy()
    return model, network


def by_hand(network, x):
    """z and y of every layer, in NumPy."""
    zs, ys = [], []
    for i, (w, b) in enumerate(network.layers):
        zs.append((ys[-1] if ys else x) @ w.T + b)
        ys.append(network.activation.f(zs[-1]) if i < network.depth - 1 else zs[-1])
    return zs, ys


def flat_sequence(model):
    """The same parts in one flat nn.Sequential."""
    return nn.Sequential(*(part for layer in model for part in layer))


# --- signals and statistics by layer ---------------------------------------------------------------------------------


def test_forward_statistics_are_those_of_the_layers_computed_by_hand():
    model, network = twins()
    x = inputs()
    table = layer_statistics(model, x)
    columns = ["layer", "units", "weight_mean", "weight_std", "pre_mean", "pre_variance", "q", "mean", "variance"]
    assert list(table) == columns
    zs, ys = by_hand(network, x)
    expected = {
        "layer": [1, 2, 3, 4],
        "units": WIDTHS[1:],
        "weight_mean": [w.mean() for w, _ in network.layers],
        "weight_std": [w.std() for w, _ in network.layers],
        "pre_mean": [z.mean() for z in zs],
        "pre_variance": [z.var() for z in zs],
        "q": [(z**2).mean() for z in zs],
        "mean": [y.mean() for y in ys],
        "variance": [y.var() for y in ys],
    }
    for name, values in expected.items():
        np.testing.assert_allclose(table[name], values, rtol=1e-11, err_msg=name)


def test_backward_statistics_are_those_of_backpropagation_from_scratch():
    model, network = twins("tanh")
    x, labels = inputs(), np.arange(30) % 4
    table = layer_statistics(model, x, labels)

    def backward(rows):
        _, dlogits = softmax_cross_entropy(network.forward(x[rows]), labels[rows])
        return network.backward(dlogits)[1]

    norms = [np.linalg.norm(dw) for dw in backward(slice(None))[::2]]
    # for a single example the derivative by the bias is the derivative of its own loss by z
    deltas = np.array([[np.linalg.norm(db) for db in backward([b])[1::2]] for b in range(30)])
    np.testing.assert_allclose(table["upstream"], np.sqrt((deltas**2).mean(axis=0)), rtol=1e-10)
    np.testing.assert_allclose(table["gradient"], norms, rtol=1e-10)
    sizes = [np.linalg.norm(w) for w, _ in network.layers]
    np.testing.assert_allclose(table["relative_gradient"], np.array(norms) / sizes, rtol=1e-10)


def test_signals_are_the_arrays_behind_the_statistics():
    model, network = twins()
    x, labels = inputs(), np.arange(30) % 4
    signals = layer_signals(model, x, labels)
    zs, ys = by_hand(network, x)
    _, dlogits = softmax_cross_entropy(network.forward(x), labels)
    _, gradients = network.backward(dlogits)
    for i in range(4):
        np.testing.assert_array_equal(signals.weights[i], network.parameters[2 * i])
        np.testing.assert_allclose(signals.inputs[i], ys[i - 1] if i else x, rtol=1e-11, atol=1e-13)
        np.testing.assert_allclose(signals.pre_activations[i], zs[i], rtol=1e-11, atol=1e-13)
        np.testing.assert_allclose(signals.activations[i], ys[i], rtol=1e-11, atol=1e-13)
        np.testing.assert_allclose(signals.deltas[i].mean(axis=0), gradients[2 * i + 1], rtol=1e-10, atol=1e-14)
        np.testing.assert_allclose(signals.gradients[i], gradients[2 * i], rtol=1e-10, atol=1e-14)
    assert layer_signals(model, x).deltas == layer_signals(model, x).gradients == []


def test_signals_are_copies_that_training_does_not_change():
    model = fully_connected(WIDTHS, seed=1)
    signals = layer_signals(model, inputs(), np.zeros(30, int))
    kept = copy.deepcopy(signals)
    with torch.no_grad():
        for p in model.parameters():
            p += 1
    for before, after in zip(kept, signals, strict=True):
        for a, b in zip(before, after, strict=True):
            np.testing.assert_array_equal(a, b)
            assert b.dtype == np.float32


def test_statistics_of_float32_networks_are_accumulated_in_float64():
    model = nn.Sequential(nn.Linear(1000, 1000, bias=False))
    nn.init.eye_(model[0].weight)
    x = (1000 + np.random.default_rng(0).standard_normal((2000, 1000))).astype(np.float32)
    row = layer_statistics(model, x).iloc[0]
    # a float32 sum of squares around 1000^2 would be off by about 6e-8 * 1e6 = 0.06
    assert row["pre_variance"] == pytest.approx(x.astype(np.float64).var(), rel=1e-9)
    assert row["q"] == pytest.approx((x.astype(np.float64) ** 2).mean(), rel=1e-12)


def test_a_flat_sequence_with_activations_in_place_gives_the_same_table():
    model = fully_connected(WIDTHS, "relu", sigma_b=0.2, seed=2)
    flat = copy.deepcopy(flat_sequence(model))
    for part in flat:
        if isinstance(part, nn.ReLU):
            part.inplace = True
    labels = np.arange(30) % 4
    expected = layer_statistics(model, inputs(), labels)
    np.testing.assert_allclose(layer_statistics(flat, inputs(), labels), expected, rtol=1e-6)
    flat.requires_grad_(False)
    np.testing.assert_allclose(layer_statistics(flat, inputs(), labels), expected, rtol=1e-6)


def test_a_model_that_works_in_place_changes_neither_the_batch_nor_what_was_recorded():
    class Shortcut(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(6, 6)

        def forward(self, x):
            return x.add_(self.linear(x))

    model = nn.Sequential(nn.ReLU(inplace=True), Shortcut(), nn.Linear(6, 2))
    x = torch.from_numpy(inputs()).float()
    given = x.clone()
    signals = layer_signals(model, x)
    assert torch.equal(x, given)
    received = given.clamp(min=0).numpy()
    np.testing.assert_array_equal(signals.inputs[0], received)
    np.testing.assert_allclose(signals.activations[0], received + signals.pre_activations[0], rtol=1e-6)


def test_the_weight_recorded_is_the_one_used_where_each_use_changes_it():
    """Spectral normalization takes a step of its power iteration whenever its weight is computed in training mode."""
    model = nn.Sequential(spectral_norm(nn.Linear(6, 5)), nn.Tanh(), nn.Linear(5, 4)).double()
    signals = layer_signals(model, inputs())
    expected = inputs() @ signals.weights[0].T + model[0].bias.detach().numpy()
    np.testing.assert_allclose(signals.pre_activations[0], expected, rtol=1e-12)


def test_the_activation_of_a_residual_layer_includes_its_input_and_dropout():
    model = fully_connected((6, 6, 6, 3), "tanh", residual=True, dropout=0.4, seed=3)
    torch.manual_seed(0)
    state = torch.random.get_rng_state()
    signals = layer_signals(model, inputs())
    assert torch.equal(state, torch.random.get_rng_state())
    x = torch.from_numpy(inputs()).float()
    np.testing.assert_array_equal(signals.activations[1], model[:2](x).detach())  # the same masks: the state was kept


def test_weight_normalized_layers_report_the_effective_weight():
    plain, normalized = (fully_connected(WIDTHS, "tanh", n, seed=4).double() for n in (None, "weight"))
    for ours, theirs in zip(plain, normalized, strict=True):
        ours.linear.weight = nn.Parameter(theirs.linear.weight.detach())  # equal to more than the digits of float32
    labels = np.arange(30) % 4
    with torch.no_grad():
        for layer in normalized[:-1]:
            layer.linear.parametrizations.weight.original1.mul_(7)  # the length of the direction does not count
    np.testing.assert_allclose(
        layer_statistics(normalized, inputs(), labels), layer_statistics(plain, inputs(), labels), rtol=1e-10
    )


def test_a_layer_used_twice_has_two_rows_and_one_used_for_nothing_no_gradient():
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.c = nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 4)

        def forward(self, x):
            x = torch.tanh(self.a(x))
            self.b(x)
            return self.c(torch.tanh(self.a(x)))

    table = layer_statistics(Odd(), inputs(), np.arange(30) % 4)
    assert list(table["units"]) == [6, 6, 6, 4]
    assert list(table["upstream"] == 0) == [False, True, False, False]
    assert table["weight_std"][0] == table["weight_std"][2]


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("normalization", ["batch", "layer", "weight"])
def test_looking_at_a_model_changes_nothing_of_it(normalization, training):
    model = fully_connected(WIDTHS, normalization=normalization, dropout=0.3, seed=5)
    model.append(nn.Sequential(spectral_norm(nn.Linear(4, 4)), nn.Tanh())).train(training)
    for p in model.parameters():
        p.grad = torch.full_like(p, 0.5)
    kept, state = copy.deepcopy(model), torch.random.get_rng_state()
    x, labels = inputs(), np.arange(30) % 4
    given = x.copy()
    with torch.no_grad():  # what the caller has switched off does not matter
        first, second = (layer_statistics(model, x, labels) for _ in range(2))
    assert first.equals(second)
    if normalization != "batch" or not training:
        lyapunov_exponents(model, x[0])
        jacobian_singular_values(model, x[:2])
    assert torch.equal(state, torch.random.get_rng_state())
    np.testing.assert_array_equal(x, given)
    assert all(part.training is training for part in model.modules())
    assert not any(part._forward_hooks for part in model.modules())
    before, after = kept.state_dict(), model.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert all((p.grad == 0.5).all() and p.requires_grad for p in model.parameters())


def test_a_model_in_training_mode_is_seen_in_training_mode():
    model = fully_connected(WIDTHS, "tanh", "batch", seed=6)
    x = inputs()
    z = x @ model[0].linear.weight.detach().numpy().T
    y = np.tanh((z - z.mean(axis=0)) / np.sqrt(z.var(axis=0) + 1e-5))
    assert layer_statistics(model, x)["variance"][0] == pytest.approx(y.var(), rel=1e-5)
    y = np.tanh(z / np.sqrt(1 + 1e-5))  # the running statistics before any training: mean 0, variance 1
    assert layer_statistics(model.eval(), x)["variance"][0] == pytest.approx(y.var(), rel=1e-5)


def test_hooks_are_removed_when_a_model_fails():
    model = nn.Sequential(nn.Linear(6, 4), nn.Linear(5, 2))
    with pytest.raises(RuntimeError, match="shapes"):
        layer_statistics(model, inputs())
    assert not any(part._forward_hooks for part in model.modules())


def test_a_diverged_network_still_has_a_table():
    model = nn.Sequential(nn.Linear(6, 6), nn.Linear(6, 6))
    with torch.no_grad():
        model[0].weight.fill_(3e38)
    table = layer_statistics(model, np.ones((3, 6)), [0, 1, 2])
    assert not np.isfinite(table["pre_mean"][0]) and np.isfinite(table["weight_std"][1])


@pytest.mark.parametrize(
    "x, labels, message",
    [
        (np.zeros(6), None, r"shape \(6,\)"),
        (np.zeros((0, 6)), None, r"at least one example, got shape \(0, 6\)"),
        (np.full((2, 6), np.nan), None, "x must be finite, but holds nan"),
        (np.zeros((2, 6)), [0], r"labels must have shape \(2,\), one per example, got \(1,\)"),
        (np.zeros((2, 6)), [0, 4], "between 0 and 3, got 4"),
        (np.zeros((2, 6)), [-1, 2], "got -1"),
        (np.zeros((2, 6)), [0.0, 1.0], "integers from 0 to 3, got torch.float64"),
    ],
)
def test_impossible_batches_are_refused(x, labels, message):
    with pytest.raises(ValueError, match=message):
        layer_statistics(fully_connected(WIDTHS), x, labels)


def test_a_model_without_linear_layers_is_refused():
    with pytest.raises(ValueError, match=r"ran no torch.nn.Linear.*: Tanh"):
        layer_statistics(nn.Tanh(), inputs())


# --- the input-output Jacobian ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("activation", ["selu", "tanh", "gelu", "sigmoid"])
def test_the_jacobian_is_that_of_the_complex_step(activation):
    model, network = twins(activation)
    x = inputs()[0]

    def forward(v):
        for i, (w, b) in enumerate(network.layers):
            v = v @ w.T + b
            v = network.activation.f(v) if i < network.depth - 1 else v
        return v

    expected = complex_step(forward, x)
    np.testing.assert_allclose(jacobian(model, x), expected, rtol=1e-10, atol=1e-14)
    np.testing.assert_allclose(
        jacobian_singular_values(model, x), np.linalg.svd(expected, compute_uv=False), rtol=1e-10
    )


@pytest.mark.parametrize("normalization", [None, "batch", "layer", "weight"])
def test_the_jacobians_of_a_batch_are_those_of_its_rows(normalization):
    model = fully_connected((6, 7, 7, 8), "silu", normalization, residual=True, seed=7).double()
    model(torch.from_numpy(inputs()))  # batch normalization has something to remember
    model.eval()
    x = torch.from_numpy(inputs(5))
    # the automatic differentiation that builds the Jacobian row by row, one backward pass each
    expected = torch.stack([torch.autograd.functional.jacobian(model, row[None])[0, :, 0] for row in x])
    np.testing.assert_allclose(jacobian(model, x), expected, rtol=1e-10, atol=1e-13)
    np.testing.assert_allclose(jacobian(model, x[3]), expected[3], rtol=1e-10, atol=1e-13)
    values = jacobian_singular_values(model, x)
    assert values.shape == (5, 6) and values.dtype == np.float64
    np.testing.assert_allclose(values, np.linalg.svd(expected.numpy(), compute_uv=False), rtol=1e-10)
    assert jacobian_singular_values(model, x[0]).shape == (6,)


def test_dropout_in_training_mode_gives_the_jacobian_of_one_drawn_network():
    model = fully_connected((6, 50, 50, 4), "tanh", dropout=0.5, seed=8).double()
    torch.manual_seed(1)
    J = jacobian(model, inputs()[0])
    x = torch.from_numpy(inputs()[:1]).requires_grad_()
    y = model(x)  # the random state was kept: the same masks
    expected = torch.stack([torch.autograd.grad(y[0, i], x, retain_graph=True)[0][0] for i in range(4)])
    np.testing.assert_allclose(J, expected, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("dtype, seen", [(torch.float64, 1e-13), (torch.float32, 1e-5)])
def test_singular_values_are_right_down_to_rounding_of_the_largest(dtype, seen):
    """A linear network, whose Jacobian is a product of matrices that mpmath multiplies with 50 digits."""
    model = fully_connected([12] * 31, "identity", seed=9).to(dtype)
    with mpmath.workdps(50):
        product = mpmath.eye(12)
        for layer in model:
            product = mpmath.matrix(layer.linear.weight.double().tolist()) * product
        exact = np.array([float(s) for s in mpmath.svd_r(product, compute_uv=False)])
    values = jacobian_singular_values(model, np.zeros(12))
    assert exact[-1] < 1e-20 * exact[0] and values.dtype == np.float64
    np.testing.assert_allclose(values, exact, rtol=0, atol=seen * exact[0])
    reliable = exact > 1e3 * seen * exact[0]
    assert reliable.sum() >= 2
    np.testing.assert_allclose(values[reliable], exact[reliable], rtol=2e-3)


def test_batch_normalization_over_the_batch_is_refused_with_the_remedy():
    model = fully_connected(WIDTHS, normalization="batch", seed=0)
    for function in (jacobian, jacobian_singular_values, lyapunov_exponents):
        with pytest.raises(ValueError, match=r"'0.norm' .* call model.eval\(\) first"):
            function(model, inputs())
        function(copy.deepcopy(model).eval(), inputs())
    untracked = nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4, track_running_stats=False)).eval()
    with pytest.raises(ValueError, match="let it track running statistics"):
        jacobian(untracked, inputs())


def test_impossible_jacobians_are_refused():
    model = fully_connected(WIDTHS)
    with pytest.raises(ValueError, match=r"\(n,\) or \(B, n\), got \(1, 2, 6\)"):
        jacobian(model, np.zeros((1, 2, 6)))
    with pytest.raises(ValueError, match="holds inf"):
        jacobian(model, np.full(6, np.inf))
    with pytest.raises(ValueError, match=r"must map \(B, n\) to \(B, m\), but took \(1, 6\) to \(4,\)"):
        jacobian(nn.Sequential(model, nn.Flatten(0)), np.zeros(6))
    exploding = fully_connected([6] * 40, "identity", sigma_w=30.0, seed=0)
    with pytest.raises(ValueError, match="not finite: it overflows; lyapunov_exponents"):
        jacobian_singular_values(exploding, np.zeros(6))


# --- Lyapunov exponents ----------------------------------------------------------------------------------------------


def test_gaussian_products_have_the_exponents_of_newman():
    """Newman (1986): with entries N(0, 1/n), exponent i is (ln 2 + psi((n - i + 1) / 2) - ln n) / 2."""
    n, depth = 8, 4000
    matrices = np.random.default_rng(0).standard_normal((depth, n, n)) / np.sqrt(n)
    degrees = np.arange(n, 0, -1) / 2
    expected = (np.log(2) + digamma(degrees) - np.log(n)) / 2
    standard_error = np.sqrt(polygamma(1, degrees) / 4 / depth)  # log |R_ii| is half a logarithm of chi-squared
    assert (np.abs(product_exponents(matrices) - expected) < 5 * standard_error).all()


def test_orthogonal_matrices_have_exponents_zero_and_scaling_shifts_all():
    matrices = ortho_group.rvs(10, size=200, random_state=0)
    np.testing.assert_allclose(product_exponents(matrices), 0, atol=1e-13)
    for scale in (1e-3, 1e3):  # the product itself is 1e-600 or 1e600 in size
        np.testing.assert_allclose(product_exponents(scale * matrices), np.log(scale), rtol=1e-12)


def test_triangular_matrices_have_the_mean_logarithms_of_their_diagonals():
    rng = np.random.default_rng(1)
    matrices = np.triu(rng.standard_normal((50, 6, 6)))
    diagonals = np.abs(np.diagonal(matrices, axis1=1, axis2=2))
    expected = np.sort(np.log(diagonals).mean(axis=0))[::-1]
    np.testing.assert_allclose(product_exponents(matrices), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("widths", [(5, 5, 5, 5), (9, 7, 4), (3, 8, 6), (8, 6, 3, 7, 5), (6, 4, 9, 4, 4)])
def test_the_sum_of_the_exponents_is_that_of_the_logarithms_of_the_singular_values(widths):
    rng = np.random.default_rng(2)
    matrices = [rng.standard_normal((m, n)) for n, m in itertools.pairwise(widths)]
    product = np.linalg.multi_dot(matrices[::-1])
    k = min(widths)
    exponents = product_exponents(matrices)
    assert exponents.shape == (k,) and (np.diff(exponents) <= 0).all()
    expected = np.log(np.linalg.svd(product, compute_uv=False)[:k]).sum() / len(matrices)
    assert exponents.sum() == pytest.approx(expected, rel=1e-11, abs=1e-12)


def test_the_first_matrix_of_the_list_acts_first():
    """With widths 1, 2, 1 and orthogonal vectors the product is a number: row times column."""
    column, row = np.array([[3.0], [1.0]]), np.array([[2.0, -5.0]])
    assert product_exponents([column, row]) == pytest.approx([0.0], abs=1e-15)  # |6 - 5| = 1
    with pytest.raises(ValueError, match=r"matrices\[1\] must be .* shape \(2, 3\) after \(2, 3\)"):
        product_exponents([np.ones((2, 3)), np.ones((2, 3))])


def test_lost_directions_have_exponent_minus_infinity_and_disturb_no_other():
    rotation = ortho_group.rvs(3, random_state=3)
    middle = np.diag([2.0, 0.0, 3.0])
    exponents = product_exponents([middle, rotation, rotation.T, middle, rotation])
    np.testing.assert_allclose(exponents[:2], 2 / 5 * np.log([3, 2]), rtol=1e-12)
    assert exponents[2] == -np.inf
    # a second column that is a multiple of the first must not disturb the third
    repeated = np.array([[1.0, 2, 1], [1, 2, 0], [1, 2, 5]])
    exponents = product_exponents([repeated])
    volume = np.linalg.norm(np.cross(repeated[:, 0], repeated[:, 2]))
    assert exponents[:2].sum() == pytest.approx(np.log(volume)) and exponents[2] == -np.inf
    assert list(product_exponents([np.zeros((2, 2))])) == [-np.inf, -np.inf]
    # nor may a column that is lost hide the next one: A and B in turns double one direction per layer
    A, B = np.array([[0.0, 2.0], [0.0, 0.0]]), np.array([[0.0, 0.0], [2.0, 0.0]])
    np.testing.assert_allclose(product_exponents([A, B] * 50), [np.log(2), -np.inf], rtol=1e-14)


def test_exponents_of_a_network_are_those_of_its_layers_by_another_differentiation():
    model = fully_connected((6, 9, 9, 5, 4), "tanh", "layer", residual=True, seed=10).double()
    x = torch.from_numpy(inputs(3))
    expected = []
    for y in x:
        factors = []
        for layer in model:
            factors.append(torch.autograd.functional.jacobian(layer, y).numpy())
            y = layer(y).detach()
        expected.append(product_exponents(factors))
    np.testing.assert_allclose(lyapunov_exponents(model, x), expected, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(lyapunov_exponents(model, x[2]), expected[2], rtol=1e-9, atol=1e-12)
    values = jacobian_singular_values(model, x[0])
    assert lyapunov_exponents(model, x[0]).sum() == pytest.approx(np.log(values).sum() / 4, rel=1e-9)


def test_two_hundred_layers_whose_product_underflows_have_the_exponents_of_mpmath():
    """A float32 model, orthogonal but for its last layer, with gain 0.01: singular values near 1e-400."""
    model = fully_connected([8] * 201, "identity", scheme="orthogonal", sigma_w=0.01, seed=11)
    with torch.no_grad():
        model[-1].linear.weight.copy_(torch.diag(torch.arange(1.0, 9.0)))
    with mpmath.workdps(60):
        logarithm = sum(mpmath.log(abs(mpmath.det(mpmath.matrix(la.linear.weight.tolist())))) for la in model)
    exponents = lyapunov_exponents(model, np.zeros(8))
    assert exponents.sum() == pytest.approx(float(logarithm) / 200, rel=1e-12)
    assert jacobian_singular_values(model, np.zeros(8)).max() == 0  # the product is lost
    assert np.isfinite(exponents).all() and exponents.dtype == np.float64
    # the other 199 layers are orthogonal to 1e-7, the precision of their float32 weights
    assert np.abs(exponents - np.log(0.01)).max() < np.log(800) / 200 + 1e-6


def test_layers_of_a_flat_sequence_are_counted_by_their_linear_maps():
    model = fully_connected(WIDTHS, "gelu", sigma_b=0.2, seed=12)
    flat = nn.Sequential(nn.Flatten(), *flat_sequence(model))
    x = inputs()[0]
    np.testing.assert_allclose(lyapunov_exponents(flat, x), lyapunov_exponents(model, x), rtol=1e-12)


def test_dead_units_of_relu_lose_directions_and_those_of_selu_do_not():
    x = inputs(1, 20)[0]
    relu, selu = (lyapunov_exponents(fully_connected([20] * 30, f, seed=13), x) for f in ("relu", "selu"))
    assert np.isfinite(selu).all()
    assert (relu == -np.inf).sum() >= 10 and not np.isnan(relu).any()


def test_impossible_chains_are_refused():
    with pytest.raises(ValueError, match=r"torch.nn.Sequential, got a Tanh"):
        lyapunov_exponents(nn.Tanh(), np.zeros(3))
    with pytest.raises(ValueError, match="at least one matrix"):
        product_exponents([])
    with pytest.raises(ValueError, match=r"matrices\[0\] must be .* shape \(3,\)"):
        product_exponents([np.ones(3)])
    with pytest.raises(ValueError, match=r"matrices\[1\] must be finite, but holds nan"):
        product_exponents([np.eye(2), np.full((2, 2), np.nan)])
