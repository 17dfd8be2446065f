"""Sweeps: settings, runs, grids, the table that survives everything, worker processes that do not.

Where no network has to be trained, the worker processes run `FAKE` in place of torch: the rows that it answers are
simple functions of the settings, and some settings make it die, fail or wait.
"""

import contextlib
import inspect
import itertools
import json
import math
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from snnlib import _workers, activations, datasets, initialization, networks, sweeps, training
from snnlib.sweeps import DEFAULTS, RESULTS, Grid, GridError, SweepError, sweep

FAKE = """
import os, sys, time, types
sys.modules["torch"] = types.SimpleNamespace(get_num_threads=lambda: 1, set_num_threads=lambda n: None)
from snnlib import _workers, datasets, sweeps

def run_one(run):
    log = os.environ["SNN_LOG"]
    with open(log, "a") as file:
        print(os.getpid(), run["seed"], repr(run["lr"]), file=file)
    print("a library that talks")
    deaths, lr = open(log).read().count(f" {run['seed']} {run['lr']!r}"), run["lr"]
    if lr == 13.0 or lr == 14.0 and deaths == 1:
        os.kill(os.getpid(), 9)
    if lr == 15.0:
        sys.exit("no such luck")
    if lr == 16.0:
        raise RuntimeError("cannot\\nmultiply")
    if lr == 17.0:
        raise datasets.DataError("the bacteria are missing: grow some")
    time.sleep(float(os.environ.get("SNN_SECONDS", 0)))
    row = dict.fromkeys(sweeps.RESULTS, 0.1 + run["seed"] / 3 + lr)
    row |= {"epochs_done": 3, "diverged": False, "stopped": "finished", "error": ""}
    if lr == 19.0:
        time.sleep(3600)
    if lr == 18.0:
        row |= dict.fromkeys(sweeps.RESULTS[:7], float("nan")) | {"diverged": True, "error": 'one, "two"'}
    return {**run, **row}

sweeps.run_one = run_one
_workers.serve()
"""
GRID = Grid({"epochs": 3}, {"lr": [0.1, 0.2]}, {"A": {"depth": 2}, "B": {"depth": 4}}, range(3))


@pytest.fixture
def fake(monkeypatch, tmp_path):
    """Worker processes of `FAKE`; returns the file in which they note (process, seed, lr) of each run."""
    monkeypatch.setattr(_workers, "_SERVE", FAKE)
    monkeypatch.setenv("SNN_LOG", str(tmp_path / "log"))
    return tmp_path / "log"


def log(path):
    """[(process, seed, lr)] of the runs that were begun."""
    return [tuple(line.split()) for line in path.read_text().splitlines()] if path.exists() else []


