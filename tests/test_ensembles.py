"""An ensemble does what its networks would do one at a time."""

import copy

import pytest
import torch
from torch import nn

from snnlib.ensembles import Ensemble
from snnlib.networks import fully_connected

WIDTHS, S = [7, 6, 6, 3], 4
RATES = [0.3, 0.1, 0.03, 0.01]


@pytest.fixture(autouse=True)
def float64():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


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


KINDS = [{}, {"normalization": "batch"}, {"normalization": "layer"}, {"normalization": "weight"}, {"residual": True}]


@pytest.mark.filterwarnings("ignore:There is a performance drop")  # weight normalization, in a loop over the networks
@pytest.mark.parametrize("clip", [None, 0.2, 5.0])
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: str(*kind.values()) or "plain")
def test_training_side_by_side_equals_training_one_at_a_time(kind, clip):
    models = [fully_connected(WIDTHS, "tanh", seed=s, sigma_b=0.1, **kind) for s in range(S)]
    ensemble = Ensemble(models)
    tolerance = 1e-9 if clip is None else 1e-4  # torch shortens to clip / (1 + 1e-6 / norm)
    losses = torch.stack([ensemble.step(x, labels, RATES, clip) for x, labels in batches()])
    for s in range(S):
        expected, expected_losses = alone(models[s], RATES[s], clip)
        assert losses[:, s].tolist() == pytest.approx(expected_losses, rel=tolerance)
        found, wanted = ensemble.model(s).state_dict(), expected.state_dict()
        assert found.keys() == wanted.keys()
        for name in wanted:
            torch.testing.assert_close(found[name], wanted[name], rtol=10 * tolerance, atol=tolerance, msg=name)


def test_accuracy_is_taken_in_evaluation_mode_and_leaves_the_mode():
    models = [fully_connected(WIDTHS, "relu", "batch", seed=s) for s in range(S)]
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
    assert ensemble.model(0).training


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


@pytest.mark.parametrize(
    "models",
    [
        [],
        [fully_connected([3, 4, 2], seed=0), fully_connected([3, 5, 2], seed=0)],
        [fully_connected([3, 4, 2], "tanh", seed=0), fully_connected([3, 4, 2], "relu", seed=0)],
    ],
    ids=["none", "other widths", "another activation"],
)
def test_models_that_do_not_fit_are_refused(models):
    with pytest.raises(ValueError, match="at least one model|one architecture"):
        Ensemble(models)
