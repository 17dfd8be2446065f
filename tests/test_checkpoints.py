"""Checkpoints as files: what survives exactly, what is refused, and what a full disk leaves behind."""

import errno
import hashlib
import json
import math
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open

from snnlib import _checkpoints
from snnlib._checkpoints import CheckpointError, load, save

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def run(tmp_path):
    """A folder with checkpoints of the steps 10 and 20; the tensor `w` holds the step."""
    folder = tmp_path / "run"
    for step in (10, 20):
        save(folder, step, {"w": torch.full((5,), float(step))}, {"step": step})
    return folder


def newest(folder, suffix):
    return max(folder.glob(f"*{suffix}"))


def whole_steps(folder):
    """Steps whose files agree with each other, judged with nothing but hashlib and json."""
    steps = []
    for path in sorted(folder.glob("step-*.json")):
        text = path.read_text()
        content = json.loads(text)
        zeros = text.replace(content["sha256"], "0" * 64, 1)
        assert hashlib.sha256(zeros.encode()).hexdigest() == content["sha256"]
        (tensors,) = folder.glob(f"{path.stem}-*.safetensors")
        assert hashlib.sha256(tensors.read_bytes()).hexdigest() == content["tensors"]["sha256"]
        steps.append(content["step"])
    assert len(list(folder.iterdir())) == 2 * len(steps)  # nothing else lies there, hidden or not
    return steps


# what survives


def test_tensors_of_every_kind_come_back_bit_for_bit(tmp_path):
    base = torch.randn(4, 6, dtype=torch.float64)
    tensors = {
        "float32": torch.tensor([0.1, -0.0, math.inf, -math.inf, math.nan, 1e-45]),
        "float64": base,
        "transposed": base.T,
        "shares memory": base[1:3],
        "bfloat16": torch.randn(7).bfloat16(),
        "int64": torch.tensor([2**63 - 1, -(2**63)]),
        "bool": torch.tensor([True, False]),
        "generator": torch.Generator().manual_seed(3).get_state(),
        "scalar": torch.tensor(3.5),
        "empty": torch.empty(0, 3),
        "parameter": torch.nn.Parameter(torch.randn(2)),
    }
    save(tmp_path / "run", 0, tensors, {})
    found, _ = load(tmp_path / "run")
    assert found.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert found[name].dtype == tensor.dtype and found[name].shape == tensor.shape, name
        assert (
            found[name].numpy(force=True).tobytes() == tensor.numpy(force=True).tobytes()
            if (tensor.dtype != torch.bfloat16)
            else torch.equal(found[name], tensor)
        ), name


def test_numbers_of_the_state_come_back_exactly(tmp_path):
    state = {
        "integers": [2**63 - 1, -(2**63), 2**64 + 1, 10**40],
        "floats": [0.1, 1 / 3, 5e-324, 1.7976931348623157e308, -0.0, 1e16, 123456789.123456789],
        "not finite": {"up": math.inf, "down": -math.inf},
        "rest": [None, True, False, "", "é \ud800 \n \u2028", {"nested": [[], {}]}],
        "numpy": [np.float64(0.1), np.float32(0.1), np.int64(7), np.bool_(True), np.float32("inf")],
        "tuple": (1, 2),
    }
    save(tmp_path / "run", 0, {}, state | {"nan": math.nan})
    _, found = load(tmp_path / "run")
    assert math.isnan(found.pop("nan"))
    expected = state | {"numpy": [0.1, 13421773 / 2**27, 7, True, math.inf], "tuple": [1, 2]}
    assert repr(found) == repr(expected)  # repr tells -0.0 from 0.0, and 1 from True


def test_the_files_can_be_read_without_snnlib(run):
    def refuse(name):
        raise AssertionError(f"{name} is not JSON")

    content = json.loads(newest(run, ".json").read_text(), parse_constant=refuse)
    assert (content["format"], content["version"], content["state"]) == ("snnlib checkpoint", 1, {"step": 20})
    with safe_open(newest(run, ".safetensors"), "pt") as file:
        assert torch.equal(file.get_tensor("w"), torch.full((5,), 20.0))


def test_nan_is_valid_json(tmp_path):
    save(tmp_path / "run", 0, {}, {"loss": math.nan})
    json.loads(newest(tmp_path / "run", ".json").read_text(), parse_constant=pytest.fail)


