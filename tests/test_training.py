"""`fit` against plain torch loops, and what it promises beside: history, determinism, errors, nothing else changed."""

import copy
import io
import math
import sys
import warnings

import numpy as np
import pytest
import torch
from torch import nn

from snnlib import _steps, activations, training
from snnlib._chain import is_chain
from snnlib.datasets import Table
from snnlib.networks import fully_connected
from snnlib.propagation import layer_statistics
from snnlib.training import DivergedError, History, Interrupted, evaluate, fit

BATCH, EPOCHS = 16, 3
CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


def problem(examples=70, n=6, classes=3, seed=0):
    """Return x (float64) and y of a task that can be learned; 70 examples leave 6 for the last batch of 16."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((examples, n))
    return x, (x @ rng.standard_normal((n, classes))).argmax(axis=1)


def network(widths=(6, 8, 7, 3), seed=0, **options):
    """Return a small network in float64."""
    return fully_connected(widths, seed=seed, **options).double()


def train(model, data=None, test=None, **options):
    """Train a few epochs on the CPU."""
    options = {"epochs": EPOCHS, "batch_size": BATCH, "lr": 0.1, "device": "cpu", "progress": False} | options
    return fit(model, problem() if data is None else data, test, **options)


class Spy(nn.Module):
    """Remembers the batches that a model is trained on."""

    def __init__(self, model):
        super().__init__()
        self.model, self.batches = model, []

    def forward(self, x):
        """Pass x on."""
        if self.training:
            self.batches.append(x.detach().clone())
        return self.model(x)


def rows_of(batch, x):
    """Return the indices of the examples in a batch."""
    return [int(np.flatnonzero((x == row).all(axis=1))[0]) for row in batch.numpy()]


def plain_loop(model, batches, x, y, optimizer, rate, clip=None):
    """Train in the plainest way; return the losses and the numbers of right answers of the batches."""
    model.train()
    losses, hits = [], []
    for step, batch in enumerate(batches):
        labels = torch.from_numpy(y[rows_of(batch, x)])
        optimizer.zero_grad()
        outputs = model(batch)
        loss = -torch.log_softmax(outputs, dim=1)[torch.arange(len(labels)), labels].mean()
        loss.backward()
        if clip is not None:
            norm = math.sqrt(sum((p.grad**2).sum().item() for p in model.parameters()))
            for p in model.parameters():
                p.grad *= min(1, clip / norm)
        optimizer.param_groups[0]["lr"] = rate(step / len(batches))
        optimizer.step()
        losses.append(loss.item())
        hits.append((outputs.argmax(dim=1) == labels).sum().item())
    return losses, hits


OPTIMIZERS = {
    "sgd": lambda p: torch.optim.SGD(p, lr=1),
    "momentum": lambda p: torch.optim.SGD(p, lr=1, momentum=0.9),
    "adam": lambda p: torch.optim.Adam(p, lr=1),
}
CASES = {
    **{name: ({}, {"optimizer": name}, lambda share: 0.1) for name in OPTIMIZERS},
    "cosine": ({}, {"schedule": "cosine"}, lambda share: 0.1 * math.cos(math.pi * share / 2) ** 2),
    "linear": ({}, {"schedule": "linear", "optimizer": "momentum"}, lambda share: 0.1 - 0.1 * share),
    "a function": ({}, {"schedule": lambda share: 2 + share, "optimizer": "adam"}, lambda share: 0.2 + 0.1 * share),
    "clip": ({}, {"clip": 0.3}, lambda share: 0.1),
    "clip with adam": ({}, {"clip": 0.3, "optimizer": "adam"}, lambda share: 0.1),
    "batch normalization": ({"normalization": "batch", "activation": "relu"}, {}, lambda share: 0.1),
    "layer normalization": ({"normalization": "layer", "activation": "leaky_relu"}, {}, lambda share: 0.1),
    "weight normalization": ({"normalization": "weight", "activation": "elu"}, {}, lambda share: 0.1),
    "residual": ({"widths": (6, 6, 6, 6, 3), "residual": True}, {}, lambda share: 0.1),
    **{name: ({"activation": name}, {}, lambda share: 0.1) for name in ("tanh", "sigmoid", "gelu", "silu", "identity")},
}


@pytest.mark.parametrize("case", CASES)
def test_fit_does_what_a_plain_loop_does(case):
    options, settings, rate = CASES[case]
    (x, y), model = problem(), Spy(network(**options))
    other = copy.deepcopy(model.model)
    history = train(model, **settings)
    optimizer = OPTIMIZERS[settings.get("optimizer", "sgd")](other.parameters())
    losses, hits = plain_loop(other, model.batches, x, y, optimizer, rate, settings.get("clip"))
    for (name, ours), theirs in zip(model.model.state_dict().items(), other.state_dict().values(), strict=True):
        # 15 steps in float64, sums in another order; adam divides by roots of small numbers
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-11, msg=name)
    sizes = np.array([16, 16, 16, 16, 6])
    np.testing.assert_allclose(history.epochs["loss"], np.reshape(losses, (3, 5)) @ sizes / 70, rtol=1e-9)
    np.testing.assert_allclose(history.epochs["accuracy"], np.reshape(hits, (3, 5)).sum(axis=1) / 70, rtol=1e-15)
    np.testing.assert_allclose(history.epochs["lr"], [rate(s / 15) for s in (4, 9, 14)], rtol=1e-14)


def test_momentum_is_that_of_the_argument():
    (x, y), model = problem(), Spy(network())
    other = copy.deepcopy(model.model)
    train(model, optimizer="momentum", momentum=0.5)
    optimizer = torch.optim.SGD(other.parameters(), lr=1, momentum=0.5)
    plain_loop(other, model.batches, x, y, optimizer, lambda share: 0.1)
    torch.testing.assert_close(model.model[0].linear.weight, other[0].linear.weight, rtol=1e-9, atol=1e-11)


def test_an_epoch_takes_every_example_once_in_an_order_of_its_own():
    x, _ = problem()
    model = Spy(network())
    train(model)
    assert [len(b) for b in model.batches] == [16, 16, 16, 16, 6] * EPOCHS
    orders = [rows_of(torch.cat(model.batches[5 * e : 5 * e + 5]), x) for e in range(EPOCHS)]
    assert all(sorted(order) == list(range(70)) for order in orders)
    assert len({tuple(order) for order in [*orders, sorted(orders[0])]}) == EPOCHS + 1


def test_the_order_of_an_epoch_depends_on_seed_and_epoch_alone():
    def batches(seed, epochs):
        model = Spy(network(seed=epochs))
        train(model, seed=seed, epochs=epochs)
        return torch.cat(model.batches)

    torch.manual_seed(1)
    first = batches(0, 2)
    torch.manual_seed(2)
    assert torch.equal(first, batches(0, 3)[:140])
    assert not torch.equal(first, batches(1, 2))


# --- determinism, and nothing else changed ---------------------------------------------------------------------------


@pytest.mark.parametrize("activation", ["selu", "relu"])
def test_the_same_seed_gives_the_same_bits_and_another_one_others(activation):
    def state(seed, torch_seed):
        torch.manual_seed(torch_seed)
        model = fully_connected([6, 8, 8, 3], activation, dropout=0.3, seed=0)
        epochs = train(model, seed=seed).epochs.drop(columns="seconds")
        return torch.cat([p.detach().flatten() for p in model.parameters()]), epochs

    (a, rows), (b, same_rows), (c, _) = state(0, 1), state(0, 2), state(3, 1)
    assert torch.equal(a, b) and rows.equals(same_rows)
    assert not torch.equal(a, c)


def test_dropout_draws_new_masks_at_every_step_and_from_the_seed_alone():
    """With all examples alike the order of the batches does not matter, and only the masks can make a difference."""

    def losses(seed):
        model = network([6, 50, 3], activation="relu", dropout=0.5)
        return train(model, (np.ones((16, 6)), np.ones(16, int)), epochs=4, lr=1e-12, seed=seed).epochs["loss"]

    assert losses(0).nunique() == 4
    assert not np.isin(losses(0), losses(1)).any()
    assert losses(0).equals(losses(0))


def test_dropout_masks_of_an_epoch_depend_on_seed_and_epoch_alone():
    """Training one epoch of two gives the first epoch's row of both."""
    rows = [train(network(dropout=0.3), epochs=n).epochs.drop(columns="seconds").iloc[0] for n in (1, 2)]
    assert rows[0].equals(rows[1])