def alive(process):
    """Whether a process exists and is not a zombie."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def lines(path):
    return path.read_text().splitlines()


# --- settings --------------------------------------------------------------------------------------------------------


def test_the_choices_are_those_of_the_modules_that_use_them():
    assert sweeps.CHOICES["activation"] == activations.names()
    assert sweeps.CHOICES["normalization"] == networks.NORMALIZATIONS
    assert sweeps.CHOICES["scheme"] == (None, *initialization._SCHEMES)
    assert sweeps.CHOICES["optimizer"] == training.OPTIMIZERS
    assert sweeps.CHOICES["schedule"] == (None, *training.SCHEDULES)
    assert set(sweeps.CHOICES) | set(sweeps._NUMBERS) | {"device"} == set(DEFAULTS)
    assert {sweeps.customary(name) for name in activations.names()} == {"lecun", "he", "xavier"}


def test_the_defaults_are_settings_and_are_what_is_not_given():
    assert sweeps.checked({}) == sweeps.checked(DEFAULTS) == DEFAULTS
    given = sweeps.checked({"method": "SELU", "lr": 1, "depth": np.int64(3), "clip": np.float64(0.5), "limit": "none"})
    assert given == {"method": "SELU", **DEFAULTS, "lr": 1.0, "depth": 3, "clip": 0.5}
    assert type(given["lr"]) is float and type(given["depth"]) is int


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"learning_rate": 1}, "unknown setting 'learning_rate'; the settings are data, limit"),
        ({"data": "cifar"}, "data must be one of bacteria, fashion-mnist, mnist-t10k, iris, wine, breast-cancer; got"),
        ({"activation": "swish"}, "activation must be one of identity, .*; got 'swish'"),
        ({"normalization": "group"}, "normalization must be one of none, batch, layer, weight; got 'group'"),
        ({"residual": 1}, "residual must be one of False, True; got 1"),
        ({"residual": "true"}, "residual must be one of False, True; got 'true'"),
        ({"depth": 2.0}, "depth must be a whole number from 0 to 1000; got 2.0"),
        ({"depth": True}, "depth must be a whole number from 0 to 1000; got True"),
        ({"width": 0}, "width must be a whole number >= 1; got 0"),
        ({"lr": 0}, "lr must be a number > 0; got 0"),
        ({"lr": math.nan}, "lr must be a number > 0; got nan"),
        ({"lr": math.inf}, "lr must be a number > 0; got inf"),
        ({"lr": "0.1"}, "lr must be a number > 0; got '0.1'"),
        ({"lr": "none"}, "lr must be a number > 0; got 'none'"),
        ({"lr": [0.1]}, r"lr must be a number > 0; got \[0.1\]"),
        ({"momentum": 1}, "momentum must be a number with 0 <= momentum < 1; got 1"),
        ({"dropout": -0.1}, "dropout must be a number with 0 <= dropout < 1; got -0.1"),
        ({"limit": 0}, "limit must be a whole number >= 1, or none; got 0"),
        ({"patience": 0.5}, "patience must be a whole number >= 1, or none; got 0.5"),
        ({"validation": -1}, "validation must be a whole number >= 0; got -1"),
        ({"device": "gpu"}, "device must be auto, cpu, cuda, cuda:1, mps"),
        ({"seed": None}, "seed must be a whole number >= 0; got None"),
    ],
)
def test_a_setting_that_makes_no_sense_is_refused_with_its_name_its_value_and_the_choices(settings, message):
    with pytest.raises(GridError, match=message):
        sweeps.checked(settings)


def test_settings_are_read_from_texts():
    texts = {"lr": "1e-2", "depth": "32", "normalization": "none", "limit": "none", "activation": "gelu", "clip": "2"}
    values = {name: sweeps.parse(name, text) for name, text in texts.items()}
    assert values == {"lr": 0.01, "depth": 32, "normalization": None, "limit": None, "activation": "gelu", "clip": 2.0}
    for name, text in [("depth", "2.5"), ("lr", "fast"), ("seed", "none"), ("activation", "none")]:
        with pytest.raises(GridError, match=f"{name} must be .*; got '{text}'"):
            sweeps.parse(name, text)


# --- one run ---------------------------------------------------------------------------------------------------------


def test_the_network_has_the_depth_width_and_variant_that_the_settings_say():
    settings = {"limit": 30, "test_limit": 20, "depth": 3, "width": 7, "residual": True, "normalization": "layer"}
    model, train, validation, test, _ = sweeps.prepare({**settings, "activation": "tanh", "seed": 5, "method": "T"})
    shapes = [tuple(layer.linear.weight.shape) for layer in model]
    assert shapes == [(7, 784), (7, 7), (7, 7), (10, 7)] and [len(train), validation, len(test)] == [30, None, 20]
    twin = networks.fully_connected([784, 7, 7, 7, 10], "tanh", "layer", True, scheme="xavier", seed=5)
    assert str(model) == str(twin) and all(map(np.array_equal, *map(parameters, (model, twin))))
    model, *_ = sweeps.prepare({"limit": 30, "test_limit": 20, "depth": 0})
    assert [tuple(layer.linear.weight.shape) for layer in model] == [(10, 784)]


def parameters(model):
    return [p.detach().numpy() for p in model.parameters()]


@pytest.mark.parametrize("activation, variance", [("selu", 1 / 784), ("relu", 2 / 784), ("tanh", 2 / (784 + 300))])
def test_first_weights_have_the_variance_that_is_customary_for_the_activation(activation, variance):
    first = sweeps.prepare({"limit": 2, "test_limit": 2, "activation": activation, "width": 300, "depth": 1})[0][0]
    assert first.linear.weight.var().item() == pytest.approx(variance, rel=0.02)  # 235,200 weights: sd 0.3 %
    doubled = sweeps.prepare(
        {"limit": 2, "test_limit": 2, "activation": activation, "width": 300, "depth": 1, "sigma_w": 2, "sigma_b": 0.5}
    )[0][0]
    assert doubled.linear.weight.var().item() == pytest.approx(4 * variance, rel=0.02)
    assert doubled.linear.bias.std().item() == pytest.approx(0.5, rel=0.2)


def test_the_options_are_the_settings_that_fit_takes_each_under_its_name():
    given = {"epochs": 3, "batch_size": 5, "lr": 0.3, "optimizer": "adam", "momentum": 0.7, "schedule": "cosine"}
    given |= {"patience": 2, "clip": 1.5, "precision": "bf16", "device": "cpu", "seed": 9}
    options = sweeps.prepare({**given, "limit": 20, "test_limit": 10})[-1]
    assert options == given
    taken = inspect.signature(training.fit).parameters
    assert set(options) == set(DEFAULTS) & set(taken)


def test_the_last_training_pictures_are_held_out_for_validation_and_the_test_pictures_stay():
    settings = {"limit": 50, "test_limit": 20, "validation": 15}
    _, train, validation, test, _ = sweeps.prepare(settings)
    pictures = datasets.bacteria("train", 50)
    assert np.array_equal(train.x, pictures.x[:35]) and np.array_equal(train.y, pictures.y[:35])
    assert np.array_equal(validation.x, pictures.x[35:]) and np.array_equal(validation.y, pictures.y[35:])
    assert np.array_equal(test.x, datasets.bacteria("test", 20).x)
    with pytest.raises(GridError, match="validation must leave examples to train on: 50 of 50 are held out"):
        sweeps.prepare({**settings, "validation": 50})


def test_mnist_is_tested_on_the_last_of_its_pictures(monkeypatch):
    x = np.arange(100, dtype=np.float32)[:, None] * np.ones(784, np.float32)
    monkeypatch.setattr(
        datasets, "mnist_t10k", lambda: datasets.Images(x, np.arange(100) % 10, tuple("0123456789"), 0, 1)
    )
    sweeps._pictures.cache_clear()
    sweeps._data.cache_clear()
    settings = {"data": "mnist-t10k", "limit": 60, "validation": 10, "test_limit": 30}
    _, train, validation, test, _ = sweeps.prepare(settings)
    assert [part.x[[0, -1], 0].tolist() for part in (train, validation, test)] == [[0, 49], [50, 59], [70, 99]]
    with pytest.raises(GridError, match=r"100 pictures, fewer than limit \+ test_limit = 101"):
        sweeps.prepare({**settings, "limit": 71})
    sweeps._pictures.cache_clear()
    sweeps._data.cache_clear()


@pytest.mark.parametrize("validation", [0, 24])
def test_a_table_is_divided_by_the_seed_with_each_class_in_its_share(monkeypatch, validation):
    y = np.repeat([0, 1, 2], [60, 90, 30])  # shares 1/3, 1/2, 1/6
    rows = datasets.Table(np.arange(180.0)[:, None] * [1, -2], y, ("a", "b"), tuple("xyz"))
    monkeypatch.setattr(sweeps, "_table", lambda name: rows)
    sweeps._data.cache_clear()
    divisions = []
    for seed in (0, 1):
        parts = sweeps.prepare({"data": "wine", "validation": validation, "seed": seed})[1:4]
        parts = [part for part in parts if part is not None]
        x = np.concatenate([part.x for part in parts])
        index = np.rint((x[:, 0] - x[:, 0].min()) / np.ptp(x[:, 0]) * 179).astype(int)  # one scale for all parts
        assert sorted(index) == list(range(180)) and np.array_equal(np.concatenate([p.y for p in parts]), y[index])
        assert [len(part) for part in parts] == ([120, 24, 36] if validation else [144, 36])
        for part in parts:
            counts = np.bincount(part.y, minlength=3)
            assert np.all(np.abs(counts - len(part) * np.array([1 / 3, 1 / 2, 1 / 6])) < 2)
        train = parts[0].x
        assert np.allclose(train.mean(axis=0), 0, atol=1e-6) and np.allclose(train.std(axis=0), 1, atol=1e-6)
        divisions.append(index)
    assert not np.array_equal(*divisions)
    with pytest.raises(
        GridError, match="180 rows, too few for limit = 150, of which validation = .*, and test_limit = 36"
    ):
        sweeps.prepare({"data": "wine", "limit": 150, "validation": validation})
    assert len(sweeps.prepare({"data": "wine", "limit": 50, "test_limit": 90})[1]) == 50
    sweeps._data.cache_clear()


SMALL = {"limit": 60, "test_limit": 40, "depth": 2, "width": 16, "epochs": 3, "batch_size": 16, "lr": 0.05}


def by_hand(settings, validation, patience=None):
    """(history, test loss, test accuracy) of a run, by the functions of training and datasets themselves."""
    train, test = datasets.bacteria("train", 60), datasets.bacteria("test", 40)
    rest = 60 - validation
    watched = (train.x[rest:], train.y[rest:]) if validation else test
    model = networks.fully_connected([784, 16, 16, 10], seed=settings.get("seed", 0))
    options = {"epochs": settings["epochs"], "batch_size": 16, "lr": settings["lr"], "seed": settings.get("seed", 0)}
    history = training.fit(
        model, (train.x[:rest], train.y[:rest]), watched, **options, patience=patience, progress=False
    )
    return history, training.evaluate(model, watched), training.evaluate(model, test)


def test_a_row_holds_all_settings_and_what_fit_and_evaluate_say():
    row = sweeps.run_one({**SMALL, "method": "mine"}, seed=3)
    assert tuple(row) == ("method", *DEFAULTS, *RESULTS) and row["seed"] == 3 and row["method"] == "mine"
    history, _, (loss, accuracy) = by_hand({**SMALL, "seed": 3}, 0)
    last = history.epochs.iloc[-1]
    assert (row["loss"], row["accuracy"]) == (last.loss, last.accuracy)
    assert (row["test_loss"], row["test_accuracy"]) == (loss, accuracy) == (last.test_loss, last.test_accuracy)
    assert math.isnan(row["validation_loss"]) and math.isnan(row["validation_accuracy"])
    assert row["best_accuracy"] == history.epochs.test_accuracy.max()
    assert (row["epochs_done"], row["diverged"], row["stopped"], row["error"]) == (3, False, "finished", "")
    assert 0 < row["seconds"] < 60


def test_with_validation_the_test_examples_are_seen_once_at_the_end():
    settings = {**SMALL, "validation": 20, "epochs": 40, "lr": 0.1, "patience": 2}
    row = sweeps.run_one(settings)
    history, validation, test = by_hand(settings, 20, patience=2)
    assert history.stopped == row["stopped"] == "early stopping" and 2 < row["epochs_done"] < 40
    assert (row["validation_loss"], row["validation_accuracy"]) == validation
    assert (row["test_loss"], row["test_accuracy"]) == test
    kept = history.epochs.iloc[-3]  # two epochs without a lower loss followed
    assert (row["loss"], row["accuracy"], row["validation_loss"]) == (kept.loss, kept.accuracy, kept.test_loss)
    assert row["best_accuracy"] == history.epochs.test_accuracy.max()


def test_a_run_that_diverges_is_a_row():
    row = sweeps.run_one(SMALL, lr=1e12, epochs=20)
    assert row["diverged"] is True and row["stopped"] == "diverged" and row["lr"] == 1e12
    assert all(math.isnan(row[name]) for name in RESULTS[:6])
    assert re.search(r"step \d+ \(epoch \d+\).*layer \d of 3", row["error"]) and "\n" not in row["error"]
    assert row["epochs_done"] < 20 and (row["epochs_done"] > 0) == (not math.isnan(row["best_accuracy"]))


def test_of_two_threads_one_waits_for_the_other_as_torch_has_one_random_state(monkeypatch):
    settings = [{**SMALL, "dropout": 0.2, "seed": seed} for seed in (0, 1)]
    alone, beside, inside, fit = [sweeps.run_one(one) for one in settings], {}, [], training.fit

    def watched(*arguments, **options):
        inside.append("begin")
        time.sleep(0.1)
        history = fit(*arguments, **options)
        inside.append("end")
        return history

    monkeypatch.setattr(training, "fit", watched)
    threads = [threading.Thread(target=lambda i=i: beside.update({i: sweeps.run_one(settings[i])})) for i in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert inside == ["begin", "end"] * 2
    for i in (0, 1):
        assert all(alone[i][name] == beside[i][name] for name in ("loss", "accuracy", "test_loss", "best_accuracy"))
    assert alone[0]["loss"] != alone[1]["loss"]


# --- grids -----------------------------------------------------------------------------------------------------------

TOML = """
data = "iris"
epochs = 12
seeds = [4, 5]
limit = "none"

