"""Grids of experiments: settings × seeds, on this machine or on a Dask cluster, into one table that can be resumed.

Chapters: book/practice/deep-networks, book/practice/paper-results, book/practice/gpu-and-clusters. One run is named by
its settings alone (`DEFAULTS` lists them all), and `run_one` turns them into one row. A `Grid` says which runs there
are; `sweep` makes those that its table lacks. torch and pandas are imported where they are needed, not before, so that
the command line can speak of settings at once.
"""

from __future__ import annotations

import contextlib
import csv
import functools
import io
import itertools
import json
import math
import os
import re
import sys
import threading
import time
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np

from . import __version__, _workers, datasets

if TYPE_CHECKING:
    import pandas as pd
    from torch import nn

#: {name: value}: what one run is made with, or its row of results.
Settings = dict[str, Any]

#: Every setting of a run, with the value that it has where none is given; `prepare` says what they mean.
DEFAULTS: Settings = {
    "data": "bacteria",
    "limit": None,
    "test_limit": None,
    "validation": 0,
    "depth": 8,
    "width": 128,
    "activation": "selu",
    "normalization": None,
    "residual": False,
    "dropout": 0.0,
    "scheme": None,
    "sigma_w": 1.0,
    "sigma_b": 0.0,
    "epochs": 10,
    "batch_size": 64,
    "lr": 0.01,
    "optimizer": "sgd",
    "momentum": 0.9,
    "schedule": None,
    "patience": None,
    "clip": None,
    "precision": "fp32",
    "device": "auto",
    "seed": 0,
}
#: The columns of a table beside the settings; `run_one` says what they hold.
RESULTS = (
    *("loss", "accuracy", "validation_loss", "validation_accuracy", "test_loss", "test_accuracy", "best_accuracy"),
    *("epochs_done", "seconds", "diverged", "stopped", "error"),
)
_SCHEMES = {  # what is customary for an activation
    **dict.fromkeys(("identity", "sigmoid", "tanh"), "xavier"),
    **dict.fromkeys(("relu", "leaky_relu"), "he"),
    **dict.fromkeys(("elu", "selu"), "lecun"),
    **dict.fromkeys(("gelu", "silu"), "he"),
}
#: The values that a setting may have, for the settings that are no numbers.
CHOICES = {  # written out, for the modules that know them import torch and SciPy; the tests compare
    "data": ("bacteria", "fashion-mnist", "mnist-t10k", "iris", "wine", "breast-cancer"),
    "activation": tuple(_SCHEMES),
    "normalization": (None, "batch", "layer", "weight"),
    "scheme": (None, "lecun", "xavier", "he", "orthogonal", "normalized_rows"),
    "optimizer": ("sgd", "momentum", "adam"),
    "schedule": (None, "cosine", "linear"),
    "precision": ("fp32", "tf32", "bf16"),
    "residual": (False, True),
}
_NUMBERS = {  # name: (type, the values that are allowed, in words)
    "limit": (int, lambda n: n >= 1, "a whole number >= 1"),
    "test_limit": (int, lambda n: n >= 1, "a whole number >= 1"),
    "validation": (int, lambda n: n >= 0, "a whole number >= 0"),
    "depth": (int, lambda n: 0 <= n <= 1000, "a whole number from 0 to 1000"),
    "width": (int, lambda n: n >= 1, "a whole number >= 1"),
    "dropout": (float, lambda p: 0 <= p < 1, "a number with 0 <= dropout < 1"),
    "sigma_w": (float, lambda s: s > 0, "a number > 0"),
    "sigma_b": (float, lambda s: s >= 0, "a number >= 0"),
    "epochs": (int, lambda n: n >= 1, "a whole number >= 1"),
    "batch_size": (int, lambda n: n >= 1, "a whole number >= 1"),
    "lr": (float, lambda r: r > 0, "a number > 0"),
    "momentum": (float, lambda m: 0 <= m < 1, "a number with 0 <= momentum < 1"),
    "patience": (int, lambda n: n >= 1, "a whole number >= 1"),
    "clip": (float, lambda c: c > 0, "a number > 0"),
    "seed": (int, lambda n: n >= 0, "a whole number >= 0"),
}
_DEVICE = re.compile(r"auto|cpu|mps|cuda(:\d+)?")
_FIT = ("epochs", "batch_size", "lr", "optimizer", "momentum", "schedule", "patience", "clip", "precision", "device")
_PICTURES, _TEST_PICTURES = 2000, 1000  # where no limit is given
_TEST_SHARE = 0.2  # of a table, where no limit is given


