"""python -m snnlib train, and sweep: what they print, what they write, what they exit with."""

import contextlib
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time

import pandas as pd
import pytest

import snnlib
from snnlib import datasets, networks, sweeps, training
from snnlib.__main__ import _SETTINGS, main

SMALL = "--limit 60 --test-limit 40 --depth 2 --width 16 --batch-size 16 --lr 0.05"


def command(line, capsys):
    """(exit status, output, errors) of python -m snnlib."""
    try:
        status = main(shlex.split(line))
    except SystemExit as exit:
        status = exit.code
    return status, *capsys.readouterr()


@contextlib.contextmanager
def process(*arguments):
    """A Python that runs; in the end it is stopped, with what it started (torchrun stops its processes itself)."""
    running = subprocess.Popen(
        [sys.executable, *arguments],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield running
    finally:
        running.terminate()
        running.wait(60)


def by_hand(epochs=3, rows=slice(60), **more):
    """(model, history) of the run that SMALL describes, by the functions of training and datasets themselves."""
    train, test = datasets.bacteria("train", 60), datasets.bacteria("test", 40)
    model = networks.fully_connected([784, 16, 16, 10], seed=0)
    options = {"epochs": epochs, "batch_size": 16, "lr": 0.05, "progress": False, **more}
    return model, training.fit(model, (train.x[rows], train.y[rows]), test, **options)


# --- train -----------------------------------------------------------------------------------------------------------


def test_the_summary_says_what_was_trained_how_it_went_and_what_came_out(capsys):
    status, output, errors = command(f"train {SMALL} --epochs 3", capsys)
    assert (status, errors) == (0, "")
    assert "data      bacteria: 60 training and 40 test examples\n" in output
    assert "network   784 inputs, 2 hidden layers of 16, 10 classes, selu, lecun weights\n" in output
    assert "training  3 epochs in batches of 16, sgd, lr 0.05, seed 0\n" in output
    _, history = by_hand()
    for e in history.epochs.itertuples():
        line = f"{e.epoch} 0.05 {e.loss:.4f} {e.accuracy:.2%} {e.test_loss:.4f} {e.test_accuracy:.2%}"
        assert re.search(r"\s+".join(map(re.escape, line.split())) + r"\s+\d+\.\d\d\n", output)
    last = history.epochs.iloc[-1]
    assert re.search(rf"\nfinished: \d+ s on {history.device}\n", output)
    assert output.endswith(
        f"training  loss {last.loss:.4f}, accuracy {last.accuracy:.2%}\n"
        f"test      loss {last.test_loss:.4f}, accuracy {last.test_accuracy:.2%}\n"
    )


def test_settings_are_named_in_the_summary(capsys):
    line = f"train {SMALL} --epochs 1 --activation relu --normalization batch --residual --dropout 0.1 --clip 2 "
    status, output, _ = command(line + "--schedule cosine --optimizer momentum --seed 4 --sigma-w 1.5", capsys)
    assert status == 0
    assert "relu, he weights, batch normalization, residual, dropout 0.1\n" in output
    assert "training  1 epochs in batches of 16, momentum, lr 0.05, cosine schedule, clip 2, seed 4\n" in output


def test_validation_is_watched_and_the_test_examples_are_used_at_the_end(capsys):
    status, output, _ = command(f"train {SMALL} --epochs 2 --validation 20", capsys)
    assert status == 0 and "40 training, 20 validation and 40 test examples" in output
    assert re.search(r"validation loss  validation accuracy", output) and "test accuracy" not in output
    model, _ = by_hand(epochs=2, rows=slice(40))
    loss, accuracy = training.evaluate(model, datasets.bacteria("test", 40))
    assert output.endswith(f"test      loss {loss:.4f}, accuracy {accuracy:.2%}\n")


def test_with_patience_the_epoch_that_is_kept_is_named(capsys):
    status, output, _ = command(f"train {SMALL} --epochs 60 --patience 2 --lr 0.1", capsys)
    kept = int(re.search(r"\nearly stopping, epoch (\d+) is kept: ", output).group(1))
    shown = [int(line.split()[0]) for line in output.splitlines() if re.match(r" +\d+ ", line)]
    assert status == 0 and shown[-1] == kept + 2 < 60


def test_of_many_epochs_a_few_are_shown_the_last_among_them(capsys):
    _, output, _ = command(f"train {SMALL} --epochs 30", capsys)
    assert [int(line.split()[0]) for line in output.splitlines() if re.match(r" +\d+ ", line)] == [*range(3, 31, 3)]


def test_history_settings_and_a_picture_are_written(tmp_path, capsys):
    out = tmp_path / "runs" / "a"
    status, output, errors = command(f"train {SMALL} --epochs 3 --out {out} --statistics 20", capsys)
    assert (status, errors) == (0, "")
    assert output.endswith(f"written to {out}: history.csv, layers.csv, settings.json, history.png\n")
    _, history = by_hand(statistics=20)
    written = pd.read_csv(out / "history.csv", float_precision="round_trip").drop(columns="seconds")
    pd.testing.assert_frame_equal(written, history.epochs.drop(columns="seconds"), check_exact=True, check_dtype=False)
    layers = pd.read_csv(out / "layers.csv", float_precision="round_trip")
    pd.testing.assert_frame_equal(layers, history.layers, check_exact=True, check_dtype=False)
    about = json.loads((out / "settings.json").read_text())
    assert about["settings"] == sweeps.checked(
        {"limit": 60, "test_limit": 40, "depth": 2, "width": 16, "batch_size": 16, "lr": 0.05, "epochs": 3}
    )
    assert (about["snnlib"], about["stopped"]) == (snnlib.__version__, "finished")
    assert (out / "history.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_without_matplotlib_there_is_everything_but_the_picture(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    status, output, errors = command(f"train {SMALL} --epochs 1 --out {tmp_path}", capsys)
    assert status == 0 and output.endswith("history.csv, settings.json\n")
    assert errors == 'no picture: matplotlib is missing, pip install "snnlib[figures]"\n'
    assert not (tmp_path / "history.png").exists()


def test_a_run_that_diverges_exits_with_1_and_says_where_and_keeps_the_epochs_before(tmp_path, capsys):
    status, output, errors = command(f"train {SMALL} --epochs 9 --lr 1e9 --out {tmp_path}", capsys)
    assert status == 1 and errors.count("\n") == 1
    assert re.match(r"error: the loss became \w+ at step \d+ \(epoch \d+\).*layer \d of 3", errors)
    assert "finished: " not in output
    assert json.loads((tmp_path / "settings.json").read_text())["stopped"] == "diverged"
    assert len((tmp_path / "history.csv").read_text().splitlines()) < 10


def test_missing_data_exits_with_1_and_one_line(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("SNN_DATA", str(tmp_path))
    sweeps._pictures.cache_clear()
    sweeps._data.cache_clear()
    status, output, errors = command("train --data fashion-mnist --limit 3", capsys)
    assert (status, output) == (1, "") and errors.startswith("error: ") and errors.count("\n") == 1
    assert "is missing" in errors


def test_what_cannot_be_written_exits_with_1_and_one_line(tmp_path, capsys):
    (tmp_path / "file").touch()
    status, _, errors = command(f"train {SMALL} --epochs 1 --out {tmp_path / 'file'}", capsys)
    assert status == 1 and errors.startswith("error: ") and errors.count("\n") == 1 and "file" in errors


def test_a_checkpoint_is_gone_on_with_and_that_of_another_run_is_refused(tmp_path, capsys):
    line = f"train {SMALL} --checkpoint {tmp_path / 'saved'} --out {tmp_path}"
    assert command(f"{line} --epochs 2", capsys)[0] == 0
    assert command(f"{line} --epochs 3", capsys)[0] == 0
    written = pd.read_csv(tmp_path / "history.csv", float_precision="round_trip").drop(columns="seconds")
    _, history = by_hand(epochs=3)
    pd.testing.assert_frame_equal(written, history.epochs.drop(columns="seconds"), check_exact=True, check_dtype=False)
    status, _, errors = command(f"{line} --epochs 3 --momentum 0.5 --lr 0.07", capsys)
    assert status == 1 and errors.startswith("error: ") and errors.count("\n") == 1 and "lr" in errors
    (newest,) = sorted((tmp_path / "saved").glob("*.safetensors"))[-1:]
    newest.write_bytes(newest.read_bytes()[:-1])
    status, _, errors = command(f"{line} --epochs 4", capsys)
    assert status == 1 and "is damaged" in errors and errors.count("\n") == 1
    assert command(f"{line} --epochs 4 --fallback --checkpoint-minutes 5", capsys)[0] == 0


@pytest.mark.parametrize(
    "line, message",
    [
        ("--lr 0", "argument --lr: lr must be a number > 0; got 0.0"),
        ("--lr fast", "argument --lr: lr must be a number > 0; got 'fast'"),
        ("--depth 2.5", "argument --depth: depth must be a whole number from 0 to 1000; got '2.5'"),
        ("--activation swish", "argument --activation: activation must be one of identity, sigmoid"),
        ("--normalization group", "normalization must be one of none, batch, layer, weight; got 'group'"),
        ("--device abacus", "argument --device: device must be auto, cpu, cuda"),
        ("--statistics 0 --out x", "argument --statistics: must be a whole number >= 1; got '0'"),
        ("--statistics 5", "--statistics belongs to --out"),
        ("--fallback", "--checkpoint-minutes and --fallback belong to --checkpoint"),
        ("--checkpoint-minutes 2", "--checkpoint-minutes and --fallback belong to --checkpoint"),
        ("--data iris --limit 149", "the table has 150 rows, too few for limit = 149"),
        ("--data bacteria --limit 10 --validation 10", "validation must leave examples to train on"),
        ("--dpth 3", "unrecognized arguments: --dpth 3"),
        ("selu", "unrecognized arguments: selu"),
    ],
)
def test_wrong_usage_exits_with_2_and_says_why(line, message, capsys):
    status, output, errors = command(f"train {line}", capsys)
    assert (status, output) == (2, "")
    assert errors.startswith("usage: python -m snnlib") and message in errors


def test_the_help_names_every_setting_with_its_choices_and_its_default(capsys):
    status, output, _ = command("train --help", capsys)
    text = " ".join(output.rpartition("examples:")[0].split())
    assert status == 0 and set(sweeps.DEFAULTS) == {name for group in _SETTINGS.values() for name in group}
    for name, default in sweeps.DEFAULTS.items():
        own = text.split(f" --{name.replace('_', '-')} ")[1].split(" --")[0]
        assert default is False or f"(default: {str(default).lower()})" in own
        if name in sweeps.CHOICES and default is not False:
            assert f"one of {', '.join(str(choice).lower() for choice in sweeps.CHOICES[name])}" in own


def test_the_examples_in_the_help_are_accepted(capsys, monkeypatch):
    tried = []
    monkeypatch.setattr("snnlib.__main__._train", lambda parser, options: tried.append(options) or 0)
    monkeypatch.setattr("snnlib.__main__._sweep", lambda parser, options: tried.append(options) or 0)
    for name in ("train", "sweep"):
        output = command(f"{name} --help", capsys)[1]
        for line in re.findall(rf"-m snnlib ({name} .*)", output.rpartition("examples:")[2]):
            assert main(shlex.split(re.split(r"\s{2,}", line)[0])) == 0
    assert len(tried) == 4 + 3


def test_without_torch_the_error_is_one_line_that_says_what_to_install(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    status, output, errors = command("train", capsys)
    assert (status, output, errors) == (1, "", 'error: training needs torch: pip install "snnlib[torch]"\n')


def test_ctrl_c_exits_with_130_and_keeps_what_was_done(tmp_path):
    line = f"train {SMALL} --epochs 1000000 --checkpoint {tmp_path / 'saved'} --out {tmp_path / 'out'}"
    with process("-m", "snnlib", *shlex.split(line)) as running:
        end = time.monotonic() + 60
        while not list((tmp_path / "saved").glob("step-*.json")):
            assert running.poll() is None and time.monotonic() < end
            time.sleep(0.02)
        running.send_signal(signal.SIGINT)
        _, errors = running.communicate(timeout=60)
    assert (running.returncode, errors) == (130, "interrupted\n")
    history = pd.read_csv(tmp_path / "out" / "history.csv")
    assert len(history) >= 1 and history["epoch"].tolist() == list(range(1, len(history) + 1))
    assert json.loads((tmp_path / "out" / "settings.json").read_text())["stopped"] == "interrupted"


def test_two_processes_train_the_network_of_one_and_the_first_speaks_for_both(tmp_path, capsys):
    line = f"train {SMALL} --epochs 3 --out {tmp_path / 'two'} --device cpu"
    torchrun = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "snnlib")
    with process(*torchrun, *shlex.split(line)) as running:
        output, errors = running.communicate(timeout=120)
    assert running.returncode == 0, errors
    assert output.count("data      bacteria: 60 training and 40 test examples\n") == 1
    assert output.count("finished: ") == output.count("written to ") == 1
    _, history = by_hand()
    two = pd.read_csv(tmp_path / "two" / "history.csv")
    assert two["step"].tolist() == history.epochs["step"].tolist()
    for name in ("loss", "accuracy", "test_loss", "test_accuracy"):
        assert two[name].tolist() == pytest.approx(history.epochs[name].tolist(), abs=1e-5)


# --- sweep -----------------------------------------------------------------------------------------------------------

GRID = """
limit = 40
test_limit = 20
width = 8
depth = 1
epochs = 1
seeds = 2
[grid]
lr = [0.01, 0.1]
[[methods]]
name = "SELU"
activation = "selu"
[[methods]]
name = "tanh"
activation = "tanh"
"""


@pytest.fixture
def made(monkeypatch):
    """Runs are made in this process: the settings in the order in which that happened."""
    from snnlib import _workers

    runs = []

    def here(todo, count):
        for run in todo:
            runs.append(run)
            yield run, _workers._outcome(_workers.answer(run))

    monkeypatch.setattr(_workers, "here", here)
    return runs


def test_a_sweep_makes_table_picture_and_summary(tmp_path, capsys, made):
    grid = tmp_path / "grid.toml"
    grid.write_text(GRID)
    status, output, errors = command(f"sweep {grid}", capsys)
    assert (status, errors) == (0, "") and len(made) == 8
    table = sweeps.load_table(tmp_path / "grid.csv")
    assert len(table) == 8
    lines = [line.split() for line in output.splitlines()]
    assert lines[0] == ["method", "lr", "runs", "diverged", "test_accuracy", "std"]  # no validation
    for line in lines[1:3]:
        means = table[table["method"] == line[0]].groupby("lr")["test_accuracy"].agg(["mean", "std"])
        assert line[2:] == ["2", "0", f"{means['mean'].max():.2%}", f"{means['std'][float(line[1])]:.2%}"]
        assert means["mean"][float(line[1])] == means["mean"].max()
    picture = tmp_path / "grid.png"
    said = f"8 runs in {tmp_path / 'grid.csv'}, 0 of them diverged; lr is the one of the highest test accuracy; "
    assert output.endswith(f"\n{said}picture: {picture}\n") and picture.read_bytes()[:4] == b"\x89PNG"
    assert command(f"sweep {grid}", capsys)[:2] == (status, output) and len(made) == 8


def test_validation_chooses_the_lr_where_there_is_one(tmp_path, capsys, made):
    (tmp_path / "grid.toml").write_text(GRID.replace("width", "validation = 10\nwidth"))
    status, output, _ = command(f"sweep {tmp_path / 'grid.toml'} --table {tmp_path / 'other.csv'}", capsys)
    assert status == 0 and (tmp_path / "other.csv").exists() and (tmp_path / "other.png").exists()
    assert "lr is the one of the highest validation accuracy" in output and "validation_accuracy" in output
    assert not (tmp_path / "grid.csv").exists()


@pytest.mark.parametrize(
    "change", [("[[", "[grid2"), ("lr = [0.01, 0.1]", "depth = [1, 2, 3]"), ("[grid]\nlr = [0.01, 0.1]", "")]
)
def test_grids_of_other_forms_have_a_summary_and_a_picture_too(tmp_path, capsys, made, change):
    text = GRID[: GRID.index("[[")] if change[0] == "[[" else GRID.replace("depth = 1\n", "").replace(*change)
    (tmp_path / "grid.toml").write_text(text)
    status, output, errors = command(f"sweep {tmp_path / 'grid.toml'}", capsys)
    assert (status, errors) == (0, "") and (tmp_path / "grid.png").exists() and "test_accuracy" in output


def test_a_dry_run_says_how_many_runs_there_are_and_changes_nothing(tmp_path, capsys, made):
    grid, table = tmp_path / "grid.toml", tmp_path / "grid.csv"
    grid.write_text(GRID)
    status, output, errors = command(f"sweep {grid} --dry-run --workers 3", capsys)
    assert (status, errors) == (0, "")
    start = f"8 runs (2 methods x 2 lr x 2 seeds), 0 of them in {table}; the others take very roughly "
    assert output.startswith(start) and output.endswith(" s, 3 at a time\n") and list(tmp_path.iterdir()) == [grid]
    command(f"sweep {grid}", capsys)
    before = table.read_bytes()
    assert (
        command(f"sweep {grid} --dry-run", capsys)[1] == f"8 runs (2 methods x 2 lr x 2 seeds), 8 of them in {table}\n"
    )
    grid.write_text(GRID.replace("width = 8", "width = 9"))
    status, output, errors = command(f"sweep {grid} --dry-run", capsys)
    assert (status, output) == (1, "") and errors.startswith("error: ") and "width (8 in the table, 9 in" in errors
    assert table.read_bytes() == before


def test_a_sweep_that_fails_in_part_exits_with_1_and_still_summarizes(tmp_path, capsys, made, monkeypatch):
    run_one = sweeps.run_one

    def fail(run):
        if run["lr"] == 0.1 and run["method"] == "tanh":
            raise MemoryError("too large")
        return run_one(run)

    monkeypatch.setattr(sweeps, "run_one", fail)
    (tmp_path / "grid.toml").write_text(GRID)
    status, output, errors = command(f"sweep {tmp_path / 'grid.toml'}", capsys)
    assert status == 1 and "6 runs in" in output
    assert errors.startswith("error: 2 of 8 runs failed") and errors.endswith("MemoryError: too large\n")


@pytest.mark.parametrize(
    "text, line, status, message",
    [
        (GRID.replace("lr =", "rate ="), "", 2, "grid.toml: [grid]: unknown setting 'rate'"),
        (GRID.replace("seeds = 2", "seeds = = 2"), "", 2, "grid.toml: is not TOML: "),
        (GRID, "--table t.txt", 2, "a table is a file with the ending .csv, got 't.txt'"),
        (GRID, "--workers 0", 2, "argument --workers: must be a whole number >= 1; got '0'"),
        (GRID, "--workers 2 --address tcp://a:1", 2, "leave them out with an address"),
        (GRID, "--table /dev/null/t.csv", 1, "/dev/null"),
    ],
)
def test_what_is_wrong_with_a_sweep_is_said(tmp_path, capsys, monkeypatch, text, line, status, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "grid.toml").write_text(text)
    found, output, errors = command(f"sweep grid.toml {line}", capsys)
    assert (found, output) == (status, "") and message in errors
    assert errors.startswith("usage: " if status == 2 else "error: ") and (status == 2 or errors.count("\n") == 1)