[grid]
depth = [2, 8]
lr = [0.01, 1]

[[methods]]
name = "SELU"
activation = "selu"

[[methods]]
name = "ReLU, normalized"
activation = "relu"
normalization = "batch"
"""


def write(folder, text):
    path = folder / "grid.toml"
    path.write_text(text)
    return path


def test_a_grid_is_every_combination_for_every_method_seed_by_seed(tmp_path):
    grid = sweeps.load_grid(write(tmp_path, TOML))
    assert grid.columns == ("method", "depth", "lr", "seed") and len(grid) == len(list(grid)) == 16
    expected = [
        (method, depth, lr, seed)
        for seed in (4, 5)
        for method in ("SELU", "ReLU, normalized")
        for depth in (2, 8)
        for lr in (0.01, 1.0)
    ]
    assert [tuple(run[name] for name in grid.columns) for run in grid] == expected
    for run in grid:
        assert set(run) == {"method", *DEFAULTS} and (run["data"], run["epochs"], run["width"]) == ("iris", 12, 128)
        own = ("selu", None) if run["method"] == "SELU" else ("relu", "batch")
        assert (run["activation"], run["normalization"]) == own and sweeps.checked(run) == run


def test_a_grid_needs_nothing_but_has_one_run():
    assert list(Grid()) == [DEFAULTS] and Grid().columns == ("seed",) and len(Grid()) == 1


def test_seeds_may_be_a_number_and_values_may_be_arrays(tmp_path):
    assert sweeps.load_grid(write(tmp_path, "seeds = 3")).seeds == (0, 1, 2)
    assert Grid(lists={"lr": np.logspace(-2, 0, 3), "depth": range(1, 3)}).lists == {
        "lr": [0.01, 0.1, 1],
        "depth": [1, 2],
    }


def test_what_a_method_says_comes_before_what_is_said_of_all_runs():
    grid = Grid({"lr": 0.5, "depth": 3}, {}, {"slow": {"lr": 0.1}, "fast": {}})
    assert [(run["method"], run["lr"], run["depth"]) for run in grid] == [("slow", 0.1, 3), ("fast", 0.5, 3)]


@pytest.mark.parametrize(
    "text, message",
    [
        ("lr = = 1", r"is not TOML: .*line 1"),
        ("\n\nlr = 0.1\n0.2 = =", r"is not TOML: .*line 4"),
        ("lrr = 0.1", "unknown setting 'lrr'; the settings are data, limit,"),
        ("lr = '0.1'", "lr must be a number > 0; got '0.1'"),
        ("lr = [0.1, 0.2]", r"lr = \[0.1, 0.2\] is a list: it belongs under \[grid\]"),
        ("[grid]\nlr = 0.1", r"the list of lr must be a list of values, such as \[1, 2\], got 0.1"),
        ("[grid]\nlr = []", "the list of lr is empty: give at least one value, or leave it out"),
        ("[grid]\nlr = [0.1, 'fast']", "lr must be a number > 0; got 'fast'"),
        ("[grid]\nlr = [1, 0.1, 1.0]", "the list of lr holds 1.0 twice"),
        ("[grid]\nrate = [1]", r"\[grid\]: unknown setting 'rate'"),
        ("[grid]\nseed = [1]", "seed cannot be a list of the grid: give seeds instead"),
        ("grid = 3", r"grid must be a table, \[grid\], got 3"),
        ("[gird]\nlr = [1]", r"unknown table \[gird\]; a grid has \[grid\] and \[\[methods\]\]"),
        ("seed = 3", "seed cannot be a setting of a grid: give seeds instead"),
        ("seeds = []", "seeds is empty"),
        ("seeds = 0", "seeds must be a list, or how many there are"),
        ("seeds = 'three'", "seeds must be a list of values"),
        ("seeds = [0, 0]", "seeds holds 0 twice"),
        ("seeds = [0.5]", "seed must be a whole number >= 0; got 0.5"),
        ("lr = 0.1\n[grid]\nlr = [1]", "lr is given twice: as a list of the grid and as a setting of all runs"),
        ("[grid]\nlr = [1]\n[[methods]]\nname = 'A'\nlr = 2", "lr is given twice: .* and in method 'A'"),
        ("[[methods]]\nlr = 2", r"\[\[methods\]\] number 1 has no name"),
        ("[[methods]]\nname = 'A'\n[[methods]]\nname = 'A'", "two methods have the name 'A'"),
        ("[[methods]]\nname = 'A'\nnorm = 'batch'", "method 'A': unknown setting 'norm'"),
        ("[[methods]]\nname = 'A'\ndepth = 'deep'", "method 'A': depth must be .*; got 'deep'"),
        ("[[methods]]\nname = 'A'\nseed = 1", "seed cannot be a setting of a grid"),
        ('[[methods]]\nname = "A\\nB"', "the name of a method must be a text of one line"),
        ("[methods]\nname = 'A'", r"methods must be tables, \[\[methods\]\]"),
    ],
)
def test_a_wrong_grid_is_refused_with_its_path_the_key_and_the_value(tmp_path, text, message):
    path = write(tmp_path, text)
    with pytest.raises(GridError, match=f"^{re.escape(str(path))}: .*{message}"):
        sweeps.load_grid(path)


def test_a_grid_that_cannot_be_read_is_refused(tmp_path):
    with pytest.raises(GridError, match=r"grid.toml: cannot be read \(No such file or directory\)"):
        sweeps.load_grid(tmp_path / "grid.toml")
    (tmp_path / "grid.toml").write_bytes(b"lr = \xff")
    with pytest.raises(GridError, match="is not TOML"):
        sweeps.load_grid(tmp_path / "grid.toml")


# --- the table -------------------------------------------------------------------------------------------------------


def expected(grid):
    """What the fake workers answer, in the grid's order."""
    return [(*(run[name] for name in grid.columns), 0.1 + run["seed"] / 3 + run["lr"]) for run in grid]


