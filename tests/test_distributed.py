"""Two real processes train as one: the same parameters, checkpoints and errors, and no process waits for a dead one."""

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from trained_together import SCENARIOS, network

from snnlib import _checkpoints, _steps

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = ROOT / "tests" / "trained_together.py"
ENVIRONMENT = {key: value for key, value in os.environ.items() if key not in ("RANK", "WORLD_SIZE", "LOCAL_RANK")}
ENVIRONMENT |= {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
PATIENCE = 200  # seconds until a test gives up on processes that hang

pytestmark = pytest.mark.skipif(
    not (torch.distributed.is_available() and torch.distributed.is_gloo_available()), reason="torch without gloo"
)


def torchrun(*command):
    """Run a command in two processes on this machine."""
    run = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", *command]
    return subprocess.run(run, env=ENVIRONMENT, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE)


def two_processes(out, *names):
    """Run scenarios in two processes that nobody watches over; return their exit statuses."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    shared = ENVIRONMENT | {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2"}
    processes = [
        subprocess.Popen([sys.executable, SCRIPT, out, *names], env=shared | {"RANK": rank}, cwd=ROOT) for rank in "01"
    ]
    try:
        return [process.wait(PATIENCE) for process in processes]
    finally:
        for process in processes:
            process.kill()


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    """The folder in which all scenarios but those that end a process were run by one torchrun, one after the other."""
    out = tmp_path_factory.mktemp("together")
    (out / "file").write_text("no folder")
    SCENARIOS["half"](out)  # by this process alone
    (out / "checkpoints").rename(out / "of one process")
    names = [name for name in SCENARIOS if name not in ("fails", "dies")]
    (out / "log").write_text(torchrun(SCRIPT, out, *names).stderr)
    return out


def ends(out, name):
    """What both processes ended a scenario with; they must agree to the last bit."""
    assert (out / f"{name}-0.npz").exists(), (out / "log").read_text()
    with np.load(out / f"{name}-0.npz") as first, np.load(out / f"{name}-1.npz") as second:
        first, second = dict(first), dict(second)
    for key in first:
        assert first[key].tobytes() == second[key].tobytes(), key
    return first


def errors(out, name):
    return [(out / f"{name}-{rank}.txt").read_text(encoding="utf-8") for rank in (0, 1)]


def assert_close(found, expected, tolerance):
    assert found.keys() == expected.keys()
    for key in expected:
        np.testing.assert_allclose(found[key], expected[key], rtol=tolerance, atol=tolerance, err_msg=key)


def assert_identical(found, expected):
    """Bit for bit; the run compared with has looked at its layers, too."""
    for key in found:
        assert found[key].tobytes() == expected[key].tobytes(), key


EQUAL = ["sgd", "momentum", "adam", "early", "layer", "weight", "one by one", "double", "own seeds"]


@pytest.mark.parametrize("name", EQUAL)
def test_two_processes_end_where_one_ends(out, name):
    """In float32 within 1e-5, in float64 within 1e-12; `one by one` leaves the second process without examples."""
    expected = SCENARIOS[name](out)
    assert_close(ends(out, name), expected, 1e-12 if name == "double" else 1e-5)
    if name == "early":
        assert 4 < len(expected["history epoch"]) < 40  # it does stop early


def test_training_goes_far_beyond_the_tolerance(out):
    """Agreement would be no news where nothing moves."""
    beginning = network().state_dict()
    for name in set(EQUAL) - {"layer", "weight"}:  # those have other parameters
        end = ends(out, name)
        for key, value in beginning.items():
            assert np.abs(end[key] - value.numpy()).max() > 1e-3, (name, key)


def test_a_run_cut_in_two_ends_like_the_uncut_one_and_only_one_process_writes(out):
    assert_identical(ends(out, "rest"), ends(out, "adam"))
    assert len(list((out / "checkpoints").iterdir())) == 4


def test_a_checkpoint_within_an_epoch_changes_nothing(out):
    assert_identical(ends(out, "steps"), ends(out, "adam"))


def test_one_process_goes_on_from_the_checkpoint_of_two(out, tmp_path):
    shutil.copytree(out / "checkpoints", tmp_path / "checkpoints")
    newest = max((tmp_path / "checkpoints").glob("*.json"))
    newest.unlink()  # leaves the one of the fifth epoch
    assert _checkpoints.load(tmp_path / "checkpoints")[1]["epoch"] == 5
    assert_close(SCENARIOS["rest"](tmp_path), ends(out, "rest"), 1e-5)


def test_two_processes_go_on_from_the_checkpoint_of_one(out):
    assert_close(ends(out, "from one"), ends(out, "rest"), 1e-5)


def test_processes_with_dropout_keep_the_same_parameters(out):
    assert np.isfinite(ends(out, "dropout")["history loss"]).all()


@pytest.mark.parametrize(
    "name, message",
    [
        ("batch", "ValueError: batch normalization would see a part of each batch in each of 2 processes"),
        ("own rates", "ValueError: process 1 was given another run than process 0: other lr (0.1 there, 1.1 here)"),
        ("own data", "ValueError: process 1 was given another run than process 0: other training data"),
        ("foreign", "CheckpointError: the checkpoint in"),
        ("no folder", "CheckpointError: cannot read the checkpoints in"),
        ("diverges", "DivergedError: the loss became nan at step"),
    ],
)
def test_what_one_process_refuses_both_refuse_with_the_same_words(out, name, message):
    first, second = errors(out, name)
    assert first == second
    assert first.startswith(message)


def test_when_one_process_dies_the_other_does_not_wait_for_it(tmp_path):
    assert two_processes(tmp_path, "dies") == [1, -9]
    message = (tmp_path / "dies-0.txt").read_text()
    assert message.startswith("ProcessLostError: process 0 of 2 lost another one while they trained together; ")


def test_torchrun_reports_that_one_process_failed(tmp_path):
    result = torchrun(SCRIPT, tmp_path, "fails")
    assert result.returncode == 1
    assert (tmp_path / "fails-1.txt").read_text() == "ZeroDivisionError: the second process fails"


@pytest.mark.parametrize("device", ["auto", "cuda"])
def test_each_process_of_a_machine_has_its_own_cuda_device(monkeypatch, device):
    """On a make-believe machine with two of them; whether nccl works there is not tested."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert _steps.pick_device(device, network()) == torch.device("cuda:0")  # LOCAL_RANK alone says nothing
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert _steps.pick_device(device, network()) == torch.device("cuda:1")
    monkeypatch.setenv("LOCAL_RANK", "2")
    with pytest.raises(ValueError, match="process 2 .* torch sees 2: start 2 with torchrun --nproc-per-node=2"):
        _steps.pick_device(device, network())