class GridError(ValueError):
    """A grid or a setting makes no sense; the message names the key, the value and what is possible."""


class SweepError(RuntimeError):
    """A sweep could not begin, or some of its runs failed, as the message says; what is in the table is whole.

    Attributes
    ----------
    failed : [(settings, reason)] of the runs that failed.
    table : DataFrame of the runs that are done, or None.
    """

    def __init__(self, message: str, failed: Iterable[tuple[Settings, str]] = (), table: pd.DataFrame | None = None):
        super().__init__(message)
        self.failed = list(failed)
        self.table = table


# --- one run ---------------------------------------------------------------------------------------------------------


def prepare(settings: Settings) -> tuple[nn.Module, Any, Any, Any, Settings]:
    """(model, train, validation, test, options): `training.fit(model, train, validation or test, **options)` is a run.

    Parameters
    ----------
    settings : some or all of `DEFAULTS`; what is not given has its default. `method`, the name of a group, may stand
        there and says nothing.

        ==================  =========================================================================================
        ``data``            bacteria, fashion-mnist, mnist-t10k (pictures); iris, wine, breast-cancer (tables)
        ``limit``           number of training examples; None: 2000 pictures, or what a table has beside its test rows
        ``test_limit``      number of test examples; None: 1000 pictures, or a fifth of a table
        ``validation``      so many of the training examples are held out, to choose by: neither trained nor tested on
        ``depth, width``    number of hidden layers, units in each
        ``scheme``          None: what is customary, lecun for selu and elu, he for relu, leaky_relu, gelu and silu,
                            xavier for tanh, sigmoid and identity
        ==================  =========================================================================================

        `activation`, `normalization`, `residual`, `dropout`, `sigma_w` and `sigma_b` as in `networks.fully_connected`,
        the others as in `training.fit`. `seed` gives the first weights, the order of the batches, the dropout masks,
        and how a table is divided.

    Returns
    -------
    train, validation, test have x (B, n), y (B,) and class_names; validation is None where that setting is 0. Of
    pictures the first `limit` are for training, and the last of these for validation; the test pictures of mnist-t10k
    are the last of its 10,000. A table is shuffled and divided so that every part has its share of each class, and the
    features are standardized over the training rows alone.

    Raises GridError for settings that make no sense, DataError for data that is not there.
    """
    from . import networks

    settings = checked(settings)
    data = _data(*(settings[name] for name in ("data", "limit", "test_limit", "validation", "seed")))
    train = data[0]
    model = networks.fully_connected(
        (train.x.shape[1], *[settings["width"]] * settings["depth"], len(train.class_names)),
        scheme=settings["scheme"] or customary(settings["activation"]),
        **{name: settings[name] for name in ("activation", "normalization", "residual", "dropout")},
        **{name: settings[name] for name in ("sigma_w", "sigma_b", "seed")},
    )
    return model, *data, {name: settings[name] for name in (*_FIT, "seed")}


_ALONE = threading.Lock()  # torch's random state and number of threads belong to the whole process


def run_one(settings: Settings, **more: Any) -> Settings:
    """Train one network; return its settings and its results as one row.

    Parameters
    ----------
    settings, more : as for `prepare`; what is given by name comes before what is given in settings.

    Returns
    -------
    {setting: value} for all settings (and `method`, where it is given), and

    loss, accuracy : of the last epoch, as training went on; with `patience` of the epoch whose parameters were kept.
    validation_loss, validation_accuracy, test_loss, test_accuracy : of the trained network; the first two are nan
        without validation examples.
    best_accuracy : the highest of all epochs, on the validation examples or, without them, on the test examples.
    epochs_done, seconds : how many epochs, how long they took.
    diverged : whether the loss ceased to be finite. This is a result, no error: losses and accuracies are nan then,
        but `best_accuracy` is that of the epochs before (nan where there are none).
    stopped, error : "finished", "early stopping" or "diverged"; for the last, in one line, where.

    Raises GridError and DataError as `prepare` does.
    """
    from . import training

    settings = checked({**settings, **more})
    with _ALONE:
        model, train, validation, test, options = prepare(settings)
        begin = time.perf_counter()
        try:
            history = training.fit(model, train, validation or test, **options, progress=False)
            stopped, error = history.stopped, ""
        except training.DivergedError as exception:
            history, stopped, error = exception.history, "diverged", " ".join(str(exception).split())
        seconds = time.perf_counter() - begin
        judged = {} if error else _judged(model, {"validation": validation, "test": test}, settings["device"])
    epochs = history.epochs
    kept = {} if error else epochs.iloc[kept_epoch(epochs, settings["patience"])]
    return {
        **settings,
        **{name: float(kept.get(name, math.nan)) for name in ("loss", "accuracy")},
        **{name: judged.get(name, math.nan) for name in RESULTS[2:6]},
        "best_accuracy": float(max(epochs["test_accuracy"] if len(epochs) else [], default=math.nan)),
        "epochs_done": len(epochs),
        "seconds": seconds,
        "diverged": bool(error),
        "stopped": stopped,
        "error": error,
    }