def found(frame, grid):
    return list(frame[[*grid.columns, "test_loss"]].itertuples(index=False, name=None))


def test_every_run_is_made_once_and_returned_in_the_order_of_the_grid_to_the_last_digit(fake, tmp_path):
    table = tmp_path / "new" / "table.csv"
    frame = sweep(GRID, table, workers=2, progress=False)
    assert found(frame, GRID) == expected(GRID) and len(log(fake)) == 12
    assert list(frame.columns) == ["method", "lr", "seed", *RESULTS]
    assert frame["diverged"].dtype == bool and (frame["error"] == "").all()
    assert len(lines(table)) == 13 and table.read_bytes().endswith(b"\n")
    assert sorted(found(sweeps.load_table(table), GRID)) == sorted(expected(GRID))
    about = json.loads(table.with_suffix(".json").read_text())
    assert about["settings"]["epochs"] == 3 and about["methods"] == {"A": {"depth": 2}, "B": {"depth": 4}}
    assert about["lists"] == {"lr": [0.1, 0.2]} and about["seeds"] == [0, 1, 2] and "lr" not in about["settings"]


def test_a_table_that_is_complete_is_returned_without_a_process(fake, tmp_path):
    first = sweep(GRID, tmp_path / "t.csv", workers=2, progress=False)
    content = (tmp_path / "t.csv").read_bytes()
    pd.testing.assert_frame_equal(sweep(GRID, tmp_path / "t.csv", progress=False), first)
    assert len(log(fake)) == 12 and (tmp_path / "t.csv").read_bytes() == content
    assert sweeps.missing(GRID, tmp_path / "t.csv") == []


