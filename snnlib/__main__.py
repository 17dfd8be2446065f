"""The command line: python -m snnlib COMMAND.

A command is a function that adds its sub-parser, with the function to run as the default of `run`; that one returns
what the process exits with: 0 when all is well, 1 when something outside the program is wrong, with one line on stderr.
Wrong usage exits with 2.
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence

from . import __version__, datasets

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
    for add in (_add_data,):
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
        help="fetch Fashion-MNIST, or check what is there",
        description="Fetch a data set and say where it lies, or check what is there.\n"
        "Fashion-MNIST has 31 MB; what is there already is not fetched again.",
        epilog="examples:\n"
        "  python -m snnlib data fashion-mnist                  fetch it into the folder data/ of the repository\n"
        "  python -m snnlib data fashion-mnist --root /scratch  fetch it into /scratch/fashion-mnist\n"
        "  python -m snnlib data --check                        read all of it, fetching nothing\n\n"
        "Where SNN_DATA is set and --root is not, $SNN_DATA/fashion-mnist is used as it is and nothing is fetched.",
        formatter_class=_RAW,
    )
    parser.add_argument("name", nargs="?", choices=["fashion-mnist"], help="the data set: fashion-mnist")
    parser.add_argument("--check", action="store_true", help="read every file to its end; fetch nothing")
    parser.add_argument("--root", metavar="DIR", help="the folder that holds, or will hold, fashion-mnist/")
    parser.set_defaults(run=lambda options: _data(parser, options))


def _data(parser: argparse.ArgumentParser, options: argparse.Namespace) -> int:
    if not (options.name or options.check):
        parser.error("name a data set to fetch (fashion-mnist), or say --check")
    if not options.check:
        datasets.fetch_fashion_mnist(options.root)
    folder, counts = datasets.check_fashion_mnist(options.root)
    print(f"Fashion-MNIST lies in {folder}: {counts['train']:,} training and {counts['test']:,} test images, all sound")
    return 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # leave through every clean-up
    sys.exit(main())