def test_only_the_parameters_change():
    model = network([6, 8, 8, 8, 3], activation="tanh", dropout=0.2)
    model[0].activation = nn.ReLU()
    model.train()
    model[1].eval()
    model[2].linear.bias.requires_grad_(False)
    model[0].linear.bias.grad = torch.ones(8, dtype=torch.float64)
    frozen, names = model[2].linear.bias.detach().clone(), [*model.state_dict()]
    parts = {name: dict(vars(part)) for name, part in model.named_modules()}
    torch.manual_seed(5)
    before = torch.get_rng_state(), np.random.get_state()[1].copy(), torch.get_num_threads()
    train(model, test=problem(seed=1), patience=2, statistics=8)
    evaluate(model, problem(), device="cpu")
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.array_equal(np.random.get_state()[1], before[1])
    assert torch.get_num_threads() == before[2]
    assert torch.is_grad_enabled()
    assert {name: dict(vars(part)) for name, part in model.named_modules()} == parts  # modes, flags, hooks, forwards
    assert torch.equal(model[2].linear.bias, frozen) and [*model.state_dict()] == names
    assert torch.equal(model[0].linear.bias.grad, torch.ones(8, dtype=torch.float64))
    assert model[1].linear.weight.grad is None
    copy.deepcopy(model)