def test_a_run_that_diverged_comes_back_as_nan_with_its_error(fake, tmp_path):
    frame = sweep(Grid(lists={"lr": [18.0, 1.0]}), tmp_path / "t.csv", workers=1, progress=False)
    frame = sweep(Grid(lists={"lr": [18.0, 1.0]}), tmp_path / "t.csv", workers=1, progress=False)
    assert frame["diverged"].tolist() == [True, False] and frame["error"].tolist() == ['one, "two"', ""]
    assert frame["test_accuracy"].isna().tolist() == [True, False] and len(log(fake)) == 2


GROWN = {
    "seeds": Grid(GRID.settings, GRID.lists, GRID.methods, (3, 1, 0)),
    "values": Grid(GRID.settings, {"lr": [0.3, 0.1]}, GRID.methods, GRID.seeds),
    "methods": Grid(GRID.settings, GRID.lists, {"C": {"width": 5}, **GRID.methods}, GRID.seeds),
}


@pytest.mark.parametrize("what", GROWN)
def test_a_grid_may_grow_and_only_what_is_missing_is_made(fake, tmp_path, what):
    table, grown = tmp_path / "t.csv", GROWN[what]
    sweep(GRID, table, workers=2, progress=False)
    before, made = table.read_bytes(), len(log(fake))
    new = [run for run in grown if run not in list(GRID)]
    assert sweeps.missing(grown, table) == new and 0 < len(new) < len(grown)
    frame = sweep(grown, table, workers=2, progress=False)
    assert found(frame, grown) == expected(grown) and len(log(fake)) == made + len(new)
    assert table.read_bytes().startswith(before)  # what is there is never written again
    assert found(sweep(GRID, table, workers=1, progress=False), GRID) == expected(GRID)
    assert len(log(fake)) == made + len(new)


OTHER = {
    "epochs": (Grid({"epochs": 4}, GRID.lists, GRID.methods), "differs in epochs (3 in the table, 4 in the grid):"),
    "a default": (Grid({"epochs": 3, "width": 9}, GRID.lists, GRID.methods), "width (128 in the table, 9 in the grid)"),
    "a method": (Grid(GRID.settings, GRID.lists, {"A": {"depth": 3}}), "depth of 'A' (2, now 3)"),
    "a new list": (
        Grid(GRID.settings, {**GRID.lists, "width": [1, 2]}, GRID.methods),
        "width (128 in the table, a list in the grid)",
    ),
    "no list": (Grid({**GRID.settings, "lr": 0.1}, {}, GRID.methods), "lr (a list in the table, 0.1 in the grid)"),
    "no methods": (Grid(GRID.settings, GRID.lists), "methods (there are none in the grid)"),
}


@pytest.mark.parametrize("what", OTHER)
def test_the_table_of_another_grid_is_refused_with_what_differs_and_left_alone(fake, tmp_path, what):
    table, (other, message) = tmp_path / "t.csv", OTHER[what]
    sweep(GRID, table, workers=2, progress=False)
    before = [path.read_bytes() for path in (table, table.with_suffix(".json"))]
    for refused in (lambda: sweep(other, table), lambda: sweeps.missing(other, table)):
        with pytest.raises(SweepError, match=re.escape(message)):
            refused()
    assert [path.read_bytes() for path in (table, table.with_suffix(".json"))] == before and len(log(fake)) == 12


def test_wherever_the_last_line_was_cut_off_that_run_alone_is_made_again(fake, tmp_path):
    table = tmp_path / "t.csv"
    sweep(GRID, table, workers=1, progress=False)
    whole = table.read_bytes()
    start = whole[:-1].rfind(b"\n") + 1  # of the last line
    for made, end in enumerate((start + 1, start + 9, len(whole) - 1), 13):
        table.write_bytes(whole[:end])
        assert len(sweeps.load_table(table)) == 11 and len(sweeps.missing(GRID, table)) == 1
        assert found(sweep(GRID, table, workers=1, progress=False), GRID) == expected(GRID)
        assert len(log(fake)) == made and log(fake)[-1][1:] == log(fake)[11][1:]
        assert table.read_bytes().startswith(whole[:start]) and len(lines(table)) == 13
    whole = table.read_bytes()
    table.write_bytes(whole + b"A,0.1," * 100)
    assert found(sweep(GRID, table, progress=False), GRID) == expected(GRID)
    assert table.read_bytes() == whole and len(log(fake)) == 15