def kept_epoch(epochs: pd.DataFrame, patience: int | None) -> int:
    """The row of epochs, of a `History`, whose parameters `training.fit` with this patience leaves in the model."""
    return len(epochs) - 1 if patience is None else int(epochs["test_loss"].argmin())


def _judged(model: nn.Module, parts: dict[str, Any], device: str) -> dict[str, float]:
    """Loss and accuracy of a model on those parts of the data that there are."""
    from . import training

    judged = {}
    for name, part in parts.items():
        if part is not None:
            judged[f"{name}_loss"], judged[f"{name}_accuracy"] = training.evaluate(model, part, device)
    return judged


def checked(settings: Settings) -> Settings:
    """All settings of a run: those given, checked, and the defaults of the others; whole numbers become floats where
    a setting is one, "none" becomes None.

    Raises GridError.
    """
    method = {"method": settings["method"]} if "method" in settings else {}
    given = {name: _value(name, value) for name, value in settings.items() if name != "method"}
    return {**method, **DEFAULTS, **given}


def _value(name: str, value: Any) -> Any:
    if name not in DEFAULTS:
        raise GridError(f"unknown setting {name!r}; the settings are {', '.join(DEFAULTS)}")
    if isinstance(value, np.generic):
        value = value.item()
    optional = DEFAULTS[name] is None
    if optional and value in (None, "none"):
        return None
    if name == "device":
        valid, expected = isinstance(value, str) and _DEVICE.fullmatch(value), "auto, cpu, cuda, cuda:1, mps ..."
    elif name in CHOICES:
        valid = any(value == choice and type(value) is type(choice) for choice in CHOICES[name])
        expected = "one of " + ", ".join(_text(choice) for choice in CHOICES[name])
    else:
        kind, allowed, expected = _NUMBERS[name]
        if kind is float and type(value) is int:
            value = float(value)
        valid = type(value) is kind and math.isfinite(value) and allowed(value)
        expected += ", or none" if optional else ""
    if not valid:
        raise GridError(f"{name} must be {expected}; got {value!r}")
    return value


def kind(name: str) -> type | None:
    """int or float where the setting of this name is a number, else None."""
    return _NUMBERS[name][0] if name in _NUMBERS else None


def parse(name: str, text: str) -> Any:
    """The value of the setting name that is written as a text, such as "0.1", "none", "selu"; raises GridError.

    >>> parse("lr", "0.1"), parse("limit", "none")
    (0.1, None)
    """
    value: Any = text
    if name in _NUMBERS:
        with contextlib.suppress(ValueError):
            value = _NUMBERS[name][0](text)
    return _value(name, value)


def customary(activation: str) -> str:
    """The scheme of first weights that is customary for an activation."""
    return _SCHEMES[activation]