def test_data_stay_as_they_are_and_need_not_be_writeable():
    x, y = problem()
    kept = x.copy(), y.copy()
    x.setflags(write=False)
    y.setflags(write=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        train(network(), (x, y))
    assert np.array_equal(x, kept[0]) and np.array_equal(y, kept[1])


def test_flags_are_put_back_after_an_error():
    model = network()
    with pytest.raises(ZeroDivisionError):
        train(model, schedule=lambda share: 1 / 0)
    assert not model[0].activation.inplace and model.training


def test_a_hook_sees_the_pre_activations_as_they_were():
    model, seen = network(sigma_w=10.0), []
    model[0].linear.register_forward_hook(lambda module, inputs, z: seen.append(z))
    train(model, epochs=1, lr=1e-6)
    assert [len(z) for z in seen[-5:]] == [16, 16, 16, 16, 6]
    assert all(z.min() < -1.7581 for z in seen[-5:])  # no value of selu is as low


@pytest.mark.parametrize("name", ["selu", "elu", "relu", "leaky_relu", "tanh", "sigmoid", "gelu", "silu"])
def test_activations_overwrite_their_argument_while_training_where_their_slope_follows_from_their_value(name):
    layer, z = network(activation=name)[0], torch.zeros(4, 8, dtype=torch.float64)
    with _steps.in_place_activations(layer):
        assert (layer.activation(z).data_ptr() == z.data_ptr()) == (name not in ("gelu", "silu"))
    assert layer.activation(z).data_ptr() != z.data_ptr()


@pytest.mark.parametrize("activation", ["selu", "elu", "relu", "leaky_relu", "tanh", "sigmoid", "identity"])
@pytest.mark.parametrize("settings", [{}, {"optimizer": "momentum"}, {"optimizer": "adam", "clip": 0.3}], ids=str)
def test_plain_networks_are_trained_as_by_autograd(activation, settings):
    """For a network that is not hidden in another module the gradients are computed by hand."""
    plain, hidden = network(activation=activation, sigma_b=0.5), Spy(network(activation=activation, sigma_b=0.5))
    ours, theirs = train(plain, **settings), train(hidden, **settings)
    for a, b in zip(plain.parameters(), hidden.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-11)
    for name in ("loss", "accuracy"):
        np.testing.assert_allclose(ours.epochs[name], theirs.epochs[name], rtol=1e-12)


def test_only_plain_networks_are_trained_by_hand():
    activations_by_hand = ("selu", "elu", "relu", "leaky_relu", "tanh", "sigmoid", "identity")
    assert all(is_chain(network(activation=name)) for name in activations_by_hand) and is_chain(network([6, 3]))
    others = [{"activation": "gelu"}, {"normalization": "batch"}, {"normalization": "weight"}, {"dropout": 0.1}]
    assert not any(is_chain(network(**options)) for options in others)
    assert not is_chain(network([6, 6, 6], residual=True)) and not is_chain(network()[0])
    assert not is_chain(network()[:2])  # ends with an activation
    shared, frozen = network([6, 6, 6, 3]), network()
    shared[1].linear.weight = shared[0].linear.weight
    frozen[0].linear.bias.requires_grad_(False)
    assert not is_chain(shared) and not is_chain(frozen)
    assert not is_chain(fully_connected([6, 8, 3], activations.selu(2.0, 1.1), seed=0))


def test_shared_and_frozen_parameters_are_trained_as_they_should():
    model = network([6, 6, 6, 3])
    model[1].linear.weight = model[0].linear.weight
    model[2].linear.bias.requires_grad_(False)
    spied, kept = Spy(copy.deepcopy(model)), model[2].linear.bias.detach().clone()
    other = copy.deepcopy(model)
    train(model), train(spied)
    x, y = problem()
    plain_loop(other, spied.batches, x, y, OPTIMIZERS["sgd"](other.parameters()), lambda share: 0.1)
    torch.testing.assert_close(model[0].linear.weight, other[0].linear.weight, rtol=1e-9, atol=1e-11)
    assert model[1].linear.weight is model[0].linear.weight and torch.equal(model[2].linear.bias, kept)


def test_fit_takes_no_copy_of_the_data():
    """20,000 rows of 784 are 60 MiB; what fit allocates beside them is counted, parameters and activations included."""
    x, y = torch.zeros(20_000, 784), torch.zeros(20_000, dtype=torch.long)
    model = fully_connected([784, 32, 10], seed=0)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        train(model, (x, y), (x, y), epochs=1, batch_size=256)
    events = [event for event in profile.profiler.kineto_results.events() if event.name() == "[memory]"]
    peak = np.cumsum([event.nbytes() for event in sorted(events, key=lambda event: event.start_ns())]).max()
    assert 2**20 < peak < 20 * 2**20


# --- what comes in ---------------------------------------------------------------------------------------------------


def test_data_come_as_pairs_tables_or_tensors_of_any_type():
    x, y = problem()
    table = Table(x, y, tuple("abcdef"), tuple("ABC"))
    same = [table, (x, y), [torch.from_numpy(x), torch.from_numpy(y)], (x.tolist(), y.astype(np.uint8))]
    losses = [train(network(), data).epochs["loss"].tolist() for data in same]
    assert losses[1:] == losses[:-1]
    history = train(fully_connected([6, 8, 3], seed=0), table)  # float32 model, float64 data
    assert history.epochs["loss"].iloc[-1] < history.epochs["loss"].iloc[0]


def test_a_batch_larger_than_the_data_is_all_of_them():
    rows = train(network(), batch_size=1000).epochs
    assert rows["step"].tolist() == [1, 2, 3]


def test_models_of_other_shapes_can_be_trained():
    x, y = problem(examples=40, n=16)
    pictures = x.reshape(40, 1, 4, 4)
    model = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(12, 3)).double()
    rows = train(model, (pictures, y), epochs=20).epochs
    assert rows["loss"].iloc[-1] < 0.8 * rows["loss"].iloc[0]


