"""Results into nbgrader's gradebook: `python -m coursework.record [ASSIGNMENT ...]`.

For each result the gradebook gets the points of the tests, and what a person must grade is marked so; a notebook for
nbgrader's page for grading by hand is written into autograded/. Recording again changes nothing. When a submission was
graded anew, points and comments that a person gave stay where the answer that the person saw is the same.

One submission is one transaction, and its notebook follows it: killed in between, the next run takes the old notebook
for what the person saw, which it is.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from snnlib.coursework import Part

from . import course
from .batch import write
from .intake import read_roster
from .notebooks import FROM_STUDENT, Source, same
from .run import checked_outputs

if TYPE_CHECKING:
    from nbformat import NotebookNode
    from nbgrader.api import Gradebook, SubmittedNotebook

ACTIVE = re.compile(r"<(?=[A-Za-z/!?])|\](?=[(:\[])")  # what begins a tag, the target of a link or picture
MAX_OUTPUT = 20_000  # characters of one output


# --- the notebook for grading by hand --------------------------------------------------------------------------------


def harmless(text: str) -> str:
    """Return Markdown without HTML, links and pictures, which nbgrader's page would show, scripts included."""
    return ACTIVE.sub(lambda match: match[0] + " ", text)


def remarks(result: dict) -> str:
    """Return what the person who grades should know of the submission, as Markdown; empty when there is nothing."""
    lines = [*result["needs_person"], *result["notes"]]
    if result["state"] == "failed":
        lines.insert(0, "This submission could not be graded.")
    return harmless("\n".join(f"- {line}" for line in lines))


def outputs(entry: dict) -> list[NotebookNode]:
    """Return the outputs of a cell of the result as a notebook has them."""
    from nbformat.v4 import new_output

    if entry["kind"] == "test":
        lines = [str(Part(part["points"], part["title"], part["reason"])) for part in entry["parts"]]
        return [new_output("stream", name="stdout", text="\n".join(lines))] if lines else []
    found = []
    for output in checked_outputs(entry["outputs"], MAX_OUTPUT):
        if output["type"] == "png":
            found.append(new_output("display_data", data={"image/png": output["data"]}))
        else:
            name = "stdout" if output["type"] == "text" else "stderr"
            found.append(new_output("stream", name=name, text=output["data"]))
    return found


def autograded(source: Source, result: dict) -> NotebookNode:
    """Return the submission as a notebook: the source's cells, the student's answers, outputs and lost points.

    Of a submission that could not be graded there are the cells as they were given.
    """
    import nbformat
    from nbformat.v4 import new_code_cell, new_markdown_cell

    given = nbformat.read(source.folder / f"{source.name}.ipynb", as_version=4)
    rest = iter(zip(given.cells, source.cells, strict=True))
    cells = [new_markdown_cell(text)] if (text := remarks(result)) else []
    for entry in result["cells"]:
        if entry["kind"] == "added":
            markdown = entry["type"] == "markdown"
            cells.append(new_markdown_cell(harmless(entry["source"])) if markdown else new_code_cell(entry["source"]))
        else:
            cell, known = next(rest)
            cells.append(cell)
            if known.kind in FROM_STUDENT:
                cell.source = entry["source"] if known.type == "code" else harmless(entry["source"])
            elif known.kind == "text":
                cell.source = known.released
        if cells[-1].cell_type == "code":
            cells[-1].outputs = outputs(entry)
    for cell, known in rest:
        cell.source = known.released
        cells.append(cell)
    given.cells = cells
    for number, cell in enumerate(cells):
        cell.id = f"cell-{number}"  # the same each time
    given.metadata["coursework"] = {"submission": result["submission"]}
    return given


def notebook_path(folder: Path, assignment: str, student: str) -> Path:
    """Where nbgrader looks for the notebook."""
    return folder / "autograded" / student / assignment / f"{assignment}.ipynb"


def seen(path: Path) -> tuple[str | None, dict[str, str]]:
    """Return what the person who graded has seen: the digest of the submission, {grade_id: text of the cell}.

    (None, {}) where the notebook is lost.
    """
    import nbformat

    try:
        notebook = nbformat.read(path, as_version=4)
    except (OSError, ValueError, nbformat.reader.NotJSONError):
        return None, {}
    return notebook.metadata.get("coursework", {}).get("submission"), texts(notebook)


def texts(notebook: NotebookNode) -> dict[str, str]:
    """Return {grade_id: text} of the cells that have a name."""
    return {
        cell.metadata["nbgrader"]["grade_id"]: cell.source for cell in notebook.cells if "nbgrader" in cell.metadata
    }