def _text(value: Any) -> str:
    """A value as it stands in the table; two values are the same where their texts are."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value)
    return repr(value) if isinstance(value, float) else str(value)


# --- the data of a run -----------------------------------------------------------------------------------------------


@functools.lru_cache(maxsize=8)
def _data(name: str, limit: int | None, test_limit: int | None, validation: int, seed: int) -> tuple[Any, Any, Any]:
    """(train, validation or None, test)."""
    if name in datasets._TABLES:
        return _divided(_table(name), limit, test_limit, validation, seed)
    train, test = _pictures(name, limit or _PICTURES, test_limit or _TEST_PICTURES)
    rest = len(train) - validation
    if rest < 1:
        raise GridError(f"validation must leave examples to train on: {validation:,} of {len(train):,} are held out")
    if not validation:
        return train, None, test
    return _rows(train, slice(rest)), _rows(train, slice(rest, None)), test


@functools.lru_cache(maxsize=4)
def _pictures(name: str, limit: int, test_limit: int) -> tuple[datasets.Images, datasets.Images]:
    if name == "mnist-t10k":
        images = datasets.mnist_t10k()
        if limit + test_limit > len(images):
            raise GridError(
                f"mnist-t10k has {len(images):,} pictures, fewer than limit + test_limit = {limit + test_limit:,}"
            )
        return _rows(images, slice(limit)), _rows(images, slice(len(images) - test_limit, None))
    if name == "bacteria":
        return datasets.bacteria("train", limit), datasets.bacteria("test", test_limit)
    return datasets.fashion_mnist("train", limit), datasets.fashion_mnist("test", test_limit)


def _rows(images: datasets.Images, rows: slice) -> datasets.Images:
    return datasets.Images(images.x[rows], images.y[rows], images.class_names, images.mean, images.std)


_table = functools.lru_cache(datasets.tabular)


def _divided(
    table: datasets.Table, limit: int | None, test_limit: int | None, validation: int, seed: int
) -> tuple[datasets.Table, datasets.Table | None, datasets.Table]:
    """A table divided at random, class by class, into rows for training, validation and the test."""
    tested = test_limit or round(_TEST_SHARE * len(table))
    limit = limit or len(table) - tested
    if tested + limit > len(table) or limit - validation < 1:
        raise GridError(
            f"the table has {len(table)} rows, too few for limit = {limit}, of which validation = {validation}, and "
            f"test_limit = {tested}"
        )
    order = _spread(table.y, np.random.default_rng(seed))[: tested + limit]
    parts = np.split(order, [tested, tested + validation])[::-1]  # train, validation, test
    xs = datasets.standardize(*(table.x[rows] for rows in parts))
    train, held_out, test = (
        datasets.Table(x.astype(np.float32), table.y[rows], table.feature_names, table.class_names)
        for x, rows in zip(xs, parts, strict=True)
    )
    return train, held_out if validation else None, test


def _spread(y: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The rows in a random order in which every stretch holds the classes in their shares, as nearly as can be."""
    shuffled = rng.permutation(len(y))
    place = np.empty(len(y))
    for label in np.unique(y):
        rows = shuffled[y[shuffled] == label]
        place[rows] = (np.arange(len(rows)) + rng.random()) / len(rows)
    return np.argsort(place, kind="stable")


# --- grids -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Grid:
    """Which runs there are: every combination of the values in `lists`, for every method, for every seed.

    Parameters
    ----------
    settings : what all runs share; the others have their defaults.
    lists : {setting: [value, ...]}.
    methods : {name: settings that go together}; they come before `settings`, and may not be in `lists`.
    seeds : whole numbers.

    Iterating yields the settings of each run, the first seed's first; `len` counts them.

    Raises GridError.

    >>> grid = Grid({"epochs": 1}, {"depth": [2, 4]}, seeds=[0, 1])
    >>> len(grid), grid.columns, [run["depth"] for run in grid]
    (4, ('depth', 'seed'), [2, 4, 2, 4])
    """

    settings: Settings = field(default_factory=dict)
    lists: dict[str, list] = field(default_factory=dict)
    methods: dict[str, Settings] = field(default_factory=dict)
    seeds: tuple[int, ...] = (0,)

    def __post_init__(self) -> None:
        set_ = functools.partial(object.__setattr__, self)
        set_("settings", {name: _value(name, value) for name, value in self.settings.items()})
        set_("lists", {name: _values(f"the list of {name}", name, values) for name, values in self.lists.items()})
        set_("seeds", tuple(_values("seeds", "seed", self.seeds)))
        methods = {}
        for method, settings in self.methods.items():
            if not isinstance(method, str) or not method.strip() or not method.isprintable():
                raise GridError(f"the name of a method must be a text of one line, got {method!r}")
            with _within(f"method {method!r}"):
                methods[method] = {name: _value(name, value) for name, value in settings.items()}
        set_("methods", methods)
        for name in self.lists:
            if name == "seed":
                raise GridError("seed cannot be a list of the grid: give seeds instead")
            if name in self.settings:
                raise GridError(f"{name} is given twice: as a list of the grid and as a setting of all runs")
            owner = next((method for method, settings in self.methods.items() if name in settings), None)
            if owner is not None:
                raise GridError(f"{name} is given twice: as a list of the grid and in method {owner!r}")
        if "seed" in self.settings or any("seed" in settings for settings in self.methods.values()):
            raise GridError("seed cannot be a setting of a grid: give seeds instead, such as seeds = [0, 1, 2]")

    @property
    def columns(self) -> tuple[str, ...]:
        """What tells runs apart: `method` (where there are methods), the names in lists, `seed`."""
        return (*(["method"] if self.methods else []), *self.lists, "seed")

    def __iter__(self) -> Iterator[Settings]:
        for seed in self.seeds:
            for method, own in (self.methods or {None: {}}).items():
                named = {} if method is None else {"method": method}
                for values in itertools.product(*self.lists.values()):
                    values = dict(zip(self.lists, values, strict=True))
                    yield {**named, **DEFAULTS, **self.settings, **own, **values, "seed": seed}

    def __len__(self) -> int:
        return len(self.seeds) * max(1, len(self.methods)) * math.prod(map(len, self.lists.values()))