# --- history ---------------------------------------------------------------------------------------------------------


def test_history_has_a_row_for_each_epoch():
    x, y = problem()
    test = problem(seed=1)
    model = network()
    history = train(model, (x, y), test)
    columns = ["epoch", "step", "lr", "loss", "accuracy", "test_loss", "test_accuracy", "seconds"]
    assert list(history.epochs) == columns
    assert history.epochs["epoch"].tolist() == [1, 2, 3] and history.epochs["step"].tolist() == [5, 10, 15]
    last = history.epochs.iloc[-1]
    assert (last["test_loss"], last["test_accuracy"]) == evaluate(model, test, device="cpu")
    assert (history.epochs["seconds"] > 0).all() and history.epochs["seconds"].sum() < 60
    assert history.layers is None and history.device == "cpu" and history.stopped == "finished"
    assert history.settings["lr"] == 0.1 and history.settings["batch_size"] == BATCH
    assert list(train(model).epochs) == [*columns[:5], "seconds"]
    assert repr(history) == "History(3 epochs on cpu, finished)"


def test_history_looks_at_the_layers_before_training_and_after_each_epoch():
    x, y = problem()
    model = network(normalization="batch", dropout=0.2)
    begin = copy.deepcopy(model).eval()
    layers = train(model, statistics=20).layers
    assert layers["epoch"].tolist() == sorted([0, 1, 2, 3] * 3) and layers["layer"].tolist() == [1, 2, 3] * 4
    for epoch, at in ((0, begin), (EPOCHS, model.eval())):
        expected = layer_statistics(at, x[:20], y[:20])
        found = layers[layers["epoch"] == epoch].drop(columns="epoch").reset_index(drop=True)
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-14)


