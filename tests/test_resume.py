"""A run that is cut off, by SIGKILL, Ctrl-C or a full disk, and taken up again ends as if nothing had happened."""

import errno
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from killed_runs import CLASSES, EPOCHS, FEATURES, STEPS, VARIANTS, network, problem, result, train

from snnlib import _checkpoints
from snnlib.training import CheckpointError, Interrupted

ROOT = Path(__file__).resolve().parents[1]
SHORT = {"epochs": 5, "optimizer": "momentum", "clip": 1.0}  # 5 epochs of STEPS steps


def assert_identical(found, expected):
    """Bit for bit, nan and the sign of zero included."""
    assert found.keys() == expected.keys()
    for name in expected:
        assert found[name].dtype == expected[name].dtype, name
        assert found[name].tobytes() == expected[name].tobytes(), name


@pytest.fixture(scope="module")
def whole():
    """What the run of SHORT ends with when nothing disturbs it."""
    return result(*train(**SHORT))


def at_step(step, act):
    """The network of the tests, which calls `act` at a step (counted from 0) of what it is trained for."""
    model, calls = network(), []

    def hook(module, inputs):
        if module.training:
            calls.append(module)
            if len(calls) == step + 1:
                act()

    model.register_forward_pre_hook(hook)
    return model


def newest_step(folder):
    return max(int(path.stem.removeprefix("step-")) for path in Path(folder).glob("*.json"))


# SIGKILL


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("variant", VARIANTS)
def test_a_run_killed_at_ten_random_moments_ends_bit_identical(tmp_path, variant):
    out = subprocess.run(
        [sys.executable, ROOT / "tests" / "killed_runs.py", variant, tmp_path, "10", "0"],
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        **{"capture_output": True, "text": True, "timeout": 280},
    )
    assert out.returncode == 0, out.stderr
    report = json.loads(out.stdout)
    assert len(report["steps"]) == 10 and report["steps"] == sorted(report["steps"])
    assert report["steps"][0] < EPOCHS * STEPS / 4 and report["steps"][-1] > EPOCHS * STEPS * 3 / 4  # all over the run
    assert any(step % STEPS for step in report["steps"]) == ("each step" in variant)  # inside epochs, too
    assert report["torn"] >= 1  # files half written; two checkpoints of two files are left, and nothing else
    assert report["left"] == 4
    with np.load(tmp_path / "whole.npz") as expected, np.load(tmp_path / "killed.npz") as found:
        assert_identical(dict(found), dict(expected))


# Ctrl-C


@pytest.mark.parametrize("step", [0, 3, STEPS - 1, STEPS, 2 * STEPS + 5, 5 * STEPS - 1])
@pytest.mark.parametrize("minutes", [None, 60.0])
def test_ctrl_c_loses_nothing(tmp_path, whole, step, minutes):
    """The step under way is finished, and the checkpoint is of that very step, however rarely one was due."""
    model = at_step(step, lambda: signal.raise_signal(signal.SIGINT))
    options = SHORT | {"checkpoint": tmp_path / "run", "checkpoint_minutes": minutes}
    with pytest.raises(Interrupted, match="training was interrupted") as caught:
        train(model, **options)
    history = caught.value.history
    assert history.stopped == "interrupted"
    assert len(history.epochs) == (step + 1) // STEPS
    np.testing.assert_array_equal(history.epochs["loss"], whole["history loss"][: len(history.epochs)])
    assert newest_step(tmp_path / "run") == step + 1
    assert_identical(result(*train(**options)), whole)


def test_the_same_model_goes_on_after_ctrl_c_in_a_notebook(tmp_path, whole):
    """Its parameters are no longer those that the run began with, and yet it is the same run."""
    model = at_step(17, lambda: signal.raise_signal(signal.SIGINT))
    for _ in range(2):
        try:
            _, history = train(model, **SHORT, checkpoint=tmp_path)
        except Interrupted:
            continue
    assert_identical(result(model, history), whole)
    assert_identical(result(*train(model, **SHORT, checkpoint=tmp_path)), whole)  # and the finished one stays finished


def test_a_model_changed_by_hand_is_another_run(tmp_path):
    model, _ = train(**SHORT, checkpoint=tmp_path)
    with torch.no_grad():
        model[0].linear.weight[0, 0] += 1
    with pytest.raises(CheckpointError, match="other initial parameters"):
        train(model, **SHORT, checkpoint=tmp_path)


def test_the_second_ctrl_c_ends_the_step_under_way(tmp_path, whole):
    def twice():
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        pytest.fail("training went on")

    with pytest.raises(Interrupted) as caught:
        train(at_step(17, twice), **SHORT, checkpoint=tmp_path)
    assert len(caught.value.history.epochs) == 2
    assert newest_step(tmp_path) == 2 * STEPS  # the last whole epoch
    assert_identical(result(*train(**SHORT, checkpoint=tmp_path)), whole)