def _values(label: str, name: str, values: Any) -> list:
    if not isinstance(values, (list, tuple, range, np.ndarray)):
        raise GridError(f"{label} must be a list of values, such as [1, 2], got {values!r}")
    values = [_value(name, value) for value in values]
    if not values:
        raise GridError(f"{label} is empty: give at least one value, or leave it out")
    texts = [_text(value) for value in values]
    repeated = next((text for i, text in enumerate(texts) if text in texts[:i]), None)
    if repeated is not None:
        raise GridError(f"{label} holds {repeated} twice")
    return values


@contextlib.contextmanager
def _within(place: str) -> Iterator[None]:
    """Errors of a grid say where in it they are."""
    try:
        yield
    except GridError as error:
        raise GridError(f"{place}: {error}") from error


def load_grid(path: str | os.PathLike) -> Grid:
    """Read a grid from a TOML file.

    ::

        data = "fashion-mnist"      # settings of all runs
        epochs = 12
        seeds = [0, 1, 2, 3, 4]     # or a number: seeds = 5

        [grid]                      # every combination of these
        depth = [2, 8, 32]
        lr = [0.01, 0.1]

        [[methods]]                 # groups of settings that go together; the name is the column `method`
        name = "SELU"
        activation = "selu"

        [[methods]]
        name = "ReLU + BatchNorm"
        activation = "relu"
        normalization = "batch"

    "none" stands for None. Raises GridError, whose message begins with the path, when the file is missing or is not
    TOML (with the line), for unknown settings, wrong values, empty lists, and methods of one name.
    """
    with _within(str(path)):
        try:
            content = tomllib.loads(Path(path).read_text(encoding="utf-8"))
        except OSError as error:
            raise GridError(f"cannot be read ({error.strerror or error})") from error
        except ValueError as error:
            raise GridError(f"is not TOML: {error}") from error
        lists, methods, seeds = content.pop("grid", {}), content.pop("methods", []), content.pop("seeds", [0])
        if not isinstance(lists, dict):
            raise GridError(f"grid must be a table, [grid], got {lists!r}")
        if type(seeds) is int:
            if seeds < 1:
                raise GridError(f"seeds must be a list, or how many there are (at least 1); got {seeds}")
            seeds = range(seeds)
        for name, value in content.items():
            if isinstance(value, list) and name in DEFAULTS:
                raise GridError(f"{name} = {value!r} is a list: it belongs under [grid]")
            if isinstance(value, dict):
                raise GridError(f"unknown table [{name}]; a grid has [grid] and [[methods]]")
        with _within("[grid]"):
            for name in lists:
                _value(name, DEFAULTS.get(name))  # an unknown name is told before a wrong value
        return Grid(content, lists, _named(methods), tuple(seeds) if isinstance(seeds, (list, range)) else seeds)


def _named(methods: Any) -> dict[str, Settings]:
    if not isinstance(methods, list) or not all(isinstance(method, dict) for method in methods):
        raise GridError(f"methods must be tables, [[methods]], got {methods!r}")
    named: dict[str, Settings] = {}
    for number, method in enumerate(methods, 1):
        if "name" not in method:
            raise GridError(f"[[methods]] number {number} has no name")
        own = dict(method)
        name = own.pop("name")
        if name in named:
            raise GridError(f"two methods have the name {name!r}")
        named[name] = own
    return named


# --- tables ----------------------------------------------------------------------------------------------------------