def test_looking_at_the_layers_does_not_change_the_run():
    rows = [
        train(network(normalization="batch", dropout=0.2), statistics=b).epochs.drop(columns="seconds") for b in (0, 9)
    ]
    assert rows[0].equals(rows[1])


# --- early stopping --------------------------------------------------------------------------------------------------


def noise(seed):
    """Return labels that have nothing to do with x: the test loss soon rises."""
    rng = np.random.default_rng(seed)
    return rng.standard_normal((40, 6)), rng.integers(3, size=40)


@pytest.mark.parametrize("patience", [1, 3])
def test_training_stops_when_the_test_loss_falls_no_more_and_the_best_parameters_come_back(patience):
    model = network(normalization="batch")
    history = train(model, noise(0), noise(1), epochs=60, patience=patience)
    losses = history.epochs["test_loss"].to_numpy()
    best = losses.argmin()
    assert history.stopped == "early stopping" and len(losses) == best + 1 + patience < 60
    # at no earlier epoch had the loss not fallen for so long
    records = [e for e in range(len(losses)) if losses[e] < min(losses[:e], default=np.inf)]
    assert max(np.diff([*records, len(losses) - 1])) == patience == len(losses) - 1 - records[-1]
    assert evaluate(model, noise(1), device="cpu")[0] == losses[best]


def test_the_best_parameters_come_back_when_the_epochs_are_over_before_the_patience():
    model = network()
    history = train(model, noise(0), noise(1), epochs=30, patience=30)
    losses = history.epochs["test_loss"]
    assert history.stopped == "finished" and losses.idxmin() < 29
    assert evaluate(model, noise(1), device="cpu")[0] == losses.min()


def test_without_patience_the_last_parameters_stay():
    model = network()
    losses = train(model, noise(0), noise(1), epochs=30).epochs["test_loss"]
    assert losses.idxmin() < 29
    assert evaluate(model, noise(1), device="cpu")[0] == losses.iloc[-1]


