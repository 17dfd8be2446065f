"""The command line: python -m snnlib COMMAND.

A command is a function that adds its sub-parser, with the function to run as the default of `run`; that one returns
what the process exits with: 0 when all is well, 1 when something outside the program is wrong, with one line on stderr.
Wrong usage exits with 2.
"""

from __future__ import annotations

import argparse
import re
import signal
import sys
from collections.abc import Sequence
from dataclasses import replace

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
    for add in (_add_data, _add_certify):
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