class _Table:
    """The CSV file of a grid: one line per finished run, written to the disk before the next one.

    Beside TABLE.csv lies TABLE.json with what the runs share. Used as a context; one process at a time.
    """

    def __init__(self, path: str | os.PathLike, grid: Grid):
        self.path = Path(path)
        if self.path.suffix != ".csv":
            raise ValueError(f"a table is a file with the ending .csv, got {str(path)!r}")
        self.about = self.path.with_suffix(".json")
        self.grid = grid
        self.names = (*grid.columns, *RESULTS)
        self.rows: dict[tuple[str, ...], list[str]] = {}

    def __enter__(self) -> _Table:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = open(self.path, "r+b" if self.path.exists() else "w+b")
        try:
            _lock(self._file, self.path)
            self._take_up()
        except BaseException:
            self._file.close()
            raise
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._file.close()

    def key(self, run: Settings) -> tuple[str, ...]:
        return tuple(_text(run[name]) for name in self.grid.columns)

    def append(self, row: Settings) -> None:
        """Add a finished run; it is on the disk when this returns."""
        texts = [_text(row[name]) for name in self.names]
        self._write(texts)
        self.rows[self.key(row)] = texts

    def frame(self) -> pd.DataFrame:
        """The runs of the grid that are done, in the grid's order."""
        done = (self.rows.get(self.key(run)) for run in self.grid)
        text = "".join(map(_line, (self.names, *(row for row in done if row is not None))))
        return _parsed(io.StringIO(text))

    def look(self, content: bytes) -> tuple[int, dict]:
        """Take up the runs in what the file holds; return the length of its whole lines, and what is said beside it.

        Raises SweepError where the table is damaged or another grid's.
        """
        length = content.rfind(b"\n") + 1  # what comes later was cut off in the middle of a line
        if not length:
            return 0, {}
        about = self._same_grid()
        self._read(content[:length])
        return length, about

    def _take_up(self) -> None:
        length, about = self.look(self._file.read())
        _replace(self.about, _described(self.grid, about))
        self._file.truncate(length)
        self._file.seek(length)
        if not length:
            self._write(self.names)

    def _same_grid(self) -> dict:
        """What is said beside the table, once it is clear that the grid agrees with it."""
        try:
            about = json.loads(self.about.read_text(encoding="utf-8"))
            settings, methods = {**DEFAULTS, **about["settings"]}, about["methods"]
            lists = about["lists"]
        except OSError as error:
            raise SweepError(
                f"{self.path} is there, but {self.about}, which says what its runs share, is not"
            ) from error
        except (ValueError, KeyError, TypeError) as error:
            raise SweepError(f"{self.about} is damaged: bring back a good copy, or name another table") from error
        differences = []
        for name, value in _shared(self.grid).items():
            if name in lists:
                differences.append(f"{name} (a list in the table, {_text(value)} in the grid)")
            elif _text(settings[name]) != _text(value):
                differences.append(f"{name} ({_text(settings[name])} in the table, {_text(value)} in the grid)")
        for name in self.grid.lists:
            if name not in lists:
                differences.append(f"{name} ({_text(settings[name])} in the table, a list in the grid)")
        if bool(methods) != bool(self.grid.methods):
            differences.append("methods (there are none in the " + ("grid)" if methods else "table)"))
        for method in self.grid.methods.keys() & methods.keys():
            table, grid = ({**settings, **methods[method]}, {**settings, **self.grid.methods[method]})
            for name in DEFAULTS:
                if name not in lists and _text(table[name]) != _text(grid[name]):
                    differences.append(f"{name} of {method!r} ({_text(table[name])}, now {_text(grid[name])})")
        if differences:
            raise SweepError(
                f"{self.path} holds runs of another grid, which differs in {'; '.join(differences)}: name another table"
            )
        return about

    def _read(self, content: bytes) -> None:
        try:
            lines = list(csv.reader(io.StringIO(content.decode("utf-8")), strict=True))
        except (UnicodeDecodeError, csv.Error) as error:
            raise SweepError(
                f"{self.path} is damaged ({error}): bring back a good copy, or name another table"
            ) from error
        if sorted(lines[0]) != sorted(self.names):
            raise SweepError(f"{self.path} has the columns {lines[0]}, not {list(self.names)}: name another table")
        self.names = tuple(lines[0])
        for number, row in enumerate(lines[1:], 2):
            if len(row) != len(self.names):
                raise SweepError(f"{self.path} is damaged: line {number} has {len(row)} of {len(self.names)} columns")
            named = dict(zip(self.names, row, strict=True))
            key = tuple(named[name] for name in self.grid.columns)
            if key in self.rows:
                raise SweepError(f"{self.path} is damaged: line {number} repeats the run {', '.join(key)}")
            self.rows[key] = row

    def _write(self, texts: Iterable[str]) -> None:
        self._file.write(_line(texts).encode())
        self._file.flush()
        os.fsync(self._file.fileno())


def missing(grid: Grid, table: str | os.PathLike) -> list[Settings]:
    """The runs of a grid that a table lacks, all of them where there is no table; nothing is changed.

    Raises SweepError as `sweep` does for a table that cannot be used.
    """
    there = _Table(table, grid)
    if there.path.exists():
        there.look(there.path.read_bytes())
    return [run for run in grid if there.key(run) not in there.rows]