@pytest.mark.parametrize(
    "value, name",
    [
        (np.arange(3), "ndarray"),
        (torch.tensor(1.0), "Tensor"),
        (Path("x"), "PosixPath"),
        (1j, "complex"),
        ({1: 2}, "dict"),
        ({"__float__": "nan"}, "dict"),
        (np.datetime64("2020-01-01"), "date"),
        (b"bytes", "bytes"),
    ],
)
def test_a_state_that_json_would_change_is_refused_and_nothing_is_written(tmp_path, value, name):
    with pytest.raises(TypeError, match=rf"state\['a'\]\[1\] is .* of type {name}"):
        save(tmp_path / "run", 0, {}, {"a": [1, value]})
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("step, keep", [(-1, 2), (0, 0)])
def test_a_bad_step_or_keep_is_refused(tmp_path, step, keep):
    with pytest.raises(ValueError, match=f"step = {step} and keep = {keep}"):
        save(tmp_path, step, {}, {}, keep)


# which checkpoints there are


@pytest.mark.parametrize("folder", ["", "missing", "missing/too"])
def test_where_there_is_no_checkpoint_none_comes_back(tmp_path, folder):
    assert load(tmp_path / folder) is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("keep", [1, 2, 3])
def test_the_last_ones_are_kept_and_all_others_removed(tmp_path, keep):
    for step in (8, 9, 10, 999_999_999, 1_000_000_000, 10_000_000_000):
        save(tmp_path, step, {"w": torch.tensor(step)}, {}, keep)
    assert sorted(whole_steps(tmp_path)) == [999_999_999, 1_000_000_000, 10_000_000_000][-keep:]
    assert load(tmp_path)[0]["w"] == 10_000_000_000  # newest by number, not by spelling


def test_files_that_a_killed_run_left_are_removed_by_the_next_save(run):
    (run / ".step-000000030.json-0a1b2c3d.tmp").write_text("half")
    (run / "step-000000030-0123456789abcdef.safetensors").write_text("written, but its JSON never was")
    (run / ".keep").write_text("not ours")
    (run / "notes.txt").write_text("not ours")
    assert load(run)[1] == {"step": 20}
    save(run, 30, {}, {"step": 30})
    for name in (".keep", "notes.txt"):
        (run / name).unlink()
    assert whole_steps(run) == [20, 30]


def test_a_second_checkpoint_of_one_step_takes_the_place_of_the_first(run):
    save(run, 20, {"w": torch.tensor(-1.0)}, {"again": True})
    assert load(run)[0]["w"] == -1 and load(run)[1] == {"again": True}
    assert whole_steps(run) == [10, 20]


def test_a_save_after_going_back_gives_up_the_steps_beyond_it(run):
    newest(run, ".json").write_text("damaged")
    assert load(run, fallback=True)[1] == {"step": 10}
    save(run, 15, {}, {"step": 15})
    assert whole_steps(run) == [10, 15]
    assert load(run)[1] == {"step": 15}


