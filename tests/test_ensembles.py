"""An ensemble does what its networks would do one at a time, and `fit_many` what as many calls of `fit` would."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from snnlib import activations, training
from snnlib.ensembles import Ensemble, fit_many
from snnlib.networks import fully_connected

WIDTHS, S = [7, 6, 6, 3], 4
RATES = [0.3, 0.1, 0.03, 0.01]
KINDS = [{}, {"normalization": "batch"}, {"normalization": "layer"}, {"normalization": "weight"}, {"residual": True}]


@pytest.fixture(autouse=True)
def float64():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def name_of(kind):
    return " ".join(map(str, kind.values())) or "plain"


def batches(count=5):
    generator = torch.Generator().manual_seed(0)
    for _ in range(count):
        yield torch.randn(16, 7, generator=generator), torch.randint(0, 3, (16,), generator=generator)


def alone(model, rate, clip=None):
    """Plain torch: a copy of the model after a few steps, and its losses."""
    model, losses = copy.deepcopy(model), []
    optimizer = torch.optim.SGD(model.parameters(), lr=rate)
    for x, labels in batches():
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), labels)
        loss.backward()
        if clip is not None:
            nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimizer.step()
        losses.append(loss.item())
    return model, losses


def assert_same_state(model, expected, tolerance):
    found, wanted = model.state_dict(), expected.state_dict()
    assert found.keys() == wanted.keys()
    for name in wanted:
        torch.testing.assert_close(found[name], wanted[name], rtol=tolerance, atol=tolerance, msg=name)


# --- steps -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("clip", [None, 0.2, 5.0])
@pytest.mark.parametrize("kind", KINDS, ids=name_of)
def test_training_side_by_side_equals_training_one_at_a_time(kind, clip):
    models = [fully_connected(WIDTHS, "tanh", seed=s, sigma_b=0.1, **kind) for s in range(S)]
    ensemble = Ensemble(models)
    tolerance = 1e-9 if clip is None else 1e-4  # torch shortens to clip / (1 + 1e-6 / norm)
    losses = torch.stack([ensemble.step(x, labels, RATES, clip) for x, labels in batches()])
    for s in range(S):
        expected, expected_losses = alone(models[s], RATES[s], clip)
        assert losses[:, s].tolist() == pytest.approx(expected_losses, rel=tolerance)
        assert_same_state(ensemble.model(s), expected, 10 * tolerance)


def test_each_network_may_have_its_own_activation():
    names = ["tanh", "selu", "selu", "gelu", "tanh", "identity", "sigmoid", activations.selu(1.5, 1.1)]
    names += [activations.selu(1.5, 1.1), activations.selu(1.5, 1.2)]  # modules of two classes of one name
    models = [fully_connected(WIDTHS, name, seed=s) for s, name in enumerate(names)]
    ensemble = Ensemble(models)
    for x, labels in batches():
        ensemble.step(x, labels, 0.1)
    for s, model in enumerate(models):
        assert_same_state(ensemble.model(s), alone(model, 0.1)[0], 1e-9)
        torch.testing.assert_close(ensemble.logits(x)[s], ensemble.model(s)(x))


def test_each_network_may_have_its_own_batch():
    models = [fully_connected(WIDTHS, "elu", "batch", residual=True, seed=s) for s in range(S)]
    ensemble = Ensemble(models)
    x, labels = (torch.stack(parts) for parts in zip(*batches(S), strict=True))
    losses = ensemble.losses(x, labels)
    for s, model in enumerate(models):
        torch.testing.assert_close(losses[s], nn.functional.cross_entropy(model(x[s]), labels[s]))


@pytest.mark.parametrize("kind", [*KINDS, {"dropout": 0.5}], ids=name_of)
def test_networks_of_the_course_are_batched_without_a_loop_of_torch(kind, monkeypatch):
    ensemble = Ensemble([fully_connected(WIDTHS, seed=s, **kind) for s in range(S)])
    monkeypatch.setattr(torch, "vmap", None)
    (x, labels), *_ = batches(1)
    ensemble.step(x, labels, 0.1)


def test_any_modules_that_are_alike_make_an_ensemble():
    class Doubled(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = nn.Linear(7, 3)

        def forward(self, x):
            return 2 * self.inner(x)

    models = [Doubled() for _ in range(S)]
    ensemble = Ensemble(models)
    for x, labels in batches():
        ensemble.step(x, labels, RATES)
    for s in range(S):
        assert_same_state(ensemble.model(s), alone(models[s], RATES[s])[0], 1e-9)


def test_a_hook_is_run():
    models, calls = [fully_connected(WIDTHS, seed=s) for s in range(2)], []
    for model in models:
        model[0].linear.register_forward_hook(lambda *_: calls.append(1))
    (x, _), *_ = batches(1)
    Ensemble(models).logits(x)
    assert calls


def test_accuracy_is_taken_in_evaluation_mode_and_leaves_the_mode():
    models = [fully_connected(WIDTHS, "relu", "batch", dropout=0.5, seed=s) for s in range(S)]
    ensemble = Ensemble(models)
    for x, labels in batches():
        ensemble.step(x, labels, 0.1)
    (x, labels), *_ = batches(1)
    before = {name: b.clone() for name, b in ensemble.buffers.items()}
    accuracy = ensemble.accuracy(x, labels)
    for s in range(S):
        right = ensemble.model(s).eval()(x).argmax(dim=1) == labels
        assert accuracy[s].item() == pytest.approx(right.double().mean().item(), abs=1e-6)
    assert all(torch.equal(before[name], b) for name, b in ensemble.buffers.items())
    assert ensemble.model(0).training and ensemble.training


@pytest.mark.parametrize("activation", ["selu", "sigmoid"])
def test_dropout_masks_differ_from_network_to_network(activation):
    model = fully_connected([1, 20_000, 1], activation, dropout=0.3, sigma_b=1.0, seed=0)[:1]
    with torch.no_grad():
        first, second = Ensemble([model, model]).logits(torch.ones(1, 1))
    assert (first != second).double().mean() == pytest.approx(2 * 0.3 * 0.7, abs=0.02)  # 6 standard deviations


def test_a_network_that_diverges_leaves_the_others_alone():
    models = [fully_connected(WIDTHS, "relu", scheme="he", seed=s) for s in range(2)]
    ensemble = Ensemble(models)
    for x, labels in batches():
        losses = ensemble.step(x, labels, [1e200, 0.1])
    assert not torch.isfinite(losses[0])
    assert losses[1].item() == pytest.approx(alone(models[1], 0.1)[1][-1], rel=1e-9)


def test_the_models_stay_as_they_are():
    models = [fully_connected(WIDTHS, seed=s) for s in range(2)]
    before = copy.deepcopy(models[0].state_dict())
    (x, labels), *_ = batches(1)
    Ensemble(models).step(x, labels, 0.5)
    assert all(torch.equal(before[name], p) for name, p in models[0].state_dict().items())
    assert not any(getattr(layer, "inplace", False) for layer in models[0].modules())


@pytest.mark.parametrize(
    ("models", "message"),
    [
        ([], "at least one model"),
        ([fully_connected([3, 4, 2], seed=0), fully_connected([3, 5, 2], seed=0)], "model 1 has other parameters"),
        ([fully_connected([3, 2], seed=0), fully_connected([3, 2], seed=0).double()], "model 1 has other parameters"),
        ([fully_connected([3, 3, 2], residual=r, seed=0) for r in (True, False)], "model 1 has other layers"),
        ([fully_connected([3, 3, 2], dropout=p, seed=0) for p in (0.1, 0.1, 0.2)], "model 2 has other layers"),
        ([fully_connected([3, 2], seed=0).train(mode) for mode in (True, False)], "in one mode"),
        ([nn.Sequential(nn.Linear(3, 2), f) for f in (nn.Tanh(), nn.ReLU())], "model 1 has other modules"),
    ],
    ids=["none", "widths", "type", "residual", "dropout", "mode", "modules"],
)
def test_models_that_do_not_fit_are_refused(models, message):
    with pytest.raises(ValueError, match=message):
        Ensemble(models)


# --- fit_many --------------------------------------------------------------------------------------------------------


def table(n, seed):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, 7)), rng.integers(0, 3, n)


TRAIN, TEST = table(70, 0), table(33, 1)  # batches of 16: the last one holds 6
OPTIONS = [
    {},
    {"optimizer": "momentum", "clip": 0.2, "schedule": "linear", "statistics": 10},
    {"optimizer": "adam", "clip": 0.5, "schedule": "cosine", "lr": [0.03, 0.01, 0.003, 0.001]},
]


def assert_equals_fits(models, tolerance=1e-10, train=TRAIN, test=TEST, **options):
    """Train the models side by side, and copies of them with one call of `fit` for each."""
    options = {"epochs": 2, "batch_size": 16, "lr": RATES, "device": "cpu"} | options
    copies = copy.deepcopy(models)
    histories = fit_many(models, train, test, **options)
    assert len(histories) == len(models)
    for s, (model, expected) in enumerate(zip(models, copies, strict=True)):
        own = {name: options[name][s] for name in ("lr", "seed") if isinstance(options.get(name), list)}
        history = training.fit(expected, train, test, **(options | own))
        assert_same_state(model, expected, tolerance)
        found, wanted = (h.epochs.drop(columns="seconds") for h in (histories[s], history))
        assert list(found) == list(wanted)
        np.testing.assert_allclose(found.to_numpy(float), wanted.to_numpy(float), rtol=tolerance, atol=tolerance)
        if history.layers is not None:
            found, wanted = (h.layers.to_numpy(float) for h in (histories[s], history))
            np.testing.assert_allclose(found, wanted, rtol=tolerance, atol=tolerance)
        assert (histories[s].settings, histories[s].stopped) == (history.settings, "finished")
        assert histories[s].device == history.device
        assert model.training == expected.training


@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: options.get("optimizer", "sgd"))
@pytest.mark.parametrize("kind", KINDS, ids=name_of)
def test_fit_many_equals_as_many_fits(kind, options):
    models = [fully_connected(WIDTHS, "tanh", seed=s, sigma_w=1 + s / 4, sigma_b=0.1, **kind) for s in range(S)]
    # The biases before batch normalization have gradient 0, and adam makes steps of rounding errors: up to lr each.
    tolerance = 1e-7 if "batch" in kind.values() and options.get("optimizer") == "adam" else 1e-10
    assert_equals_fits(models, tolerance, **options)


@pytest.mark.parametrize("kind", [{}, {"normalization": "batch"}, {"residual": True, "dropout": 0.2}], ids=name_of)
def test_each_seed_has_its_own_order_of_the_batches(kind):
    assert_equals_fits([fully_connected(WIDTHS, "elu", seed=s, **kind) for s in range(S)], seed=[5, 0, 5, 2**40])


@pytest.mark.parametrize("activation", ["selu", "relu"])
@pytest.mark.parametrize("seed", [0, [3, 1, 4, 1]], ids=["one seed", "seeds"])
def test_dropout_masks_are_those_of_fit(activation, seed):
    assert_equals_fits([fully_connected(WIDTHS, activation, dropout=0.3, seed=s) for s in range(S)], seed=seed)


@pytest.mark.parametrize("normalization", [None, "layer"])
@pytest.mark.parametrize(
    "names",
    [("tanh", "relu", "tanh", "gelu"), ("elu", "leaky_relu", "elu", "sigmoid"), ("selu", "identity", "relu", "tanh")],
    ids="-".join,
)
def test_activations_may_alternate(names, normalization):
    models = [fully_connected(WIDTHS, name, normalization, residual=True, seed=s) for s, name in enumerate(names)]
    assert_equals_fits(models)


@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 1e-5), ("bf16", 0.02)])
def test_float32_agrees_loosely(precision, tolerance):
    torch.set_default_dtype(torch.float32)
    models = [fully_connected(WIDTHS, seed=s) for s in range(S)]
    assert_equals_fits(models, tolerance, precision=precision)


@pytest.mark.parametrize("seed", [0, [1, 2, 3, 4]], ids=["one seed", "seeds"])
def test_other_modules_are_trained_too(seed):
    def module(s):
        torch.manual_seed(s)
        return nn.Sequential(nn.Flatten(), nn.Linear(7, 5), nn.BatchNorm1d(5), nn.SiLU(), nn.Linear(5, 3))

    train = TRAIN[0].reshape(-1, 7, 1), TRAIN[1]
    assert_equals_fits([module(s) for s in range(S)], train=train, test=None, seed=seed)


def test_other_modules_with_one_seed_drop_the_same_units_as_in_fit():
    models = [nn.Sequential(nn.Linear(7, 5), nn.Dropout(0.4), nn.Linear(5, 3)) for _ in range(S)]
    assert_equals_fits(models, seed=3)


def test_frozen_parameters_stay():
    models = [fully_connected(WIDTHS, seed=s) for s in range(S)]
    for model in models:
        model[0].requires_grad_(False)
    assert_equals_fits(models)
    assert torch.equal(models[2][0].linear.weight, fully_connected(WIDTHS, seed=2)[0].linear.weight)


@pytest.mark.parametrize("options", [{}, {"clip": 1e300, "statistics": 8}, {"optimizer": "adam", "clip": 1.0}])
def test_divergence_stays_in_its_network(options):
    def make():
        return [fully_connected(WIDTHS, "relu", "batch", scheme="he", seed=s) for s in range(3)]

    models, copies = make(), make()
    with torch.no_grad():
        models[1][0].linear.weight[0, 0] = copies[1][0].linear.weight[0, 0] = torch.inf
    histories = fit_many(models, TRAIN, TEST, epochs=3, batch_size=16, lr=0.1, device="cpu", **options)
    assert [h.stopped for h in histories] == ["finished", "diverged", "finished"]
    values = histories[1].epochs[["loss", "accuracy", "test_loss", "test_accuracy"]]
    assert len(values) == 3 and values.isna().all(axis=None)
    assert all(p.isnan().all() for p in models[1].parameters())
    for s in (0, 2):
        training.fit(copies[s], TRAIN, TEST, epochs=3, batch_size=16, lr=0.1, device="cpu", **options)
        # exactly: adam's steps of rounding errors would otherwise be others
        assert_same_state(models[s], copies[s], 1e-7 if options.get("optimizer") else 1e-10)


def test_all_parameters_are_nan_even_if_the_last_step_was_the_first_that_went_wrong():
    models = [fully_connected(WIDTHS, "relu", scheme="he", seed=s) for s in range(2)]
    with torch.no_grad():
        models[0][2].linear.weight[0, 0] = 1e200
    histories = fit_many(models, (1e200 * TRAIN[0][:9], TRAIN[1][:9]), epochs=1, lr=[1e-9, 1e-300], device="cpu")
    assert [h.stopped for h in histories] == ["diverged", "finished"]
    assert all(p.isnan().all() for p in models[0].parameters())
    assert all(p.isfinite().all() for p in models[1].parameters())


@pytest.mark.parametrize("clip", [None, 1.0])
def test_an_infinite_loss_ends_a_network_even_if_the_next_one_would_be_finite(clip):
    # 1.5e308 - (-1.5e308) is too large for a number, but the probabilities 0 and 1 and the gradient are none the worse
    models = [fully_connected([1, 2], seed=s) for s in range(2)]
    with torch.no_grad():
        for model, scale in zip(models, (1.0, 1e-10), strict=True):
            model[0].linear.weight.copy_(torch.tensor([[scale], [-scale]]))
    x, y = np.ones((9, 1)), np.arange(9) % 2
    x[training._steps.order(0, 0, 9)[3]], y[training._steps.order(0, 0, 9)[3]] = 1.5e308, 1  # step 4 of 9
    histories = fit_many(models, (x, y), epochs=1, batch_size=1, lr=[1e-300, 1e-318], clip=clip, device="cpu")
    assert [h.stopped for h in histories] == ["diverged", "finished"]
    assert histories[0].epochs["loss"].isna().all() and histories[1].epochs["loss"].notna().all()
    assert models[0][0].linear.weight.isnan().all() and models[1][0].linear.weight.isfinite().all()


def test_a_network_diverges_in_the_epoch_in_which_fit_would_stop():
    def make(lr):
        return fully_connected(WIDTHS, "identity", scheme="he", seed=1, sigma_w=1.0)

    data = (TRAIN[0] * 50, TRAIN[1])
    lr = 3.0
    with pytest.raises(training.DivergedError) as error:
        training.fit(make(lr), data, epochs=40, batch_size=16, lr=lr, device="cpu")
    before = error.value.history.epochs
    assert len(before) >= 1
    calm, wild = fit_many([make(lr), make(lr)], data, epochs=40, batch_size=16, lr=[1e-5, lr], device="cpu")
    assert (calm.stopped, wild.stopped) == ("finished", "diverged")
    assert calm.epochs.notna().all(axis=None)
    assert wild.epochs["loss"].isna().to_list() == [False] * len(before) + [True] * (40 - len(before))


def test_modes_and_torchs_random_state_are_left_as_they_were():
    models = [fully_connected(WIDTHS, dropout=0.2, seed=s) for s in range(2)]
    models[1].eval()
    state = torch.random.get_rng_state()
    fit_many(models, TRAIN, TEST, epochs=1, seed=[0, 1], statistics=4, device="cpu")
    assert torch.equal(state, torch.random.get_rng_state())
    assert (models[0].training, models[1].training) == (True, False)
    assert all(part.training == model.training for model in models for part in model.modules())
    assert not any(getattr(part, "inplace", False) for model in models for part in model.modules())


def test_ctrl_c_leaves_the_models_after_a_whole_step():
    models = [fully_connected(WIDTHS, seed=s) for s in range(2)]
    copies = copy.deepcopy(models)

    def schedule(share):
        if share >= 0.5:
            raise KeyboardInterrupt
        return 1.0

    with pytest.raises(training.Interrupted) as interruption:
        fit_many(models, TRAIN, epochs=4, batch_size=16, lr=0.1, schedule=schedule, device="cpu")
    histories = interruption.value.history
    assert [(len(h.epochs), h.stopped) for h in histories] == [(2, "interrupted")] * 2
    for model, expected in zip(models, copies, strict=True):
        training.fit(expected, TRAIN, epochs=2, batch_size=16, lr=0.1, device="cpu")
        assert_same_state(model, expected, 1e-10)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lr": [0.1, 0.2, 0.3]}, "lr must be one value or one for each of 2 models, got 3"),
        ({"seed": [1]}, "seed must be one value or one for each of 2 models, got 1"),
        ({"lr": [0.1, -1.0]}, "lr must be a finite number > 0, got -1.0"),
        ({"seed": [0, -1]}, "seed must be a whole number >= 0, got -1"),
        ({"epochs": 0}, "epochs must be"),
        ({"device": "quantum"}, "unknown device"),
        ({"precision": "tf32"}, "CUDA only"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(options, message):
    models = [fully_connected(WIDTHS, seed=s) for s in range(2)]
    with pytest.raises(ValueError, match=message):
        fit_many(models, TRAIN, **({"epochs": 1, "device": "cpu"} | options))


def test_arrays_and_tensors_give_rates_and_seeds_too():
    results = []
    for wrap in (list, np.array, torch.tensor):
        models = [fully_connected(WIDTHS, seed=s) for s in range(2)]
        histories = fit_many(models, TRAIN, epochs=1, lr=wrap([0.1, 0.2]), seed=wrap([1, 2]), device="cpu")
        results.append([h.epochs["loss"].to_list() for h in histories])
    assert results[0] == results[1] == results[2]


def test_models_that_cannot_be_trained_together_are_refused():
    model = fully_connected(WIDTHS, seed=0)
    with pytest.raises(ValueError, match="one model twice"):
        fit_many([model, model], TRAIN, epochs=1)
    with pytest.raises(ValueError, match="at least one model"):
        fit_many([], TRAIN, epochs=1)
    with pytest.raises(ValueError, match="model 1 has other parameters"):
        fit_many([model, fully_connected([7, 5, 3], seed=0)], TRAIN, epochs=1)
    with pytest.raises(ValueError, match="takes 7 inputs"):
        fit_many([model], (TRAIN[0][:, :5], TRAIN[1]), epochs=1, device="cpu")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("kind", KINDS, ids=name_of)
@pytest.mark.parametrize("seed", [0, [1, 2, 3, 4]], ids=["one seed", "seeds"])
def test_a_cuda_device_gives_what_the_cpu_gives(kind, seed):
    models = [fully_connected(WIDTHS, "tanh", seed=s, **kind) for s in range(S)]
    copies = copy.deepcopy(models)
    options = {"epochs": 4, "batch_size": 16, "lr": RATES, "seed": seed}  # a captured step after the first ones
    histories = fit_many(models, TRAIN, TEST, device="cuda", **options)
    expected = fit_many(copies, TRAIN, TEST, device="cpu", **options)
    for s in range(S):
        assert_same_state(models[s], copies[s], 1e-9)
        assert histories[s].epochs["loss"].to_list() == pytest.approx(expected[s].epochs["loss"].to_list(), rel=1e-9)
        assert histories[s].device == torch.cuda.get_device_name()