# --- evaluate --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch_size", [1, 7, 4096])
def test_evaluate_gives_the_mean_loss_and_the_share_of_right_answers_in_evaluation_mode(batch_size):
    x, y = problem()
    model = network(normalization="batch", dropout=0.5)
    with torch.no_grad():
        p = model.eval()(torch.from_numpy(x)).softmax(dim=1).numpy()
    model.train()
    loss, accuracy = evaluate(model, (x, y), device="cpu", batch_size=batch_size)
    assert loss == pytest.approx(-np.log(p[np.arange(70), y]).mean(), rel=1e-13)
    assert accuracy == (p.argmax(axis=1) == y).mean()
    assert all(part.training for part in model.modules())


# --- divergence and Ctrl-C -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("looks", [True, False], ids=["at each step", "now and then"])
def test_divergence_names_the_layer_and_the_step_and_keeps_the_history(monkeypatch, looks):
    """The rate jumps at step 12, the second of epoch 3, so that step 13 finds an overflow."""
    if not looks:  # as on CUDA, where a look at each step would make the host wait
        make = _steps.Step.__init__
        monkeypatch.setattr(
            _steps.Step, "__init__", lambda step, *arguments: [make(step, *arguments), setattr(step, "looks", False)][0]
        )
    model = network(normalization="batch", dropout=0.1)
    with pytest.raises(DivergedError) as caught:
        train(model, schedule=lambda share: 1 if share < 11 / 15 else 1e300, optimizer="adam", lr=0.01)
    error = caught.value
    assert (error.step, error.epoch, error.layer) == (13, 3, 2)
    assert isinstance(error, ArithmeticError) and isinstance(error.history, History)
    assert error.history.epochs["epoch"].tolist() == [1, 2] and error.history.stopped == "diverged"
    expected = train(network(normalization="batch", dropout=0.1), epochs=2, optimizer="adam", lr=0.01).epochs
    assert error.history.epochs.drop(columns="seconds").equals(expected.drop(columns="seconds"))
    assert "became nan at step 13 (epoch 3): layer 2 of 3 was the first" in str(error) and "lower lr (0.01)" in str(
        error
    )
    assert not model[0].activation.inplace


@pytest.mark.parametrize("layer", [1, 2, 3])
def test_divergence_names_the_layer_whose_weights_are_not_finite(layer):
    model = network()
    with torch.no_grad():
        model[layer - 1].linear.weight[0, 0] = math.inf
    kept = copy.deepcopy(model.state_dict())
    with pytest.raises(DivergedError, match=rf"at step 1 \(epoch 1\): layer {layer} of 3 was the first") as caught:
        train(model)
    assert caught.value.layer == layer and len(caught.value.history.epochs) == 0
    for name, t in model.state_dict().items():
        assert torch.equal(t, kept[name])  # the parameters are those before the bad step


def test_divergence_by_finite_outputs_says_so():
    """Outputs of +-1e308 are finite, and their difference is not."""
    model = network([6, 3])
    with torch.no_grad():
        model[0].linear.weight.zero_()
        model[0].linear.bias.copy_(torch.tensor([1e308, -1e308, -1e308], dtype=torch.float64))
    with pytest.raises(DivergedError, match=r"became inf at step 1 \(epoch 1\); lower lr") as caught:
        train(model)
    assert caught.value.layer is None


def test_ctrl_c_ends_with_the_history_so_far():
    def press(share):
        if share > 0.8:
            raise KeyboardInterrupt
        return 1.0

    model = network()
    with pytest.raises(Interrupted) as caught:
        train(model, schedule=press)
    assert isinstance(caught.value, KeyboardInterrupt)
    assert caught.value.history.epochs["epoch"].tolist() == [1, 2]
    assert caught.value.history.stopped == "interrupted" and not model[0].activation.inplace


# --- precision and devices -------------------------------------------------------------------------------------------


def test_bf16_rounds_products_and_keeps_parameters_in_float32():
    def run(precision):
        model = fully_connected([6, 64, 64, 3], seed=0)
        return train(model, precision=precision).epochs["loss"].to_numpy(), model[0].linear.weight

    (full, _), (short, weight) = run("fp32"), run("bf16")
    assert weight.dtype == torch.float32
    # 8 bits of mantissa: errors of some 2^-9 per product, averaged over 70 examples
    assert 1e-6 < np.abs(full - short).max() < 0.02