# --- gradebook -------------------------------------------------------------------------------------------------------


def record(book: Gradebook, source: Source, result: dict, folder: Path) -> bool:
    """Write one result into the gradebook and autograded/; return whether anything was new. Raises course.Stale."""
    import nbformat

    if result["source"] != source.digest:
        raise course.Stale(f"{source.name} was changed after {result['student']} was graded: grade again")
    path = notebook_path(folder, source.name, result["student"])
    before, old = seen(path)
    notebook = autograded(source, result)
    answers = {cell.grade_id for cell in source.cells if cell.kind in FROM_STUDENT}
    kept = {
        name
        for name, text in texts(notebook).items()
        if (same(text, old.get(name, "")) if name in answers else before == result["submission"])
    }
    changed = transfer(book, source, result, kept if old else None)
    data = (nbformat.writes(notebook) + "\n").encode()
    if not path.exists() or path.read_bytes() != data:
        write(path, data)
        return True
    return changed


def transfer(book: Gradebook, source: Source, result: dict, kept: set[str] | None) -> bool:
    """Bring the gradebook in line with a result, in one transaction; return whether anything was new.

    What a person gave stays for the cells named in `kept`. Where that is not known (None), all stays and is marked for
    another look.
    """
    with book.db.no_autoflush:
        submission = submitted(book, source.name, result["student"])
        _score(submission, source, result, kept)
        changed = any(map(book.db.is_modified, [*book.db.new, *book.db.dirty]))
    book.db.commit()
    return changed


def _score(submission: SubmittedNotebook, source: Source, result: dict, kept: set[str] | None) -> None:
    entries = {entry["grade_id"]: entry for entry in result["cells"] if entry["grade_id"]}
    for grade in submission.grades:
        score = entries.get(grade.name, {}).get("score")
        if kept is not None and grade.name not in kept:
            grade.manual_score = grade.extra_credit = None
        if grade.manual_score is None:
            grade.needs_manual_grade = score is None
        elif grade.auto_score != score or kept is None:
            grade.needs_manual_grade = True
        grade.auto_score = score
    stubs = {cell.grade_id: cell.released for cell in source.cells if cell.kind in FROM_STUDENT}
    for comment in submission.comments:
        if kept is not None and comment.name not in kept:
            comment.manual_comment = None
        text = entries.get(comment.name, {}).get("source") or ""
        comment.auto_comment = "No response." if not text.strip() or same(text, stubs[comment.name]) else None


def submitted(book: Gradebook, assignment: str, student: str) -> SubmittedNotebook:
    """Return the student's submission, made if there is none, with a grade and a comment for every cell."""
    from nbgrader import api

    known = book.find_assignment(assignment)
    found = book.db.query(api.SubmittedAssignment).filter_by(assignment=known, student_id=student).one_or_none()
    if found is None:
        person = book.db.get(api.Student, student) or api.Student(id=student)
        found = api.SubmittedAssignment(assignment=known, student=person)
        notebook = api.SubmittedNotebook(notebook=known.notebooks[0], assignment=found)
        notebook.grades = [api.Grade(cell=cell) for cell in known.notebooks[0].grade_cells]
        notebook.comments = [api.Comment(cell=cell) for cell in known.notebooks[0].solution_cells]
        book.db.add(found)
    return found.notebooks[0]


def enrol(book: Gradebook, roster: Path) -> None:
    """Write the students of a roster (CSV with id, first_name, last_name, email, lms_user_id) into the gradebook."""
    for row in read_roster(roster):
        known = ("first_name", "last_name", "email", "lms_user_id")
        book.update_or_create_student(row["id"], **{key: row[key] for key in known if row.get(key)})


# --- command ---------------------------------------------------------------------------------------------------------


def main(arguments: list[str] | None = None) -> int:
    """Record the results; return 0, or 1 when something does not fit."""
    parser = course.parser("record", "Write results into the gradebook.")
    parser.add_argument("--roster", type=Path, help="CSV with id, first_name, last_name, email, lms_user_id")
    options = parser.parse_args(arguments)

    def work(book: Gradebook, folder: Path, sources: list[Source]) -> None:
        if options.roster:
            enrol(book, options.roster)
        for source in sources:
            results = course.results(folder, source.name)
            new = sum([record(book, source, result, folder) for result in results])
            print(f"{source.name}: {len(results)} in the gradebook, {new} of them new or changed", flush=True)

    return course.with_gradebook(options, work)


if __name__ == "__main__":
    sys.exit(main())