def test_ctrl_c_while_a_checkpoint_is_written_waits_for_it(tmp_path, monkeypatch, whole):
    def sync(descriptor, calls=[], real=os.fsync):  # noqa: B006  a counter
        calls.append(descriptor)
        if len(calls) == 6:  # of the four calls of the second checkpoint, at least one for a new folder before
            signal.raise_signal(signal.SIGINT)
        real(descriptor)

    monkeypatch.setattr(os, "fsync", sync)
    with pytest.raises(Interrupted):
        train(**SHORT, checkpoint=tmp_path)
    monkeypatch.undo()
    assert newest_step(tmp_path) == 2 * STEPS
    assert not [name for name in os.listdir(tmp_path) if name.endswith(".tmp")]
    assert_identical(result(*train(**SHORT, checkpoint=tmp_path)), whole)


def test_ctrl_c_without_a_checkpoint_gives_the_history(whole):
    with pytest.raises(Interrupted) as caught:
        train(at_step(3 * STEPS, lambda: signal.raise_signal(signal.SIGINT)), **SHORT)
    np.testing.assert_array_equal(caught.value.history.epochs["loss"], whole["history loss"][:3])


def test_the_reaction_to_ctrl_c_is_python_s_own_again_afterwards_and_another_one_is_left_alone():
    train(epochs=1)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    seen = []
    before = signal.signal(signal.SIGINT, lambda *_: seen.append("mine"))
    try:
        train(at_step(2, lambda: signal.raise_signal(signal.SIGINT)), epochs=1)
    finally:
        signal.signal(signal.SIGINT, before)
    assert seen == ["mine"]


def test_training_runs_in_a_thread_that_cannot_see_ctrl_c(whole):
    box = []
    thread = threading.Thread(target=lambda: box.append(result(*train(**SHORT))))
    thread.start()
    thread.join()
    assert_identical(box[0], whole)


# a full disk, damage


@pytest.mark.parametrize("minutes, call", [(None, 9), (None, 10), (1e-9, 60), (1e-9, 61)])
def test_a_disk_that_fills_up_ends_training_and_keeps_the_checkpoint_before(
    tmp_path, monkeypatch, whole, minutes, call
):
    def sync(descriptor, calls=[], real=os.fsync):  # noqa: B006  a counter
        calls.append(descriptor)
        if len(calls) >= call:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(descriptor)

    options = SHORT | {"checkpoint": tmp_path / "run", "checkpoint_minutes": minutes}
    monkeypatch.setattr(os, "fsync", sync)
    with pytest.raises(CheckpointError, match=r"No space left on device; free some space and start the run again"):
        train(**options)
    monkeypatch.undo()
    assert 0 < newest_step(tmp_path / "run") < 5 * STEPS
    assert not [name for name in os.listdir(tmp_path / "run") if name.endswith(".tmp")]
    assert_identical(result(*train(**options)), whole)


def test_a_folder_that_cannot_hold_checkpoints_is_refused_before_training(tmp_path):
    (tmp_path / "notes.txt").touch()
    for folder, message in ((tmp_path, "holds notes.txt"), (tmp_path / "notes.txt", "is a file; name a folder")):
        with pytest.raises(CheckpointError, match=message):
            train(at_step(0, lambda: pytest.fail("it trained")), **SHORT, checkpoint=folder)


@pytest.mark.parametrize("suffix", [".json", ".safetensors"])
def test_damage_is_refused_and_the_checkpoint_before_it_is_taken_when_asked(tmp_path, whole, suffix):
    train(**SHORT | {"epochs": 3}, checkpoint=tmp_path)
    path = max(tmp_path.glob(f"*{suffix}"))
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(CheckpointError, match=rf"{path.name} is damaged: .* fallback=True .* of step {2 * STEPS}$"):
        train(**SHORT, checkpoint=tmp_path)
    assert_identical(result(*train(**SHORT, checkpoint=tmp_path, fallback=True)), whole)
    assert_identical(result(*train(**SHORT, checkpoint=tmp_path)), whole)


# which run is the same


def with_changed(part, x_or_y):
    """The problem, but for one number of its training (0) or test (1) set."""
    data = [[array.copy() for array in pair] for pair in problem()]
    data[part][x_or_y][7] = (data[part][x_or_y][7] + 1) % CLASSES
    return data