def test_new_folders_above_are_made_and_reach_the_disk(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(_checkpoints, "_sync", synced.append)
    save(tmp_path / "a" / "b", 0, {}, {})
    assert load(tmp_path / "a" / "b") == ({}, {})
    assert {tmp_path, tmp_path / "a", tmp_path / "a" / "b"} <= set(synced)


# damage


def damage_truncated(run):
    path = newest(run, ".safetensors")
    path.write_bytes(path.read_bytes()[:-3])
    return f"safetensors is damaged: it has {path.stat().st_size} bytes and should have {path.stat().st_size + 3}"


def damage_longer(run):
    path = newest(run, ".safetensors")
    path.write_bytes(path.read_bytes() + b"\0")
    return f"safetensors is damaged: it has {path.stat().st_size} bytes and should have {path.stat().st_size - 1}"


def damage_swapped(run):
    """The tensors of another checkpoint: a sound file of the right size."""
    shutil.copy(min(run.glob("*.safetensors")), newest(run, ".safetensors"))
    return "its SHA-256 is not the one noted in step-000000020.json"


def damage_missing_tensors(run):
    newest(run, ".safetensors").unlink()
    return r"step-000000020-\w+.safetensors is missing, and the checkpoint is damaged without it"


def damage_empty_json(run):
    newest(run, ".json").write_text("")
    return "step-000000020.json is damaged: it is not JSON"


def damage_half_json(run):
    path = newest(run, ".json")
    path.write_text(path.read_text()[:100])
    return "step-000000020.json is damaged: it is not JSON"


def damage_deep_json(run):
    newest(run, ".json").write_text("[" * 100_000)
    return "step-000000020.json is damaged: it is not JSON"


def damage_other_format(run):
    newest(run, ".json").write_text('{"format": "recipe", "version": 1}')
    return "is no checkpoint: it does not say that its format is 'snnlib checkpoint'"


def damage_no_object(run):
    newest(run, ".json").write_text("[1, 2]")
    return "is no checkpoint: it does not say that its format is 'snnlib checkpoint'"


def damage_edited(run):
    path = newest(run, ".json")
    path.write_text(path.read_text().replace('"state": {"step": 20}', '"state": {"step": 21}'))
    return "step-000000020.json is damaged: its content has another SHA-256 than it says"


def damage_no_sum(run):
    newest(run, ".json").write_text('{"format": "snnlib checkpoint", "version": 1}')
    return "its content has another SHA-256 than it says"


def damage_renamed(run):
    (run / "step-000000010.json").rename(run / "step-000000020.json")
    (run / "step-000000005.json").touch()
    return "it is the checkpoint of step 10 under another name"


DAMAGES = [value for name, value in dict(globals()).items() if name.startswith("damage_")]


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda f: f.__name__)
def test_a_damaged_checkpoint_is_refused_with_the_file_and_the_reason(run, damage):
    message = damage(run)
    with pytest.raises(CheckpointError, match=message) as caught:
        load(run)
    assert str(run) in str(caught.value)


@pytest.mark.parametrize("damage", [f for f in DAMAGES if f is not damage_renamed], ids=lambda f: f.__name__)
def test_the_previous_checkpoint_is_taken_when_asked_and_only_then(run, damage):
    damage(run)
    with pytest.raises(CheckpointError, match="fallback=True goes on from the one before it, of step 10$"):
        load(run)
    before = {path.name: path.read_bytes() for path in run.iterdir()}
    assert load(run, fallback=True)[1] == {"step": 10}
    assert {path.name: path.read_bytes() for path in run.iterdir()} == before  # reading changes nothing


def test_where_no_checkpoint_is_whole_the_newest_damage_is_told(run):
    (run / "step-000000010.json").write_text("[")
    newest(run, ".json").write_text("{}")
    for fallback in (False, True):
        with pytest.raises(CheckpointError, match=r"step-000000020.json is no checkpoint.*; no other .* start afresh$"):
            load(run, fallback)


def test_a_later_version_of_the_format_is_refused_as_such(run, monkeypatch):
    monkeypatch.setattr(_checkpoints, "_VERSION", 2)
    save(run, 30, {}, {})
    monkeypatch.undo()
    with pytest.raises(CheckpointError, match="json has version 2 of the format and this snnlib reads version 1"):
        load(run)