def load_table(path: str | os.PathLike) -> pd.DataFrame:
    """The table of a sweep as it is on the disk at path, a last line that was cut off left out; numbers are exact.

    Raises OSError where it cannot be read.
    """
    content = Path(path).read_bytes()
    return _parsed(io.StringIO(content[: content.rfind(b"\n") + 1].decode("utf-8")))


def _parsed(stream: io.StringIO) -> pd.DataFrame:
    import pandas as pd

    numbers = RESULTS[:7]
    return pd.read_csv(
        stream,
        keep_default_na=False,
        na_values={name: ["nan"] for name in numbers},
        dtype={"method": str, "stopped": str, "error": str, **dict.fromkeys(numbers, float)},
        float_precision="round_trip",
    )


def _line(texts: Iterable[str]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerow(texts)
    return buffer.getvalue()


def _shared(grid: Grid) -> Settings:
    """The settings that no list and no seed changes."""
    fixed = {**DEFAULTS, **grid.settings}
    return {name: value for name, value in fixed.items() if name not in grid.lists and name != "seed"}


def _described(grid: Grid, before: dict) -> str:
    """What is written beside the table: settings, methods, lists and seeds, with those of earlier grids."""
    lists = before.get("lists", {})
    return json.dumps(
        {
            "snnlib": before.get("snnlib", __version__),
            "settings": _shared(grid),
            "methods": {**before.get("methods", {}), **grid.methods},
            "lists": {name: _union(lists.get(name, []), values) for name, values in grid.lists.items()},
            "seeds": _union(before.get("seeds", []), grid.seeds),
        },
        indent=1,
        ensure_ascii=False,
    )


def _union(first: Iterable, second: Iterable) -> list:
    return list({_text(value): value for value in (*first, *second)}.values())


def _replace(path: Path, text: str) -> None:
    """Give a file this content at once, or leave it as it was."""
    part = path.with_name(f".{path.name}.part")  # the table's lock is held: nobody else writes there
    try:
        with open(part, "w", encoding="utf-8") as file:
            file.write(text + "\n")
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def _lock(file: io.BufferedRandom, path: Path) -> None:
    """Refuse a table that another process has open, where the system knows such locks."""
    try:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise SweepError(f"{path} is being written by another sweep: wait for it, or name another table") from error
    except (ImportError, OSError):  # Windows; some network file systems
        return


# --- sweeps ----------------------------------------------------------------------------------------------------------


def sweep(
    grid: Grid | str | os.PathLike,
    table: str | os.PathLike,
    *,
    address: str | None = None,
    workers: int | None = None,
    progress: bool = True,
) -> pd.DataFrame:
    """Make the runs of a grid that its table lacks; one line is appended to the table as each is finished.

    Parameters
    ----------
    grid : a `Grid`, or the path of one for `load_grid`.
    table : the CSV file, made where it is not there; NAME.json beside it says what its runs share. It may hold runs of
        the same grid with other values or seeds: they stay, and are not returned.
    address : of the scheduler of a Dask cluster, such as `tcp://10.0.0.1:8786`; None for this machine. The workers need
        this version of snnlib, and the data.
    workers : number of processes on this machine, each of one thread; None for one per processor.
    progress : whether to show on stderr how many are done and how long the others will take; where it is no terminal,
        by one line every half minute.

    Returns
    -------
    DataFrame of the grid's runs, in its order: the columns of `Grid.columns`, and the results of `run_one`.

    A line is on the disk before the next run counts as done, so that whatever happens (Ctrl-C, SIGKILL, a power cut)
    costs no more than the runs that are being made; the same call goes on with what is missing. A run whose process
    dies is made once more by another process; on a cluster as often as its scheduler allows, and then once more alone.

    Raises GridError for a grid that makes no sense; SweepError when the table is that of another grid, damaged, or
    being written by another sweep, when the cluster cannot be reached or used, and at the end when runs failed, after
    all others were made; DataError as soon as the data of a run is not there; ValueError for a table that does not end
    in .csv, or workers that make no sense.
    """
    if not isinstance(grid, Grid):
        grid = load_grid(grid)
    if address is not None and workers is not None:
        raise ValueError("workers are processes on this machine: leave them out with an address")
    if workers is not None and (type(workers) is not int or workers < 1):
        raise ValueError(f"workers must be a whole number >= 1, got {workers!r}")
    failed = []
    with _Table(table, grid) as kept:
        todo = [run for run in grid if kept.key(run) not in kept.rows]
        made = _workers.here(todo, workers or processors()) if address is None else _workers.on_cluster(todo, address)
        try:
            with _Progress(todo, len(grid), progress) as bar, contextlib.closing(made):
                for run, outcome in made if todo else ():
                    if isinstance(outcome, str):
                        failed.append((run, outcome))
                    else:
                        kept.append(outcome)
                    bar.done(run)
        except _workers.LostError as error:
            raise SweepError(str(error), failed, kept.frame()) from error
        frame = kept.frame()
    if failed:
        run, reason = failed[0]
        named = ", ".join(f"{name} {_text(run[name])}" for name in grid.columns)
        raise SweepError(
            f"{len(failed)} of {len(grid)} runs failed (the same sweep tries them again), first {named}: {reason}",
            failed,
            frame,
        )
    return frame


def processors() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """What the seeds of a sweep's table say together: one row for each combination of the other columns, in order.

    Columns beside those: runs, diverged (how many), validation_accuracy, test_accuracy (means over the seeds), std (the
    standard deviation of the last, with n - 1; nan for one seed). Where a run diverged the three are nan.
    """
    columns = [name for name in table.columns[: table.columns.get_loc("loss")] if name != "seed"]
    groups = table.groupby(columns, sort=False, dropna=False) if columns else table.groupby(lambda _: 0)
    found = groups.agg(runs=("seed", "size"), diverged=("diverged", "sum"))
    for name in ("validation_accuracy", "test_accuracy"):
        found[name] = groups[name].agg(lambda a: a.mean(skipna=False))
    found["std"] = groups["test_accuracy"].agg(lambda a: a.std(skipna=False))
    return found.reset_index(drop=not columns)


def best(summary: pd.DataFrame, over: str = "lr") -> pd.DataFrame:
    """Of a summary, for each combination of the other columns the row of the highest accuracy.

    That is the validation accuracy where there is one, else the test accuracy, and the latter then is a little too
    high. A value of `over` with which a run diverged is taken only where one did with every value.
    """
    names = summary.columns[: summary.columns.get_loc("runs")]
    others = [name for name in names if name != over]
    by = "validation_accuracy" if summary["validation_accuracy"].notna().any() else "test_accuracy"
    ordered = summary.sort_values(by, ascending=False, na_position="last", kind="stable")
    chosen = ordered.groupby(others, sort=False, dropna=False).head(1) if others else ordered.head(1)
    return chosen.sort_index().reset_index(drop=True)


# --- progress --------------------------------------------------------------------------------------------------------

_EVERY = 30.0  # seconds between two lines where stderr is no terminal


class _Progress:
    """How many runs are done and how long the others will take: a bar on a terminal, else now and then a line."""

    def __init__(self, todo: list[Settings], total: int, shown: bool):
        self._left = sum(map(cost, todo))
        self._done, self._count, self._total = 0.0, total - len(todo), total
        self._shown, self._begin, self._bar = shown, time.monotonic(), None
        self._said = self._begin

    def __enter__(self) -> _Progress:
        if self._shown and sys.stderr.isatty():
            with contextlib.suppress(ImportError):
                from tqdm import tqdm

                form = "{n_fmt} of {total_fmt} runs |{bar}| {elapsed}{postfix}"
                self._bar = tqdm(total=self._total, initial=self._count, bar_format=form, dynamic_ncols=True)
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.close()

    def done(self, run: Settings) -> None:
        self._done += cost(run)
        self._left -= cost(run)
        self._count += 1
        if not self._shown:
            return
        now = time.monotonic()
        left = f"{duration((now - self._begin) / self._done * max(self._left, 0.0))} left"
        if self._bar is not None:
            self._bar.set_postfix_str(left, refresh=False)
            self._bar.update()
        elif now - self._said >= _EVERY:
            self._said = now
            print(f"{self._count} of {self._total} runs, {left}", file=sys.stderr, flush=True)


def cost(run: Settings) -> float:
    """About how many seconds a run takes on one processor core of 2024: 30 Gflop/s and 0.15 ms per layer and step."""
    examples = run["limit"] or (_PICTURES if run["data"] not in datasets._TABLES else 150)
    steps = run["epochs"] * math.ceil(examples / run["batch_size"])
    weights = 784 * run["width"] + max(0, run["depth"] - 1) * run["width"] ** 2
    parts = 1 + (run["normalization"] is not None) + run["residual"] + (run["dropout"] > 0)
    return steps * (1.5e-4 * parts * (run["depth"] + 1) + 6 * run["batch_size"] * weights / 3e10)


def duration(seconds: float) -> str:
    """The seconds in words: "42 s", "3 min 20 s", "2 h 05 min".

    >>> duration(200)
    '3 min 20 s'
    """
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds} s"
    minutes, seconds = divmod(seconds, 60)
    return f"{minutes} min {seconds:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"