@pytest.mark.parametrize("cut", [0, 5])
def test_a_table_cut_off_in_its_first_line_begins_anew(fake, tmp_path, cut):
    table = tmp_path / "t.csv"
    table.write_bytes(b"method,lr,seed"[:cut])
    assert found(sweep(GRID, table, workers=2, progress=False), GRID) == expected(GRID)


DAMAGES = {
    "a column is missing": (lambda t: t.replace(b"seed,", b"", 1), "has the columns ['method', 'lr', 'loss',"),
    "a line is short": (lambda t: t.replace(b"finished,\n", b"finished\n", 1), "is damaged: line 2 has"),
    "a line is there twice": (lambda t: t + t.splitlines(True)[-1], "is damaged: line 14 repeats the run"),
    "a quote stays open": (lambda t: t.replace(b"finished", b'"', 1), "is damaged"),
    "it is no text": (lambda t: t.replace(b"finished", b"\xff", 1), "is damaged"),
}


@pytest.mark.parametrize("what", DAMAGES)
def test_a_damaged_table_is_refused_and_left_alone(fake, tmp_path, what):
    table, (damage, message) = tmp_path / "t.csv", DAMAGES[what]
    sweep(GRID, table, workers=2, progress=False)
    content = damage(table.read_bytes())
    table.write_bytes(content)
    with pytest.raises(SweepError, match=re.escape(message)):
        sweep(GRID, table)
    assert table.read_bytes() == content


def test_a_table_without_what_is_said_beside_it_is_refused(fake, tmp_path):
    table, about = tmp_path / "t.csv", tmp_path / "t.json"
    sweep(GRID, table, workers=2, progress=False)
    for text in ("{", "[]", '{"settings": {}}'):
        about.write_text(text)
        with pytest.raises(SweepError, match=r"t\.json is damaged: bring back a good copy, or name another table"):
            sweep(GRID, table)
    about.unlink()
    with pytest.raises(SweepError, match=r"t\.csv is there, but .*t\.json, which says what its runs share, is not"):
        sweep(GRID, table)


def test_a_table_has_one_writer(fake, tmp_path):
    with (
        sweeps._Table(tmp_path / "t.csv", GRID),
        pytest.raises(SweepError, match=r"t\.csv is being written by another sweep"),
    ):
        sweep(GRID, tmp_path / "t.csv")
    assert found(sweep(GRID, tmp_path / "t.csv", workers=2, progress=False), GRID) == expected(GRID)


def test_a_line_is_on_the_disk_before_the_next_run_counts_as_done(fake, tmp_path, monkeypatch):
    table, synced, fsync = tmp_path / "t.csv", [], os.fsync

    def note(descriptor):
        if os.path.sameopenfile(descriptor, descriptor) and os.fstat(descriptor).st_ino == table.stat().st_ino:
            synced.append(table.read_bytes().count(b"\n"))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", note)
    sweep(GRID, table, workers=2, progress=False)
    assert synced == list(range(1, 14))