OTHER = [  # what is changed, and what the refusal says
    ({"lr": 0.1}, r"lr \(0.05 there, 0.1 here\)"),
    ({"optimizer": "adam"}, r"optimizer \('momentum' there, 'adam' here\)"),
    ({"momentum": 0.8}, r"momentum \(0.9 there, 0.8 here\)"),
    ({"batch_size": 32}, r"batch_size \(16 there, 32 here\)"),
    ({"seed": 2}, r"seed \(1 there, 2 here\)"),
    ({"clip": None}, r"clip \(1.0 there, None here\)"),
    ({"patience": 3}, r"patience \(None there, 3 here\)"),
    ({"statistics": 5}, r"statistics \(0 there, 5 here\)"),
    ({"schedule": "linear"}, r"schedule, epochs \(None there, 9 here\)"),
    ({"lr": 0.1, "seed": 4}, r"lr \(0.05 there, 0.1 here\), seed \(1 there, 4 here\)"),
    ({"data": with_changed(0, 0)}, "training data"),
    ({"data": with_changed(0, 1)}, "training data"),
    ({"data": with_changed(1, 0)}, "test data"),
    ({"data": with_changed(1, 1)}, "test data"),
    ({"data": [problem()[0]]}, "test data"),
    ({"model": lambda: network(widths=[FEATURES, 16, 17, CLASSES])}, "architecture, initial parameters"),
    ({"model": lambda: network(activation="tanh")}, "architecture"),
    ({"model": lambda: network(dropout=0.3)}, "architecture"),
    ({"model": lambda: network(residual=True)}, "architecture"),
    ({"model": lambda: network(seed=5)}, "initial parameters"),
]


@pytest.fixture(scope="module")
def three_epochs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("three") / "run"
    train(**SHORT | {"epochs": 3}, checkpoint=folder)
    return folder


@pytest.mark.parametrize("changed, message", OTHER)
def test_the_checkpoint_of_another_run_is_refused_naming_what_differs(three_epochs, changed, message):
    changed = dict(changed)
    model, data = changed.pop("model", network)(), changed.pop("data", problem())
    before = {path.name: path.read_bytes() for path in three_epochs.iterdir()}
    with pytest.raises(CheckpointError, match=f"is of another run: other {message}; name another folder"):
        train(model, data, **SHORT | {"epochs": 9} | changed, checkpoint=three_epochs)
    assert {path.name: path.read_bytes() for path in three_epochs.iterdir()} == before


def test_a_longer_run_goes_on_from_a_shorter_one(tmp_path, whole):
    for epochs in (1, 3, 5):
        end = train(**SHORT | {"epochs": epochs}, checkpoint=tmp_path)
    assert_identical(result(*end), whole)
    with pytest.raises(CheckpointError, match="is of epoch 5, and epochs is 4: ask for 5 epochs at least"):
        train(**SHORT | {"epochs": 4}, checkpoint=tmp_path)


def test_with_a_schedule_a_longer_run_is_another_one(tmp_path):
    options = SHORT | {"schedule": "cosine"}
    train(**options, checkpoint=tmp_path)
    with pytest.raises(CheckpointError, match=r"other epochs \(5 there, 6 here\)"):
        train(**options | {"epochs": 6}, checkpoint=tmp_path)


def test_a_schedule_is_known_by_its_values(tmp_path):
    options = SHORT | {"schedule": "linear"}
    expected = result(*train(**options))
    with pytest.raises(Interrupted):
        train(at_step(9, lambda: signal.raise_signal(signal.SIGINT)), **options, checkpoint=tmp_path)
    assert_identical(result(*train(**options | {"schedule": lambda s: 1 - s}, checkpoint=tmp_path)), expected)


def test_early_stopping_is_taken_up_with_its_best_parameters(tmp_path):
    """Labels of the test set that are turned round make its loss rise from the first epoch on."""
    (x, y), (x_test, y_test) = problem()
    options = {"epochs": 30, "optimizer": "adam", "patience": 4}

    def ends(model, **more):
        return result(*train(model, ((x, y), (x_test, 2 - y_test)), **options, **more))

    expected = ends(network())
    last = int(expected["history epoch"].max())
    assert 4 < last < 30
    for step in (last - 4) * STEPS + 2, (last - 1) * STEPS + 1:  # just behind the best epoch, and just before the end
        folder = tmp_path / str(step)
        with pytest.raises(Interrupted):
            ends(at_step(step, lambda: signal.raise_signal(signal.SIGINT)), checkpoint=folder)
        assert_identical(ends(network(), checkpoint=folder), expected)
        assert_identical(ends(network(), checkpoint=folder), expected)  # the finished run is not trained further


def test_a_double_precision_run_is_taken_up_bit_for_bit(tmp_path):
    options = SHORT | {"optimizer": "adam"}
    expected = result(*train(network().double(), **options))
    assert expected["0.linear.weight"].dtype == np.float64
    with pytest.raises(Interrupted):
        train(at_step(11, lambda: signal.raise_signal(signal.SIGINT)).double(), **options, checkpoint=tmp_path)
    assert_identical(result(*train(network().double(), **options, checkpoint=tmp_path)), expected)
    with pytest.raises(CheckpointError, match="other architecture, training data, test data, initial parameters"):
        train(**options, checkpoint=tmp_path)


def test_a_checkpoint_holds_no_pickle_and_opens_without_snnlib(three_epochs):
    tensors, state = _checkpoints.load(three_epochs)
    assert state["epoch"] == 3 and [row["epoch"] for row in state["rows"]] == [1, 2, 3]
    for path in three_epochs.iterdir():
        data = path.read_bytes()
        assert not data.startswith((b"PK", b"\x80"))
    assert torch.isfinite(tensors["model/0.linear.weight"]).all()