@CUDA
@pytest.mark.parametrize(
    "options", [{}, {"normalization": "batch"}, {"dropout": 0.1}, {"normalization": "weight"}], ids=str
)
@pytest.mark.parametrize("settings", [{}, {"optimizer": "momentum"}, {"optimizer": "adam", "clip": 0.5}], ids=str)
def test_cuda_gives_what_the_cpu_gives(options, settings):
    """Masks of dropout differ between devices: such a network only has to learn."""
    model, twin = network(**options), network(**options)
    ours, theirs = train(model, device="cuda", epochs=10, **settings), train(twin, epochs=10, **settings)
    assert ours.device == torch.cuda.get_device_name() and next(model.parameters()).device.type == "cpu"
    if "dropout" in options:
        assert ours.epochs["loss"].iloc[-1] < ours.epochs["loss"].iloc[0]
    else:
        np.testing.assert_allclose(ours.epochs["loss"], theirs.epochs["loss"], rtol=1e-7)


@CUDA
def test_cuda_captures_the_step_of_a_plain_network():
    run = []
    make = _steps.CapturedStep.__init__
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_steps.CapturedStep, "__init__", lambda s, *a: [make(s, *a), run.append(s)][0])
        train(network(), device="cuda")
        train(network(dropout=0.1), device="cuda")
    assert len(run) == 1 and run[0].graph is not None


@CUDA
def test_tf32_is_put_back():
    before = torch.backends.cuda.matmul.allow_tf32
    train(fully_connected([6, 8, 3], seed=0), device="cuda", precision="tf32")
    assert torch.backends.cuda.matmul.allow_tf32 == before


# --- progress --------------------------------------------------------------------------------------------------------


class Terminal(io.StringIO):
    """A stream that says that it is a terminal."""

    def isatty(self):
        """Say so."""
        return True


def test_a_bar_is_shown_on_a_terminal_only_and_goes_away(monkeypatch, capsys):
    train(network(), progress=True)
    assert capsys.readouterr() == ("", "")
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    train(network(), progress=False)
    assert screen.getvalue() == ""
    train(network(), progress=True, epochs=7)
    assert "/7" in screen.getvalue()
    assert screen.getvalue().endswith("\r") and screen.getvalue().rsplit("\r", 2)[1].strip() == ""


# --- errors ----------------------------------------------------------------------------------------------------------

X, Y = problem()