@pytest.mark.parametrize(
    "arguments, error, message",
    [
        ({"table": "t.txt"}, ValueError, "a table is a file with the ending .csv, got 't.txt'"),
        ({"workers": 0}, ValueError, "workers must be a whole number >= 1, got 0"),
        ({"workers": 2.0}, ValueError, "workers must be a whole number >= 1, got 2.0"),
        ({"workers": 2, "address": "tcp://127.0.0.1:9"}, ValueError, "leave them out with an address"),
        ({"grid": "nothing.toml"}, GridError, "nothing.toml: cannot be read"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(tmp_path, monkeypatch, arguments, error, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=message):
        sweep(**{"grid": GRID, "table": "t.csv", **arguments})
    assert list(tmp_path.iterdir()) == []


# --- processes -------------------------------------------------------------------------------------------------------


def test_so_many_processes_share_the_runs_and_none_is_left_behind(fake, tmp_path, monkeypatch):
    monkeypatch.setenv("SNN_SECONDS", "0.1")
    sweep(GRID, tmp_path / "t.csv", workers=3, progress=False)
    processes = {process for process, *_ in log(fake)}
    assert len(processes) == 3 and not any(map(alive, processes))


def test_a_run_whose_process_dies_is_made_again_by_another(fake, tmp_path):
    grid = Grid(lists={"lr": [14.0, 0.5]}, seeds=range(3))
    frame = sweep(grid, tmp_path / "t.csv", workers=2, progress=False)
    assert found(frame, grid) == expected(grid) and len(lines(tmp_path / "t.csv")) == 7
    begun = {}
    for process, *run in log(fake):
        begun.setdefault(tuple(run), []).append(process)
    assert sorted(map(len, begun.values())) == [1, 1, 1, 2, 2, 2] and all(len(set(p)) == len(p) for p in begun.values())


FAILURES = {
    13.0: "its process died twice: killed by signal 9 (out of memory?)",
    15.0: "its process died twice: exit status 1 (no such luck)",
    16.0: "RuntimeError: cannot multiply",
}


@pytest.mark.parametrize("lr", FAILURES)
def test_a_run_that_fails_is_told_with_its_reason_after_all_others_were_made(fake, tmp_path, lr):
    grid = Grid(lists={"lr": [0.5, lr]}, seeds=range(2))
    for tries in (1, 2):
        with pytest.raises(SweepError) as caught:
            sweep(grid, tmp_path / "t.csv", workers=2, progress=False)
        failed = f"2 of 4 runs failed (the same sweep tries them again), first lr {lr}, seed "
        assert str(caught.value).startswith(failed) and str(caught.value).endswith(FAILURES[lr])
        assert sorted((run["seed"], run["lr"], reason) for run, reason in caught.value.failed) == [
            (0, lr, FAILURES[lr]),
            (1, lr, FAILURES[lr]),
        ]
        good = Grid(lists={"lr": [0.5]}, seeds=range(2))
        assert found(caught.value.table, grid) == expected(good) and len(lines(tmp_path / "t.csv")) == 3
        begun = [run for _, *run in log(fake)]
        assert len(begun) == 2 + tries * (2 if lr == 16.0 else 4)


def test_missing_data_ends_the_sweep_at_once(fake, tmp_path):
    with pytest.raises(datasets.DataError, match="the bacteria are missing: grow some"):
        sweep(Grid(lists={"lr": [17.0, *map(float, range(20, 60))]}), tmp_path / "t.csv", workers=1, progress=False)
    assert len(log(fake)) < 40 and not any(alive(process) for process, *_ in log(fake))


@pytest.mark.timeout(60)
def test_a_sweep_that_ends_does_not_wait_for_the_runs_that_are_being_made(fake, tmp_path):
    with pytest.raises(datasets.DataError):
        sweep(Grid(lists={"lr": [19.0, 17.0]}), tmp_path / "t.csv", workers=2, progress=False)
    assert not any(alive(process) for process, *_ in log(fake))


def test_processes_that_cannot_start_end_the_sweep_with_their_last_words(tmp_path, monkeypatch):
    monkeypatch.setattr(_workers, "_SERVE", "import no_such_module")
    message = r"could not be started: exit status 1 \(ModuleNotFoundError: No module named 'no_such_module'\)"
    with pytest.raises(SweepError, match=message):
        sweep(GRID, tmp_path / "t.csv", workers=2, progress=False)
    assert len(lines(tmp_path / "t.csv")) == 1


COORDINATOR = """
import sys
from pathlib import Path
from snnlib import _workers
from snnlib.__main__ import main
_workers._SERVE = Path(sys.argv[1]).read_text()
sys.exit(main(["sweep", *sys.argv[2:]]))
"""


def coordinator(tmp_path, seconds):
    """python -m snnlib sweep with fake workers that take so long, as a process of its own."""
    (tmp_path / "fake.py").write_text(FAKE)
    methods = "".join(f"[[methods]]\nname = '{name}'\ndepth = {depth}\n" for name, depth in (("A", 2), ("B", 4)))
    grid = write(tmp_path, f"epochs = 3\nseeds = 3\n[grid]\nlr = [0.1, 0.2]\n{methods}")
    return subprocess.Popen(
        [sys.executable, "-c", COORDINATOR, str(tmp_path / "fake.py"), str(grid), "--workers", "2"],
        env={**os.environ, "SNN_LOG": str(tmp_path / "log"), "SNN_SECONDS": str(seconds)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(condition, seconds=30):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)


def test_killed_at_any_moment_a_sweep_loses_nothing_and_repeats_nothing(tmp_path, fake):
    table = tmp_path / "grid.csv"
    for done in (0, 3, 7):
        process = coordinator(tmp_path, 0.05)
        wait_for(lambda done=done: table.exists() and len(lines(table)) > done)
        process.kill()
        process.communicate()
        wait_for(lambda: not any(alive(worker) for worker, *_ in log(fake)))  # they do not outlive it
    kept = [line for line in table.read_text().splitlines(keepends=True) if line.endswith("\n")]
    process = coordinator(tmp_path, 0)
    assert process.wait(60) == 0
    process.communicate()
    frame = sweep(GRID, table, progress=False)
    assert found(frame, GRID) == expected(GRID) and table.read_text().startswith("".join(kept))
    assert len(lines(table)) == 13 and 12 <= len(log(fake)) <= 12 + 3 * 2  # at worst what both workers were making


def test_the_processes_of_a_killed_sweep_end_in_the_middle_of_their_runs(tmp_path, fake):
    process = coordinator(tmp_path, 3600)
    wait_for(lambda: len(log(fake)) == 2)
    process.kill()
    process.communicate()
    wait_for(lambda: not any(alive(worker) for worker, *_ in log(fake)))


@pytest.mark.parametrize("number, status", [(signal.SIGINT, 130), (signal.SIGTERM, -signal.SIGTERM)])
def test_stopped_by_hand_the_table_is_whole_and_no_process_is_left(tmp_path, fake, number, status):
    table = tmp_path / "grid.csv"
    process = coordinator(tmp_path, 0.2)
    wait_for(lambda: table.exists() and len(lines(table)) > 3)
    process.send_signal(number)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == status and errors == ("interrupted\n" if status == 130 else "")
    assert table.read_bytes().endswith(b"\n") and 3 < len(lines(table)) < 13
    wait_for(lambda: not any(alive(worker) for worker, *_ in log(fake)))


def test_a_full_disk_ends_the_sweep_and_the_table_can_be_resumed(tmp_path):
    """The limit on the size of files stands for the disk; the shell sets it for one process."""
    (tmp_path / "fake.py").write_text(FAKE)
    grid = write(tmp_path, "epochs = 3\nseeds = 40")
    line = f"ulimit -f 2; exec {sys.executable} -c '{COORDINATOR}' {tmp_path / 'fake.py'} {grid} --workers 1"
    environ = {**os.environ, "SNN_LOG": os.devnull, "PYTHONDONTWRITEBYTECODE": "1"}
    process = subprocess.run(["bash", "-c", line], capture_output=True, text=True, env=environ, timeout=60)
    assert process.returncode == 1 and re.fullmatch(r"error: .* cannot be used \(File too large\)\n", process.stderr)
    table = tmp_path / "grid.csv"
    assert 2 <= table.read_bytes().count(b"\n") < 41
    assert 0 < len(sweeps.missing(sweeps.load_grid(grid), table)) < 40


# --- progress --------------------------------------------------------------------------------------------------------


def test_without_a_terminal_progress_is_a_line_now_and_then(fake, tmp_path, monkeypatch, capsys):
    sweep(GRID, tmp_path / "t.csv", workers=2)
    assert capsys.readouterr() == ("", "")  # not yet
    monkeypatch.setattr(sweeps, "_EVERY", 0)
    sweep(GROWN["seeds"], tmp_path / "t.csv", workers=1)
    said = capsys.readouterr().err.splitlines()
    assert [line.split(",")[0] for line in said] == [f"{i} of 12 runs" for i in (9, 10, 11, 12)]
    assert all(re.fullmatch(r"\d+ of 12 runs, .* left", line) for line in said) and said[-1].endswith(", 0 s left")
    sweep(GROWN["values"], tmp_path / "t.csv", workers=1, progress=False)
    assert capsys.readouterr() == ("", "")


def test_on_a_terminal_progress_is_a_bar_with_the_time_left(fake, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    sweep(GRID, tmp_path / "t.csv", workers=2)
    assert re.search(r"12 of 12 runs \|.*\| 00:0\d, 0 s left", capsys.readouterr().err)


def test_the_time_left_weighs_runs_by_their_cost(monkeypatch, capsys):
    runs = list(Grid(lists={"depth": [1, 100]}))
    now = itertools.count(step=10)  # the clock goes 10 s at each look
    monkeypatch.setattr(sweeps.time, "monotonic", lambda: float(next(now)))
    monkeypatch.setattr(sweeps, "_EVERY", 0)
    with sweeps._Progress(runs, 2, True) as progress:
        progress.done(runs[0])
    deep, shallow = sweeps.cost(runs[1]), sweeps.cost(runs[0])
    assert deep > 10 * shallow
    assert capsys.readouterr().err == f"1 of 2 runs, {sweeps.duration(10 * deep / shallow)} left\n"


def test_durations_are_said_in_two_units():
    said = {0: "0 s", 59.4: "59 s", 59.6: "1 min 00 s", 200: "3 min 20 s", 3599: "59 min 59 s", 7500: "2 h 05 min"}
    assert {seconds: sweeps.duration(seconds) for seconds in said} == said


# --- what a table says -----------------------------------------------------------------------------------------------


def table_of(rows, validation=math.nan):
    frame = pd.DataFrame(rows, columns=["method", "lr", "seed", "test_accuracy"])
    return frame.assign(
        loss=0.0,
        validation_accuracy=frame["test_accuracy"].mul(-1) if validation else math.nan,
        diverged=frame["test_accuracy"].isna(),
    )[["method", "lr", "seed", "loss", "validation_accuracy", "test_accuracy", "diverged"]]


ROWS = [
    *[("A", 0.1, 0, 0.5), ("A", 0.1, 1, 0.7), ("A", 0.2, 0, 0.8), ("A", 0.2, 1, math.nan)],
    *[("B", 0.1, 0, 0.2), ("B", 0.1, 1, 0.2), ("B", 0.2, 0, 0.3), ("B", 0.2, 1, 0.5)],
]


def test_a_summary_has_mean_and_deviation_over_the_seeds_and_counts_what_diverged():
    shown = sweeps.summary(table_of(ROWS, validation=0))
    assert shown[["method", "lr", "runs", "diverged"]].values.tolist() == [
        *[["A", 0.1, 2, 0], ["A", 0.2, 2, 1], ["B", 0.1, 2, 0], ["B", 0.2, 2, 0]]
    ]
    assert shown["test_accuracy"].tolist() == pytest.approx([0.6, math.nan, 0.2, 0.4], nan_ok=True)
    assert shown["std"].tolist() == pytest.approx([0.02**0.5, math.nan, 0, 0.02**0.5], nan_ok=True)  # n - 1


def test_the_best_lr_has_the_highest_validation_accuracy_or_without_one_test_accuracy():
    chosen = sweeps.best(sweeps.summary(table_of(ROWS, validation=0)))
    assert chosen[["method", "lr"]].values.tolist() == [["A", 0.1], ["B", 0.2]]  # 0.2 of A diverged once
    chosen = sweeps.best(sweeps.summary(table_of(ROWS, validation=1)))  # there, the lower the better
    assert chosen[["method", "lr"]].values.tolist() == [["A", 0.1], ["B", 0.1]]
    alone = sweeps.summary(table_of(ROWS, validation=0).drop(columns="method").query("seed == 0").drop_duplicates("lr"))
    assert sweeps.best(alone)["lr"].tolist() == [0.2] and alone["std"].isna().all()


def test_a_summary_of_seeds_alone_is_one_row():
    shown = sweeps.summary(table_of(ROWS, validation=0).query("method == 'B'").drop(columns=["method", "lr"]))
    assert shown["runs"].tolist() == [4] and shown["test_accuracy"].tolist() == pytest.approx([0.3])
    assert sweeps.best(shown)["runs"].tolist() == [4]


# --- the real thing --------------------------------------------------------------------------------------------------


def test_real_processes_make_the_rows_that_run_one_makes_here(tmp_path):
    """With one thread each, and so bit by bit; the table keeps every bit."""
    grid = Grid({**SMALL, "dropout": 0.05, "validation": 20}, {"activation": ["selu", "tanh"]})
    frame = sweep(grid, tmp_path / "t.csv", workers=1, progress=False)
    for (_, kept), run in zip(frame.iterrows(), grid, strict=True):
        made = _workers.answer(run)["row"]
        assert {name: kept[name] for name in RESULTS[4:6]} == {name: made[name] for name in RESULTS[4:6]}
        assert kept["loss"] == made["loss"] and not kept["diverged"]


def test_a_worker_process_has_one_thread(monkeypatch):
    code = "import torch, snnlib.sweeps as s; s.run_one = lambda run: {'n': torch.get_num_threads()}; "
    monkeypatch.setattr(_workers, "_SERVE", code + "from snnlib._workers import serve; serve()")
    assert [row for _, row in _workers.here([{}], 1)] == [{"n": 1}]


def test_what_the_commands_import_is_light():
    code = "import snnlib.__main__, sys; print({'torch', 'pandas', 'matplotlib', 'scipy', 'dask'} & {*sys.modules})"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"
