"""One page for each student: `python -m coursework.feedback [ASSIGNMENT ...]`.

feedback/<assignment>/<student>.html says what every part of every test gave, and why points are lost, and shows the
student's own cells, their outputs, and what a person gave and wrote. All text is escaped, pictures are checked, the
page holds no script and asks nothing of any host. Tests are named, never shown, so that hidden ones stay hidden.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from . import course
from .batch import write
from .notebooks import FROM_STUDENT, Source
from .record import MAX_OUTPUT
from .run import checked_outputs

if TYPE_CHECKING:
    from nbgrader.api import Gradebook

SHOWN = ("test", "manual", "solution", "added")
TEMPLATE = Environment(
    loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True
).get_template("feedback.html.j2")


def page(source: Source, result: dict, given: dict[str, dict]) -> str:
    """Return the page. `given` has for each cell what the gradebook says: score, open, comment."""
    cells = [shown_cell(entry, given.get(entry["grade_id"], {})) for entry in result["cells"] if entry["kind"] in SHOWN]
    graded = [entry for entry in given.values() if "score" in entry]
    return TEMPLATE.render(
        title=next(cell.text.splitlines()[0].lstrip("# ") for cell in source.cells if cell.type == "markdown"),
        student=result["student"],
        score=sum(entry["score"] for entry in graded),
        total=sum(cell.points for cell in source.cells if cell.points is not None),
        open=any(entry["open"] for entry in graded),
        failed=result["state"] == "failed",
        reasons=result["needs_person"],
        notes=result["notes"],
        cells=[cell for cell in cells if cell["points"] is not None or cell["source"].strip()],
    )


def shown_cell(entry: dict, given: dict) -> dict:
    """Return what the page shows of one cell of the result."""
    return {
        "name": entry["grade_id"] or "a cell of your own",
        "points": entry["points"],
        "score": None if given.get("open") else given.get("score"),
        "parts": entry["parts"],
        "source": (entry["source"] or "") if entry["kind"] in (*FROM_STUDENT, "added") else "",
        "outputs": checked_outputs(entry["outputs"], MAX_OUTPUT),
        "comment": given.get("comment"),
    }


def from_gradebook(book: Gradebook, assignment: str, student: str) -> dict[str, dict]:
    """Return {grade_id: score, open, comment} of one submission."""
    notebook = book.find_submission_notebook(assignment, assignment, student)
    found = {grade.name: {"score": grade.score, "open": grade.needs_manual_grade} for grade in notebook.grades}
    for comment in notebook.comments:
        found.setdefault(comment.name, {})["comment"] = comment.comment
    return found


def main(arguments: list[str] | None = None) -> int:
    """Write the pages; return 0, or 1 when something does not fit."""
    options = course.parser("feedback", "Write one page for each student.").parse_args(arguments)

    def work(book: Gradebook, folder: Path, sources: list[Source]) -> None:
        for source in sources:
            results = course.results(folder, source.name)
            place = folder / "feedback" / source.name
            for result in results:
                given = from_gradebook(book, source.name, result["student"])
                write(place / f"{result['student']}.html", page(source, result, given).encode())
            print(f"{source.name}: {len(results)} pages in {place}", flush=True)

    return course.with_gradebook(options, work)


if __name__ == "__main__":
    sys.exit(main())