def test_every_flipped_bit_is_noticed(run):
    """All bits of the JSON, and 300 drawn ones of the tensors."""
    rng = np.random.default_rng(0)
    for suffix in (".json", ".safetensors"):
        path = newest(run, suffix)
        whole = path.read_bytes()
        bits = range(8 * len(whole)) if suffix == ".json" else rng.integers(8 * len(whole), size=300)
        for bit in bits:
            flipped = bytearray(whole)
            flipped[bit // 8] ^= 1 << bit % 8
            path.write_bytes(flipped)
            with pytest.raises(CheckpointError):
                load(run)
            assert load(run, fallback=True)[1] == {"step": 10}
        path.write_bytes(whole)
    assert load(run)[1] == {"step": 20}


@pytest.mark.parametrize("act", [load, lambda folder: save(folder, 0, {}, {})], ids=["load", "save"])
def test_a_folder_of_other_files_is_refused_and_left_alone(tmp_path, act):
    for name in ("a.csv", "b.csv", "c", "d", ".hidden"):
        (tmp_path / name).touch()
    with pytest.raises(CheckpointError, match=r"holds a.csv, b.csv, c, … and no checkpoint: name a new or an empty"):
        act(tmp_path)
    assert len(list(tmp_path.iterdir())) == 5


@pytest.mark.parametrize("act", [load, lambda folder: save(folder, 0, {}, {})], ids=["load", "save"])
def test_a_file_is_no_folder(tmp_path, act):
    (tmp_path / "file").write_text("precious")
    with pytest.raises(CheckpointError, match=r"file is a file; name a folder"):
        act(tmp_path / "file")
    assert (tmp_path / "file").read_text() == "precious"


# the disk


def test_each_file_reaches_the_disk_before_it_gets_its_name_and_the_json_comes_last(tmp_path, monkeypatch):
    log, sync, replace = [], os.fsync, os.replace

    def named(descriptor):
        return Path(os.readlink(f"/proc/self/fd/{descriptor}")).name

    def logged_sync(descriptor):
        log.append(("sync", named(descriptor).partition("-")[0], Path(named(descriptor)).suffix))
        sync(descriptor)

    def logged_replace(source, target):
        log.append(("name", "", Path(target).suffix))
        replace(source, target)

    monkeypatch.setattr(os, "fsync", logged_sync)
    monkeypatch.setattr(os, "replace", logged_replace)
    (tmp_path / "run").mkdir()
    save(tmp_path / "run", 7, {"w": torch.ones(3)}, {})
    one = [("sync", ".step", ".tmp"), ("name", "", "?"), ("sync", "run", "")]
    files = [[(a, b, c.replace("?", suffix)) for a, b, c in one] for suffix in (".safetensors", ".json")]
    assert log == files[0] + files[1]


def fail_at(monkeypatch, function, call, error):
    """Let the given call of a function of os fail, counting from here."""
    calls, real = [], getattr(os, function)

    def failing(*arguments):
        calls.append(arguments)
        if len(calls) == call:
            raise error
        return real(*arguments)

    monkeypatch.setattr(os, function, failing)


FAILURES = {n: OSError(getattr(errno, n), os.strerror(getattr(errno, n))) for n in ("ENOSPC", "EDQUOT", "EIO")}


@pytest.mark.parametrize("function, call", [("fsync", 1), ("fsync", 2), ("fsync", 3), ("replace", 1), ("replace", 2)])
@pytest.mark.parametrize("name", FAILURES)
def test_a_failing_disk_leaves_what_was_there_and_nothing_else(run, monkeypatch, function, call, name):
    fail_at(monkeypatch, function, call, FAILURES[name])
    with pytest.raises(CheckpointError, match=f"step 30 in .*{os.strerror(FAILURES[name].errno)}") as caught:
        save(run, 30, {"w": torch.ones(9)}, {"step": 30})
    assert ("free some space" in str(caught.value)) == (name != "EIO")
    assert whole_steps(run) == [10, 20]
    assert load(run)[1] == {"step": 20}


@pytest.mark.parametrize(
    "error, raised", [(FAILURES["EIO"], CheckpointError), (KeyboardInterrupt(), KeyboardInterrupt)]
)
def test_what_happens_after_the_json_has_its_name_damages_nothing(run, monkeypatch, error, raised):
    """The fourth fsync is that of the folder, after the last replace: the checkpoint is there."""
    fail_at(monkeypatch, "fsync", 4, error)
    with pytest.raises(raised):
        save(run, 30, {"w": torch.ones(9)}, {"step": 30})
    assert load(run)[1] == {"step": 30}
    assert whole_steps(run) == [10, 20, 30]  # older ones go with the next save


@pytest.mark.parametrize("call", [1, 2])
@pytest.mark.parametrize("w", [20.0, 0.0], ids=["the same tensors", "other tensors"])
def test_a_failed_second_checkpoint_of_one_step_leaves_the_first(run, monkeypatch, call, w):
    fail_at(monkeypatch, "replace", call, FAILURES["ENOSPC"])
    with pytest.raises(CheckpointError):
        save(run, 20, {"w": torch.full((5,), w)}, {"again": True})
    assert whole_steps(run) == [10, 20]
    assert load(run)[1] == {"step": 20}


@pytest.mark.parametrize("call", [1, 2, 3])
def test_ctrl_c_while_writing_leaves_no_temporary_file(run, monkeypatch, call):
    fail_at(monkeypatch, "fsync", call, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        save(run, 30, {"w": torch.ones(9)}, {})
    assert whole_steps(run) == [10, 20]


KILLED = """
import os, random, signal, sys, time, torch
from snnlib._checkpoints import load, save
folder, last, later = sys.argv[1], 0, 0
random.seed(0)
times = []
for step in range(5):
    start = time.perf_counter()
    save(folder + "-timed", step, {"w": torch.full((20_000,), 0)}, {})
    times.append(time.perf_counter() - start)
once = min(times)
for _ in range(30):
    child = os.fork()
    if child == 0:
        for step in range(last + 1, last + 10_000):
            save(folder, step, {"w": torch.full((20_000,), step)}, {"step": step})
    time.sleep(random.uniform(0, 6 * once))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    tensors, state = load(folder) or ({"w": torch.zeros(1)}, {"step": 0})
    assert (tensors["w"] == state["step"]).all() and state["step"] >= last, (last, state)
    later += state["step"] > last
    last = state["step"]
save(folder, last + 1, {}, {})
print(later, len(os.listdir(folder)))
"""


def test_a_process_killed_while_it_saves_leaves_a_whole_checkpoint_that_is_never_older(tmp_path):
    """Thirty times SIGKILL, at random between nothing and the time of six saves."""
    result = subprocess.run(
        [sys.executable, "-c", KILLED, tmp_path / "run"], text=True, capture_output=True, timeout=120, cwd=ROOT
    )
    assert result.returncode == 0, result.stderr
    later, files = map(int, result.stdout.split())
    assert later >= 5 and files == 4  # there was time for new checkpoints; nothing of the killed ones is left


BIG = """
import os, sys, torch
from snnlib._checkpoints import CheckpointError, load, save
folder = sys.argv[1]
if len(sys.argv) > 2:
    import resource
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), int(sys.argv[2])))
try:
    save(folder, 30, {"w": torch.ones(1_000_000)}, {})
except CheckpointError as error:
    print(error)
print(load(folder)[1], sorted(os.listdir(folder)) == sorted(sys.stdin.read().split()))
"""


def save_big(folder, *arguments, **options):
    names = " ".join(path.name for path in folder.iterdir())
    result = subprocess.run(
        [sys.executable, "-c", BIG, folder, *arguments],
        **{"input": names, "text": True, "capture_output": True, "timeout": 60, "cwd": ROOT} | options,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_a_real_limit_on_file_size_is_an_error_that_keeps_the_earlier_checkpoint(run):
    out = save_big(run, str(100_000))
    assert "cannot write the checkpoint of step 30" in out and os.strerror(errno.EFBIG) in out
    assert out.endswith("{'step': 20} True\n")


def test_a_real_full_disk_is_an_error_that_keeps_the_earlier_checkpoint(run, tmp_path):
    """A file system of 1 MB in memory, of this process alone; where the kernel forbids that, the test is skipped."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = [
        "unshare",
        "-rm",
        "sh",
        "-c",
        'mount -t tmpfs -o size=1m none "$0" && cp -r "$1" "$0" && shift && exec "$@"',
    ]
    probe = subprocess.run([*mount, disk, run, "true"], capture_output=True) if shutil.which("unshare") else None
    if probe is None or probe.returncode:
        pytest.skip("no file system can be mounted here")
    names = " ".join(path.name for path in run.iterdir())
    result = subprocess.run(
        [*mount, disk, run, sys.executable, "-c", BIG, disk / "run"],
        input=names, text=True, capture_output=True, timeout=60, cwd=ROOT,
    )  # fmt: skip
    assert os.strerror(errno.ENOSPC) in result.stdout, result.stderr
    assert result.stdout.endswith("{'step': 20} True\n")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission_to_write_is_an_error(run):
    run.chmod(0o500)
    try:
        with pytest.raises(CheckpointError, match="name a folder that this user may read and write"):
            save(run, 30, {}, {})
        assert load(run)[1] == {"step": 20}
    finally:
        run.chmod(0o700)
    assert whole_steps(run) == [10, 20]


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS])
def test_a_refused_write_is_an_error_even_for_root(run, monkeypatch, number):
    def refuse(path, mode):
        raise OSError(number, os.strerror(number), str(path))

    monkeypatch.setattr(_checkpoints, "open", refuse, raising=False)
    with pytest.raises(CheckpointError, match="name a folder that this user may read and write"):
        save(run, 30, {}, {})
    assert whole_steps(run) == [10, 20]


def test_unreadable_files_are_an_error_that_says_so(run, monkeypatch):
    def refuse(path):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(CheckpointError, match=r"cannot read .*step-000000020.json: Permission denied; name a folder"):
        load(run)


def test_a_checkpoint_has_the_permissions_of_an_ordinary_file(run):
    mask = os.umask(0)
    os.umask(mask)
    assert {path.stat().st_mode & 0o777 for path in run.iterdir()} == {0o666 & ~mask}
