"""The command line: python -m snnlib COMMAND.

A command is a function that adds its sub-parser, with the function to run as the default of `run`; that one returns
what the process exits with: 0 when all is well, 1 when something outside the program is wrong, with one line on stderr.
Wrong usage exits with 2.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import os
import re
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from . import __version__, datasets, sweeps

_RAW = argparse.RawDescriptionHelpFormatter


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command, those of the process where arguments is None; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m snnlib",
        description="The commands of the course on backpropagation and self-normalizing networks.",
        epilog="example:\n  python -m snnlib data fashion-mnist\n\n`python -m snnlib COMMAND --help` says more.",
        formatter_class=_RAW,
    )
    parser.add_argument("--version", action="version", version=f"snnlib {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    for add in (_add_data, _add_train, _add_sweep, _add_certify):
        add(commands)
    options = parser.parse_args(arguments)
    if "run" not in options:
        parser.print_help()
        return 0
    try:
        return options.run(options)
    except datasets.DataError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


def _add_data(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "data",
        help="fetch Fashion-MNIST or the MNIST test set, or check what is there",
        description="Fetch a data set and say where it lies, or check what is there.\n"
        "Fashion-MNIST has 31 MB, the MNIST test set 2 MB; what is there already is not fetched again.",
        epilog="examples:\n"
        "  python -m snnlib data fashion-mnist                  fetch it into the folder data/ of the repository\n"
        "  python -m snnlib data fashion-mnist --root /scratch  fetch it into /scratch/fashion-mnist\n"
        "  python -m snnlib data mnist-t10k                     fetch the 10,000 test images of MNIST\n"
        "  python -m snnlib data --check                        read all of Fashion-MNIST, fetching nothing\n\n"
        "Where SNN_DATA is set and --root is not, $SNN_DATA/fashion-mnist (or mnist-t10k) is used as it is and\n"
        "nothing is fetched.",
        formatter_class=_RAW,
    )
    sets = ("fashion-mnist", "mnist-t10k")
    parser.add_argument("name", nargs="?", choices=sets, metavar="NAME", help=f"the data set: {' or '.join(sets)}")
    checks = "read every file to its end; fetch nothing (without NAME: of fashion-mnist)"
    parser.add_argument("--check", action="store_true", help=checks)
    parser.add_argument("--root", metavar="DIR", help="the folder that holds, or will hold, the set's own folder")
    parser.set_defaults(run=lambda options: _data(parser, options))


def _data(parser: argparse.ArgumentParser, options: argparse.Namespace) -> int:
    if not (options.name or options.check):
        parser.error("name a data set to fetch (fashion-mnist, mnist-t10k), or say --check")
    name = options.name or "fashion-mnist"
    if not options.check:
        datasets.fetch(name, options.root)
    print(datasets.check(name, options.root))
    return 0


# --- train -----------------------------------------------------------------------------------------------------------

_SETTINGS = {  # those of `sweeps.DEFAULTS`; what is possible and the default are added to the help
    "the data": {
        "data": "the data set",
        "limit": "train on the first N examples; none: 2000 pictures, or what a table has beside its test rows",
        "test_limit": "test on N examples; none: 1000 pictures, or a fifth of a table",
        "validation": "hold N of the training examples out, and watch these, not the test examples, while training",
    },
    "the network": {
        "depth": "number of hidden layers",
        "width": "units in each of them",
        "activation": "f, of every hidden layer",
        "normalization": "of the hidden layers: batch and layer stand between W x + b and f, weight is length times "
        "direction of the rows of W",
        "residual": "hidden layers add their input to their output",
        "dropout": "share of units dropped while training, by alpha dropout where the activation is selu",
        "scheme": "first weights; none: lecun for selu and elu, he for relu, leaky_relu, gelu and silu, else xavier",
        "sigma_w": "factor of all first weights",
        "sigma_b": "standard deviation of the first biases",
    },
    "the training": {
        "epochs": "how often every training example is seen",
        "batch_size": "examples in a step, those of all processes together",
        "lr": "learning rate",
        "optimizer": "plain gradient descent (sgd), the heavy ball (momentum), or Adam",
        "momentum": "of the heavy ball",
        "schedule": "how lr falls to 0 in the course of training; none: it stays",
        "patience": "stop after N epochs without a lower loss on what is watched, and put the best parameters back",
        "clip": "largest norm of the whole gradient; none: any",
        "precision": "of matrix products",
        "device": "auto (the GPU where there is one), cpu, cuda, cuda:1 or mps",
        "seed": "of the first weights, the order of the examples, and dropout",
    },
}


def _add_train(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "train",
        usage="python -m snnlib train [--SETTING VALUE ...] [--out DIR] [--checkpoint DIR]",
        help="train one network, on a CPU or a GPU, by one process or several",
        description="Train a fully connected network and say how it went.",
        epilog="examples:\n"
        "  python -m snnlib train --data bacteria --depth 32 --activation selu\n"
        "  python -m snnlib train --activation relu --normalization batch --out runs/relu  keep history and picture\n"
        "  python -m snnlib train --epochs 50 --checkpoint runs/selu                       once more, and it goes on\n"
        "  torchrun --nproc-per-node=2 -m snnlib train --batch-size 128                    by two processes\n\n"
        "Exits with 0 when all is well; with 1 when data is missing, the loss is no longer finite, a checkpoint is\n"
        "damaged or another run's, or a file cannot be written; with 2 for wrong usage; with 130 after Ctrl-C.",
        formatter_class=_RAW,
        argument_default=argparse.SUPPRESS,
    )
    for title, settings in _SETTINGS.items():
        group = parser.add_argument_group(title)
        for name, text in settings.items():
            _add_setting(group, name, text)
    group = parser.add_argument_group("what is kept")
    group.add_argument("--out", metavar="DIR", help="write history.csv, history.png and settings.json into this folder")
    layers = "with --out, write layers.csv, too: statistics of the layers, taken with the first N training examples"
    group.add_argument("--statistics", metavar="N", type=_count, help=layers)
    group.add_argument("--checkpoint", metavar="DIR", help="save the run in this folder, or go on with what it holds")
    group.add_argument(
        "--checkpoint-minutes", metavar="X", type=float, help="save so often (default: after each epoch)"
    )
    fallback = "where the newest checkpoint is damaged, go on with the one before it"
    group.add_argument("--fallback", action="store_true", help=fallback)
    parser.set_defaults(run=lambda options: _train(parser, options))


def _add_setting(group: argparse._ArgumentGroup, name: str, text: str) -> None:
    option, default, kind = "--" + name.replace("_", "-"), sweeps.DEFAULTS[name], sweeps.kind(name)
    if default is False:
        group.add_argument(option, action="store_true", help=text)
        return
    choices = [str(choice).lower() for choice in sweeps.CHOICES.get(name, ())]
    text += (f"; one of {', '.join(choices)}" if choices else "") + f" (default: {str(default).lower()})"
    group.add_argument(option, metavar={int: "N", float: "X"}.get(kind, "NAME"), type=_setting(name), help=text)


def _setting(name: str) -> Callable[[str], object]:
    def parse(text: str) -> object:
        try:
            return sweeps.parse(name, text)
        except sweeps.GridError as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    return parse


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number >= 1; got {text!r}")
    return int(text)


def _train(parser: argparse.ArgumentParser, options: argparse.Namespace) -> int:
    given = vars(options)
    settings = sweeps.checked({name: given[name] for name in sweeps.DEFAULTS if name in given})
    names = ("statistics", "checkpoint", "checkpoint_minutes", "fallback")
    kept = {name: given[name] for name in names if name in given}
    if "checkpoint" not in kept and ("checkpoint_minutes" in kept or "fallback" in kept):
        parser.error("--checkpoint-minutes and --fallback belong to --checkpoint")
    if "statistics" in kept and "out" not in given:
        parser.error("--statistics belongs to --out")
    try:
        from torch import OutOfMemoryError

        from . import training
        from ._steps import ProcessLostError
    except ImportError as error:
        return _failed(f'training needs {error.name}: pip install "snnlib[torch]"')
    speaks = os.environ.get("RANK", "0") == "0"  # of several processes the first
    troubles = (training.DivergedError, training.CheckpointError, ProcessLostError, OutOfMemoryError)
    try:
        _fit(settings, kept, given.get("out"), speaks)
    except ValueError as error:  # settings that do not go together
        if speaks:
            parser.error(str(error))
        return 2
    except (*troubles, MemoryError, OSError) as error:
        return _failed(str(error)) if speaks else 1
    return 0


def _fit(settings: dict, kept: dict, out: str | None, speaks: bool) -> None:
    """Train, print what there is to say, write what there is to keep; what ended it too early is raised after that."""
    from . import training

    model, train, validation, test, how = sweeps.prepare(settings)
    if speaks:
        print(_described(settings, train, validation, test), flush=True)
    try:
        history, stop = training.fit(model, train, validation or test, **how, **kept, progress=speaks), None
    except (training.DivergedError, training.Interrupted) as error:
        history, stop = error.history, error
    if speaks:
        print(_course(history, "validation" if validation else "test"))
        if stop is None:
            print(_outcome(history, settings, training.evaluate(model, test, settings["device"])))
        _keep(out, history, settings)
    if stop is not None:
        raise stop


def _described(settings: dict, train, validation, test) -> str:
    """The head of a summary: data, network, training."""
    s = settings
    widths = f"{train.x.shape[1]} inputs, {s['depth']} hidden layers of {s['width']}, {len(train.class_names)} classes"
    network = [widths, s["activation"], f"{s['scheme'] or sweeps.customary(s['activation'])} weights"]
    network += [s["normalization"] and f"{s['normalization']} normalization", s["residual"] and "residual"]
    network += [s["dropout"] > 0 and f"dropout {s['dropout']:g}"]
    how = [f"{s['epochs']} epochs in batches of {s['batch_size']}", s["optimizer"], f"lr {s['lr']:g}"]
    how += [s["schedule"] and f"{s['schedule']} schedule", s["clip"] and f"clip {s['clip']:g}", f"seed {s['seed']}"]
    held_out = f", {len(validation):,} validation" if validation else ""
    return (
        f"data      {s['data']}: {len(train):,} training{held_out} and {len(test):,} test examples\n"
        f"network   {', '.join(filter(None, network))}\n"
        f"training  {', '.join(filter(None, how))}\n"
    )


_MOST_LINES = 12  # epochs that a summary shows


def _course(history, watched: str) -> str:
    """A line for some of the epochs, the last included."""
    epochs = history.epochs
    lines = [f"epoch        lr      loss  accuracy  {f'{watched} loss':>15}  {f'{watched} accuracy':>19}  seconds"]
    for i in range(len(epochs)):
        if (len(epochs) - 1 - i) % math.ceil(len(epochs) / _MOST_LINES) == 0:
            e = epochs.iloc[i]
            trained = f"{e.epoch:5.0f}  {e.lr:8.3g}  {e.loss:8.4f}  {e.accuracy:8.2%}"
            lines.append(f"{trained}  {e.test_loss:15.4f}  {e.test_accuracy:19.2%}  {e.seconds:7.2f}")
    return "\n".join(lines) if len(epochs) else "no epoch was finished"


def _outcome(history, settings: dict, tested: tuple[float, float]) -> str:
    epochs = history.epochs
    kept = epochs.iloc[sweeps.kept_epoch(epochs, settings["patience"])]
    how = history.stopped if settings["patience"] is None else f"{history.stopped}, epoch {kept.epoch:.0f} is kept"
    return (
        f"\n{how}: {sweeps.duration(epochs['seconds'].sum())} on {history.device}\n"
        f"training  loss {kept.loss:.4f}, accuracy {kept.accuracy:.2%}\n"
        f"test      loss {tested[0]:.4f}, accuracy {tested[1]:.2%}"
    )


def _keep(out: str | None, history, settings: dict) -> None:
    """Write history, layers, settings and a picture into a folder, where one is given."""
    if out is None:
        return
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    tables = {"history.csv": history.epochs, "layers.csv": history.layers}
    tables = {name: table for name, table in tables.items() if table is not None}
    for name, table in tables.items():
        table.to_csv(folder / name, index=False)
    about = {"snnlib": __version__, "device": history.device, "stopped": history.stopped, "settings": settings}
    (folder / "settings.json").write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
    watched = "validation" if settings["validation"] else "test"
    drawn = _pictured(lambda figure: _draw_history(figure, history.epochs, watched), folder / "history.png")
    print(f"\nwritten to {out}: {', '.join([*tables, 'settings.json', *(['history.png'] if drawn else [])])}")


def _pictured(draw: Callable, path: Path) -> bool:
    """Draw into a PNG file; where that cannot be, say what is missing."""
    try:
        import matplotlib
        from matplotlib.figure import Figure

        from .figures import STYLE
    except ImportError as error:
        print(f'no picture: {error.name} is missing, pip install "snnlib[figures]"', file=sys.stderr)
        return False
    with matplotlib.rc_context(STYLE):
        figure = Figure()  # no window, whatever the backend is
        draw(figure)
        figure.savefig(path, dpi=200, facecolor="white")
    return True


def _draw_history(figure, epochs, watched: str) -> None:
    for axes, name in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
        for column, label in ((name, "training"), (f"test_{name}", watched)):
            axes.plot(epochs["epoch"], epochs[column], marker="o" if len(epochs) < 12 else None, label=label)
        axes.set(xlabel="epoch", ylabel=name, yscale="log" if name == "loss" else "linear")
    axes.legend()


# --- sweep -----------------------------------------------------------------------------------------------------------


def _add_sweep(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "sweep",
        help="train the networks of a grid of settings, here or on a Dask cluster",
        description="Train the networks of a grid: every combination of its lists, for every method and every seed.\n"
        "Each adds a line to a table when it is finished; the same command goes on with what is missing.",
        epilog="a grid:\n"
        '  data = "fashion-mnist"     # settings of all runs: the options of `train`, with _ in place of -\n'
        "  epochs = 12\n"
        "  validation = 400\n"
        "  seeds = [0, 1, 2]          # or how many: 3\n\n"
        "  [grid]                     # every combination of these\n"
        "  depth = [2, 8, 32]\n"
        "  lr = [0.01, 0.1]\n\n"
        "  [[methods]]                # settings that go together\n"
        '  name = "SELU"\n'
        '  activation = "selu"\n\n'
        "  [[methods]]\n"
        '  name = "ReLU + BatchNorm"\n'
        '  activation = "relu"\n'
        '  normalization = "batch"\n\n'
        "examples:\n"
        "  python -m snnlib sweep grid.toml --dry-run   how many runs, and about how long they take\n"
        "  python -m snnlib sweep grid.toml             make them: grid.csv, grid.json, grid.png\n"
        "  python -m snnlib sweep grid.toml --address tcp://10.0.0.1:8786\n\n"
        "Exits with 0 when all runs are made (to diverge is a result); with 1 when some failed, data is missing, or\n"
        "the table or the cluster cannot be used; with 2 for a wrong grid or wrong usage; with 130 after Ctrl-C.",
        formatter_class=_RAW,
    )
    parser.add_argument("grid", metavar="GRID", help="a TOML file")
    parser.add_argument("--table", metavar="FILE", help="the table, NAME.csv (default: beside the grid, with its name)")
    parser.add_argument("--workers", metavar="N", type=_count, help="processes here (default: one per processor)")
    parser.add_argument("--address", metavar="URL", help="the scheduler of a Dask cluster, which then makes the runs")
    parser.add_argument("--dry-run", action="store_true", help="only say how many runs there are, and about how long")
    parser.set_defaults(run=lambda options: _sweep(parser, options))


def _sweep(parser: argparse.ArgumentParser, options: argparse.Namespace) -> int:
    status, table = 0, Path(options.table or Path(options.grid).with_suffix(".csv"))
    try:
        grid = sweeps.load_grid(options.grid)
        if options.dry_run:
            print(_planned(grid, table, options.workers))
            return 0
        try:
            found = sweeps.sweep(grid, table, address=options.address, workers=options.workers)
        except sweeps.SweepError as error:
            status, found = _failed(str(error)), error.table
        if found is not None and len(found):
            print(_summarized(found, table))
    except sweeps.SweepError as error:  # of a dry run
        return _failed(str(error))
    except ValueError as error:  # the grid, or options that do not go together
        parser.error(str(error))
    except ImportError as error:
        return _failed(f'a sweep needs {error.name}: pip install "snnlib[torch]"')
    except OSError as error:
        return _failed(f"{error.filename or table} cannot be used ({error.strerror or error})")
    return status


def _planned(grid: sweeps.Grid, table: Path, workers: int | None) -> str:
    missing = sweeps.missing(grid, table)
    sizes = {"methods": len(grid.methods), **{name: len(values) for name, values in grid.lists.items()}}
    sizes["seeds"] = len(grid.seeds)
    product = " x ".join(f"{size} {name}" for name, size in sizes.items() if size)
    said = f"{len(grid):,} runs ({product}), {len(grid) - len(missing):,} of them in {table}"
    if not missing:
        return said
    processes = min(workers or sweeps.processors(), len(missing))
    time = sweeps.duration(sum(map(sweeps.cost, missing)) / processes)
    return f"{said}; the others take very roughly {time}, {processes} at a time"


def _summarized(found, table: Path) -> str:
    """What the runs say: mean and deviation over the seeds, and the best lr where there are several."""
    shown, picture = sweeps.summary(found), table.with_suffix(".png")
    said = f"{len(found):,} runs in {table}, {int(found['diverged'].sum())} of them diverged"
    if "lr" in shown and shown["lr"].nunique() > 1:
        chosen = "validation" if shown["validation_accuracy"].notna().any() else "test"
        shown = sweeps.best(shown)
        said += f"; lr is the one of the highest {chosen} accuracy"
    if _pictured(lambda figure: _draw_sweep(figure, shown), picture):
        said += f"; picture: {picture}"
    texts = shown.astype({"std": object}).dropna(axis=1, how="all")  # no validation, no deviation of one seed
    for name in {"validation_accuracy", "test_accuracy", "std"} & set(texts):
        texts[name] = [f"{value:.2%}" for value in texts[name]]
    return f"{texts.to_string(index=False)}\n\n{said}"


def _draw_sweep(figure, shown) -> None:
    """Test accuracy against the numeric setting of most values, a line for each combination of the others."""
    axes = figure.subplots()
    names = list(shown.columns[: shown.columns.get_loc("runs")])
    numeric = [name for name in names if shown[name].dtype.kind in "if" and name != "lr"]
    x = max(numeric, key=lambda name: shown[name].nunique(), default="lr" if "lr" in names else None)
    others = [name for name in names if name not in (x, "lr")]
    lines = shown.groupby(others, sort=False) if others else [((), shown)]
    for (label, rows), marker in zip(lines, itertools.cycle("oooossssDDDD^^^^")):  # colours come back after four lines
        label = ", ".join(map(str, label))
        rows = rows.sort_values(x) if x else rows
        places = rows[x] if x else [label or "all"]
        axes.errorbar(places, rows["test_accuracy"], rows["std"].fillna(0), marker=marker, capsize=3, label=label)
    if x:
        axes.set(xlabel=x, xscale="log" if shown[x].nunique() > 2 and (shown[x] > 0).all() else "linear")
    if x and others:
        axes.legend(fontsize="small")
    axes.set(ylabel="test accuracy")


def _failed(message: str) -> int:
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    return 1


# --- certify ---------------------------------------------------------------------------------------------------------


def _add_certify(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "certify",
        help="prove a theorem on self-normalizing networks",
        description="Prove Theorem 1, 2 or 3 of Klambauer et al. (2017), or what it says on another domain, with ball\n"
        "arithmetic: every rounding is accounted for. A domain is four intervals: mu and nu, the mean and the\n"
        "variance of a layer's inputs, omega and tau, the sum and the sum of squares of a row of its weights.\n\n"
        "  Theorem 1  g contracts, and maps the domain into itself\n"
        "  Theorem 2  the variance falls: nu~ < nu\n"
        "  Theorem 3  the variance rises: nu~ > nu (on two domains; an interval that is given replaces both of theirs)",
        epilog="examples:\n"
        "  python -m snnlib certify                                         Theorem 1 as published\n"
        "  python -m snnlib certify --tau 0.8 1.25                          on more weights: not all of it is true\n"
        "  python -m snnlib certify --theorem 3 --nu 0.05 0.16              Theorem 3 as in the paper's appendix\n"
        "  python -m snnlib certify --mu -1/10 1/10 --bound 0.9             a stronger contraction\n"
        "  python -m snnlib certify --alpha 1.673 1.674 --lam 1.0507 1.0508  a family of activations at once\n\n"
        "Exits with 0 when all is proven, with 1 when something is not, and shows where.",
        formatter_class=_RAW,
    )
    parser._negative_number_matcher = re.compile(r"-\.?\d")  # -1/10 and -1e-3 are numbers, too, not options
    parser.add_argument("--theorem", type=int, choices=(1, 2, 3), default=1, help="which theorem (default: 1)")
    for name in ("mu", "nu", "omega", "tau"):
        parser.add_argument(f"--{name}", nargs=2, metavar=("A", "B"), help=f"the interval for {name}, ends included")
    for name in ("alpha", "lam"):
        parser.add_argument(f"--{name}", nargs="+", metavar="A", help="one number, or the two ends of an interval")
    parser.add_argument("--bound", help="Theorem 1: contraction means a norm below this (default: 1)")
    parser.add_argument("--boxes", type=int, default=20_000, help="how many boxes a search may take (default: 20000)")
    parser.set_defaults(run=lambda options: _certify(parser, options))


def _certify(parser: argparse.ArgumentParser, options: argparse.Namespace) -> int:
    try:
        from . import contraction
    except ImportError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if options.bound and options.theorem != 1:
        parser.error("--bound belongs to Theorem 1")
    given = {name: getattr(options, name) for name in ("mu", "nu", "omega", "tau") if getattr(options, name)}
    constants = {name: _one_or_two(parser, name, getattr(options, name)) for name in ("alpha", "lam")}
    published = {1: [contraction.THEOREM_1], 2: [contraction.THEOREM_2], 3: contraction.THEOREM_3}[options.theorem]
    try:
        domains = dict.fromkeys(replace(domain, **given) for domain in published)  # without repetitions
        proven = [_prove(contraction, options, domain, constants) for domain in domains]
    except ValueError as error:
        parser.error(str(error))
    return 0 if all(proven) else 1


def _one_or_two(parser: argparse.ArgumentParser, name: str, values: list[str] | None) -> str | tuple | None:
    if values is None or len(values) == 1:
        return values and values[0]
    if len(values) != 2:
        parser.error(f"--{name} takes one number or the two ends of an interval, got {len(values)}")
    return tuple(values)


def _prove(contraction, options: argparse.Namespace, domain, constants: dict) -> bool:
    """Prove the theorem on one domain, print what is proven and what is not; return whether all of it is."""
    effort = {**constants, "max_boxes": options.boxes, "progress": True}
    if options.theorem == 1:
        bound = options.bound or "1"
        result = contraction.certify(domain, bound=bound, **effort)
        image = result.image
        claims = [
            (result.witness, f"the norm of the Jacobian of g is at most {result.singular_value_bound}, below {bound}"),
            (result.escape, f"mu~ in [{image.mu[0]}, {image.mu[1]}], nu~ in [{image.nu[0]}, {image.nu[1]}]"),
        ]
        statement = "g contracts, and maps the domain into itself"
    else:
        falls = options.theorem == 2
        prove = contraction.certify_decrease if falls else contraction.certify_increase
        result = prove(domain, **effort)
        claims = [(result.witness, f"{'nu - nu~' if falls else 'nu~ - nu'} is at least {result.margin}")]
        statement = f"the variance {'falls: nu~ < nu' if falls else 'rises: nu~ > nu'}"
    print(f"Theorem {options.theorem}: {statement}, for all")
    print(f"  {domain}")
    for name, value in constants.items():
        if value is None:
            print(f"  {name} = that of SELU, exactly")
        else:
            print(f"  {name} " + (f"= {value}" if isinstance(value, str) else f"in [{value[0]}, {value[1]}]"))
    for witness, claim in claims:
        print(f"  {witness}" if witness else f"  proven: {claim}")
    print(f"  {result.boxes:,} boxes, {result.seconds:.2f} s")
    return not any(witness for witness, _ in claims)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # leave through every clean-up
    sys.exit(main())