@pytest.mark.parametrize(
    "options, message",
    [
        ({"epochs": 0}, "epochs must be a whole number >= 1, got 0"),
        ({"epochs": 1.5}, "epochs must be a whole number >= 1, got 1.5"),
        ({"batch_size": 0}, "batch_size must be a whole number >= 1, got 0"),
        ({"batch_size": True}, "batch_size must be"),
        ({"lr": 0}, "lr must be a finite number > 0, got 0"),
        ({"lr": -0.1}, "lr must be"),
        ({"lr": math.nan}, "lr must be"),
        ({"lr": "0.1"}, "lr must be"),
        ({"optimizer": "rmsprop"}, "unknown optimizer 'rmsprop'; choose one of sgd, momentum, adam"),
        ({"momentum": 1}, "0 <= momentum < 1, got 1"),
        ({"schedule": "step"}, "unknown schedule 'step'; choose None, cosine, linear or a function"),
        ({"schedule": lambda share: -1}, "schedule must give a factor >= 0 of the learning rate, but gives -1 at 0"),
        ({"schedule": lambda share: math.nan}, "gives nan"),
        ({"patience": 0, "test": (X, Y)}, "patience must be a whole number of epochs >= 1, or None, got 0"),
        ({"patience": 2}, "patience watches the loss on a test set: give one"),
        ({"clip": 0}, "clip must be a finite number > 0, or None, got 0"),
        ({"checkpoint_minutes": -1}, "checkpoint_minutes must be"),
        ({"precision": "fp16"}, "unknown precision 'fp16'; choose one of fp32, tf32, bf16"),
        ({"precision": "tf32"}, "'tf32' exists on CUDA only"),
        ({"precision": "bf16"}, "'bf16' needs parameters of type float32"),
        ({"seed": -1}, "seed must be a whole number >= 0, got -1"),
        ({"statistics": -1}, "statistics must be"),
        ({"device": "tpu"}, "unknown device 'tpu'; choose 'auto', 'cuda', 'mps' or 'cpu'"),
        ({"device": "meta"}, "unknown device 'meta'"),
        ({"device": 1.5}, "unknown device 1.5"),
        ({"data": (X, Y + 1)}, "y of train must lie between 0 and 2, as the model has 3 outputs, but holds 3"),
        ({"data": (X, Y - 1)}, "but holds -1"),
        ({"test": (X, Y + 1)}, "y of test must lie between 0 and 2"),
        ({"data": (X[:, :5], Y)}, r"shape \(70, 5\), and its first linear layer takes 6 inputs"),
        ({"test": (X[:, :5], Y)}, r"cannot take x of test"),
        ({"data": (X[:0], Y[:0])}, r"x of train must hold examples along its first axis, \(B, n\), got shape \(0, 6\)"),
        ({"data": (X[0], Y[:6])}, r"got shape \(6,\)"),
        ({"data": (X, Y[:-1])}, r"y of train must have shape \(70,\), one label per example, got \(69,\)"),
        ({"data": (X, Y.astype(float))}, "y of train must be whole numbers, the classes from 0 on, got torch.float64"),
        ({"data": (X, Y > 0)}, "whole numbers, the classes from 0 on, got torch.bool"),
        ({"data": (np.where(X > 2, np.nan, X), Y)}, "x of train must be finite, but holds nan"),
        ({"test": (np.where(X > 2, np.inf, X), Y)}, "x of test must be finite, but holds inf"),
        ({"data": (X.astype(str), Y)}, "data must be numbers, got <U"),
        ({"data": X}, r"train must have .x and .y or be a pair \(x, y\), got ndarray"),
        ({"test": 5}, r"test must have .x and .y or be a pair \(x, y\), got int"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(options, message):
    model = network()
    kept = copy.deepcopy(model.state_dict())
    with pytest.raises(ValueError, match=message):
        train(model, **options)
    for name, t in model.state_dict().items():
        assert torch.equal(t, kept[name])


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
@pytest.mark.parametrize(
    "call", [train, lambda model, device: evaluate(model, (X, Y), device)], ids=["fit", "evaluate"]
)
def test_cuda_where_there_is_none_is_refused(call):
    with pytest.raises(ValueError, match="device 'cuda' was asked for, but torch sees 0 CUDA devices: device='auto'?"):
        call(network(), device="cuda")


def test_models_that_cannot_be_trained_are_refused():
    frozen = network().requires_grad_(False)
    with pytest.raises(ValueError, match="no parameters to train"):
        train(frozen)
    with pytest.raises(ValueError, match=r"outputs \(B, K\), one number per class, got \(1,\)"):
        train(nn.Sequential(nn.Linear(6, 1), nn.Flatten(0)).double())
    with pytest.raises(ValueError, match="70 examples in batches of 23 make one of a single example"):
        train(network(normalization="batch"), batch_size=23)
    train(network(normalization="layer"), batch_size=23)


def test_evaluate_refuses_what_does_not_fit():
    with pytest.raises(ValueError, match="batch_size must be a whole number >= 1, got 0"):
        evaluate(network(), (X, Y), batch_size=0)
    with pytest.raises(ValueError, match="y of data must lie between 0 and 2"):
        evaluate(network(), (X, Y + 1), device="cpu")


def test_names_that_others_import_are_there():
    assert {"fit", "evaluate", "History", "DivergedError", "Interrupted", "CheckpointError"} == set(training.__all__)
