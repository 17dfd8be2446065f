"""The instructor's course folder as nbgrader sees it: its settings, its gradebook, the commands' common options."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from .batch import Busy, alone, read_result, write
from .notebooks import ROOT, SOURCES, STUBS, BadNotebook, Source

if TYPE_CHECKING:
    from nbgrader.api import Gradebook
    from nbgrader.apps.api import NbGraderAPI

SETTINGS = """\
# Written by `make coursework`; nbgrader's own commands, run in this folder, use it too.
c = get_config()
c.CourseDirectory.course_id = "snn"
c.CourseDirectory.root = {root!r}
c.CourseDirectory.source_directory = {sources!r}
c.CourseDirectory.ignore = [".ipynb_checkpoints", "__pycache__", "*.pyc", "hidden_*"]
c.ClearSolutions.code_stub = {{"python": {code!r}}}
c.ClearSolutions.text_stub = {markdown!r}
"""


class Refused(Exception):  # noqa: N818
    """What a command was asked for cannot be done; the message says why and what to do."""


class Stale(Refused):
    """A result or the gradebook does not fit the source any more; the message says what to do."""


def parser(command: str, description: str) -> argparse.ArgumentParser:
    """The options that all commands have."""
    found = argparse.ArgumentParser(prog=f"coursework.{command}", description=description)
    found.add_argument("assignments", nargs="*", help="their names; without one, all")
    found.add_argument("--course", type=Path, default=ROOT / "build" / "coursework", help="the course folder")
    found.add_argument("--sources", type=Path, default=SOURCES, help="the folder of the assignments' sources")
    return found


def chosen(sources: Path, names: list[str]) -> list[Source]:
    """Return the named assignments, or all. Raises FileNotFoundError when there is none of that name."""
    known = sorted(path.parent.name for path in sources.glob("*/*.ipynb") if path.stem == path.parent.name)
    for name in names:
        if name not in known:
            raise FileNotFoundError(f"there is no assignment {name!r}; the assignments are: {', '.join(known)}")
    return [Source.read(sources / name) for name in names or known]


def prepare(course: Path, sources: Path) -> None:
    """Write nbgrader's settings into the course folder, and let nbgrader find its helpers on PATH."""
    text = SETTINGS.format(root=str(course), sources=str(sources.resolve()), **STUBS)
    if not (course / "nbgrader_config.py").exists() or (course / "nbgrader_config.py").read_text() != text:
        write(course / "nbgrader_config.py", text.encode())
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])


def api(course: Path) -> NbGraderAPI:
    """Return nbgrader's interface to a course folder."""
    from nbgrader.apps.api import NbGraderAPI
    from nbgrader.coursedir import CourseDirectory
    from traitlets.config import PyFileConfigLoader

    config = PyFileConfigLoader("nbgrader_config.py", path=str(course)).load_config()
    return NbGraderAPI(CourseDirectory(config=config), config=config)


def gradebook(course: Path) -> Gradebook:
    """Return nbgrader's Gradebook of a course folder, for a with statement."""
    from nbgrader.api import Gradebook

    return Gradebook(f"sqlite:///{course / 'gradebook.db'}", "snn")


def results(course: Path, assignment: str) -> list[dict]:
    """Return the sound results of an assignment, in the order of the students' ids."""
    names = sorted(path.stem for path in (course / "results" / assignment).glob("[!.]*.json"))
    return [result for name in names if (result := read_result(course, assignment, name)) is not None]


def with_results(course: Path, sources: Path, names: list[str]) -> list[Source]:
    """Return the named assignments, or all that have results. Raises FileNotFoundError for one without."""
    known = {path.name for path in (course / "results").glob("*") if path.is_dir()}
    for name in names or ([] if known else ["any assignment"]):
        if name not in known:
            raise FileNotFoundError(f"there are no results of {name}: run `make grade` first")
    return chosen(sources, names or sorted(known))


def check_assignment(book: Gradebook, source: Source) -> None:
    """Raise Stale unless the gradebook knows the assignment with these questions and points."""
    from nbgrader.api import MissingEntry

    try:
        known = {cell.name: cell.max_score for cell in book.find_notebook(source.name, source.name).grade_cells}
    except MissingEntry:
        known = {}
    if known != {cell.grade_id: cell.points for cell in source.cells if cell.points is not None}:
        raise Stale(f"the gradebook does not know {source.name} as it is now: run `make coursework` first")


# --- what the commands have in common --------------------------------------------------------------------------------


def status_of(work: Callable[[], None]) -> int:
    """Do the work of a command; return its status: 0, or 1 after an error, which is told in one line."""
    try:
        work()
    except (Refused, Busy, BadNotebook, OSError, ValueError, LookupError) as error:
        print("coursework:", " ".join(str(error).split()), file=sys.stderr)
        return 1
    return 0


def with_gradebook(options: argparse.Namespace, work: Callable[[Gradebook, Path, list[Source]], None]) -> int:
    """Do work(gradebook, course folder, assignments) where nobody else is at work; return the status.

    The assignments are those that the options name, or all that have results; the gradebook knows each as it is.
    """
    folder = options.course.resolve()

    def alone_with_it() -> None:
        with alone(folder):
            prepare(folder, options.sources)
            with gradebook(folder) as book:
                sources = with_results(folder, options.sources, options.assignments)
                for source in sources:
                    check_assignment(book, source)
                work(book, folder, sources)

    return status_of(alone_with_it)
