"""Marks from the gradebook: `python -m coursework.marks [ASSIGNMENT ...] [--fill EXPORT.csv ...]`.

Into marks/ below the course folder go, for each assignment:

    <assignment>.csv            all points, question by question
    <assignment>-moodle.csv     a grading worksheet of Moodle's assignment (its option for offline grading)
    <assignment>-canvas.csv     a gradebook that Canvas imports
    <assignment>-questions.csv  statistics of each question, drawn in <assignment>.png

With --fill, a worksheet or gradebook that the platform exported is filled in instead, and is written under its name.
A student whose answers still wait for a person gets no mark, and is named.
"""

from __future__ import annotations

import csv
import io
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from . import course
from .batch import write
from .notebooks import Source

if TYPE_CHECKING:
    from nbgrader.api import Gradebook

# What Moodle's importer (mod/assign/feedback/offline/importgradeslib.php) reads are Identifier, Grade and Last modified
# (grade); an Identifier is the word Participant and the number that the names of downloaded folders have too, another
# one for each assignment. Grades can also be imported into the gradebook, by the email address.
MOODLE = (
    *("Identifier", "Full name", "Email address", "Status", "Grade", "Maximum Grade", "Grade can be changed"),
    *("Last modified (submission)", "Last modified (grade)", "Feedback comments"),
)
CANVAS = ("Student", "ID", "SIS User ID", "SIS Login ID", "Section")
# In exports, the columns by which a student is known, the surest first, and what should stand there.
KNOWN_IN_MOODLE = {
    "Email address": lambda m: m.email,
    "Identifier": lambda m: participant(m),
    "Full name": lambda m: m.name,
}
KNOWN_IN_CANVAS = {
    "ID": lambda m: m.number or m.file_number,
    "SIS Login ID": lambda m: m.student,
    "SIS User ID": lambda m: m.student,
}
SHOWN = 20  # students who are named in a line
CANVAS_POINTS = "    Points Possible"  # the first entry of the second row


@dataclass(frozen=True)
class Mark:
    """What one student got: points by question, in the order of the source, NaN where a person must still grade."""

    student: str
    first_name: str
    last_name: str
    email: str
    number: str  # lms_user_id of the roster
    points: np.ndarray

    @property
    def name(self) -> str:
        """The name as Moodle shows it."""
        return f"{self.first_name} {self.last_name}".strip()

    @property
    def file_number(self) -> str:
        """The number in the names of downloaded files: the id of a student whom no roster has given another."""
        return "" if self.name or self.email or not self.student.isdigit() else self.student

    @property
    def total(self) -> str:
        """The sum of points as the platforms read it; empty while it is not known."""
        return written(self.points.sum())


def written(points: float) -> str:
    """Return points with up to two digits after the point; nothing for NaN."""
    return "" if np.isnan(points) else f"{points:.2f}".rstrip("0").rstrip(".")


def read(book: Gradebook, source: Source) -> list[Mark]:
    """Return the marks of an assignment, in the order of the students' ids."""
    questions = [cell.grade_id for cell in source.cells if cell.points is not None]
    found = []
    for submission in book.assignment_submissions(source.name):
        person, grades = submission.student, {grade.name: grade for grade in submission.notebooks[0].grades}
        found.append(
            Mark(
                person.id,
                *(entry or "" for entry in (person.first_name, person.last_name, person.email, person.lms_user_id)),
                np.array([np.nan if grades[q].needs_manual_grade else grades[q].score for q in questions]),
            )
        )
    return sorted(found, key=lambda mark: mark.student)


# --- tables ----------------------------------------------------------------------------------------------------------


def table(rows: list) -> bytes:
    """Return rows as CSV."""
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerows(rows)
    return stream.getvalue().encode()


def all_points(source: Source, marks: list[Mark]) -> list:
    """Rows: one student each, with the points of every question."""
    questions = [cell.grade_id for cell in source.cells if cell.points is not None]
    rows = [[m.student, m.name, m.email, m.number, *map(written, m.points), m.total] for m in marks]
    return [["student", "name", "email", "lms_user_id", *questions, "total"], *rows]


def moodle(source: Source, marks: list[Mark]) -> list:
    """Rows of a grading worksheet."""
    best = f"{full_marks(source):g}"
    rows = [[participant(m), m.name, m.email, "", m.total, best, "Yes", "-", "-", ""] for m in marks]
    return [MOODLE, *rows]


def participant(mark: Mark) -> str:
    """What Moodle calls a student in a worksheet, where it is known."""
    return f"Participant {mark.file_number}" if mark.file_number else ""


def canvas(source: Source, marks: list[Mark]) -> list:
    """Rows of a gradebook with one column of marks; Canvas makes the assignment when it does not have it."""
    names = [f"{m.last_name}, {m.first_name}" if m.name else m.student for m in marks]
    numbers = [m.number or m.file_number for m in marks]
    rows = [[name, k, "", m.student, "", m.total] for name, k, m in zip(names, numbers, marks, strict=True)]
    return [[*CANVAS, source.name], [CANVAS_POINTS, "", "", "", "", f"{full_marks(source):g}"], *rows]


def full_marks(source: Source) -> float:
    """The points that there are."""
    return sum(cell.points for cell in source.cells if cell.points is not None)


def fill(source: Source, marks: list[Mark], rows: list) -> tuple[list, list[str]]:
    """Return an exported table with the marks in it, and the students who are not in it. All else stays as it was.

    A worksheet of Moodle is known by its columns Identifier and Grade; of Canvas's gradebook the column is filled that
    has the assignment's name ("name" or "name (number)"). Who fits two rows, or shares one, counts as not in it. Raises
    ValueError for another table.
    """
    header = rows[0] if rows else []
    if {"Identifier", "Grade"} <= set(header):
        column, keys = header.index("Grade"), KNOWN_IN_MOODLE
    elif {"Student", "ID"} <= set(header):
        names = [name.rpartition(" (")[0] if name.endswith(")") else name for name in header]
        if source.name not in names:
            raise ValueError(f"the gradebook of Canvas has no column {source.name}")
        column, keys = names.index(source.name), KNOWN_IN_CANVAS
    else:
        raise ValueError("neither a grading worksheet of Moodle nor a gradebook of Canvas")
    places = {header.index(key): value for key, value in keys.items() if key in header}
    pairs = [(n, mark) for n, row in enumerate(rows) for mark in marks if _is_of(row, mark, places)]
    of_row, of_mark = Counter(n for n, _ in pairs), Counter(mark.student for _, mark in pairs)
    found = {n: mark for n, mark in pairs if of_row[n] == of_mark[mark.student] == 1}
    filled = [list(row) for row in rows]
    for n, mark in found.items():
        filled[n][column] = mark.total or filled[n][column]
    return filled, sorted({mark.student for mark in marks} - {mark.student for mark in found.values()})


def _is_of(row: list[str], mark: Mark, places: dict[int, Callable[[Mark], str]]) -> bool:
    """Whether a row is a student's: the surest column decides in which both have an entry."""
    entries = ((row[place], value(mark)) for place, value in places.items() if place < len(row))
    one, other = next((pair for pair in entries if all(pair)), ("", "another"))
    return one.casefold() == other.casefold()


# --- statistics ------------------------------------------------------------------------------------------------------


def statistics(source: Source, marks: list[Mark]) -> list[dict]:
    """Return for each question: its points; how many answers are graded; over these the mean, the shares of full
    marks and of none; and how well it discriminates: the correlation of its points with those of all other questions
    over the students who are graded in full. NaN where there is nobody, or one of the two is the same for all."""
    cells = [cell for cell in source.cells if cell.points is not None]
    points = np.array([mark.points for mark in marks])
    complete = points[~np.isnan(points).any(axis=1)]
    found = []
    for number, cell in enumerate(cells):
        own = points[:, number][~np.isnan(points[:, number])]
        share = {"mean": own, "full": own >= cell.points - 1e-9, "none": own == 0}
        numbers = {key: float(np.mean(value)) if len(own) else np.nan for key, value in share.items()}
        found.append({"question": cell.grade_id, "points": cell.points, "graded": len(own), **numbers})
        found[-1]["discrimination"] = _correlation(complete[:, number], complete.sum(axis=1) - complete[:, number])
    return found


def _correlation(one: np.ndarray, other: np.ndarray) -> float:
    if len(one) < 3 or np.ptp(one) < 1e-9 or np.ptp(other) < 1e-9:
        return np.nan
    return float(np.corrcoef(one, other)[0, 1])


def plot(source: Source, marks: list[Mark], questions: list[dict]) -> bytes:
    """Return a PNG: for each question the mean as a share of its points, and the share of full marks; all totals."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 1.5 + 0.35 * len(questions)), width_ratios=(3, 2))
    places = np.arange(len(questions))
    left.barh(places, [q["mean"] / q["points"] if q["points"] else 0 for q in questions], color="#56b4e9", label="mean")
    left.plot([q["full"] for q in questions], places, "D", color="#d55e00", label="share with full marks")
    waiting = [f" ({q['graded']} graded)" if q["graded"] < len(marks) else "" for q in questions]
    names = [q["question"] + note for q, note in zip(questions, waiting, strict=True)]
    left.set(xlim=(0, 1.02), yticks=places, yticklabels=names, xlabel="share")
    left.invert_yaxis()
    left.legend(frameon=False, fontsize="small", loc="lower left", bbox_to_anchor=(0, 1), ncols=2)
    totals = [total for mark in marks if not np.isnan(total := mark.points.sum())]
    right.hist(totals, np.linspace(0, full_marks(source), 21), color="#009e73")
    if len(totals) < len(marks):
        right.set_title(f"{len(totals)} have a mark", fontsize="medium")
    right.set(xlabel=f"points of {full_marks(source):g}", ylabel="students")
    right.yaxis.get_major_locator().set_params(integer=True)
    figure.suptitle(f"{source.name}, {len(marks)} students")
    figure.tight_layout()
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=120, metadata={"Software": None})
    plt.close(figure)
    return stream.getvalue()


# --- command ---------------------------------------------------------------------------------------------------------


def publish(source: Source, marks: list[Mark], exports: list[Path], folder: Path) -> list[str]:
    """Write all tables and the plot; return what the instructor should know."""
    questions = statistics(source, marks)
    shown = [["question", "points", "graded", "mean", "full marks", "no points", "discrimination"]]
    for q in questions:
        numbers = (q["mean"], q["full"], q["none"], q["discrimination"])
        counts = (f"{q['points']:g}", str(q["graded"]))
        shown.append([q["question"], *counts, *("" if np.isnan(n) else f"{n:.3f}" for n in numbers)])
    tables = {"": all_points, "-moodle": moodle, "-canvas": canvas}
    for suffix, make in tables.items():
        write(folder / f"{source.name}{suffix}.csv", table(make(source, marks)))
    write(folder / f"{source.name}-questions.csv", table(shown))
    write(folder / f"{source.name}.png", plot(source, marks, questions))
    lines = ["  ".join(f"{entry:<24}" if n == 0 else f"{entry:>14}" for n, entry in enumerate(row)) for row in shown]
    for export in exports:
        with open(export, newline="", encoding="utf-8-sig") as stream:
            filled, missing = fill(source, marks, list(csv.reader(stream)))
        write(folder / export.name, table(filled))
        lines += listed(f"not in {export.name}", missing)
    return lines + listed("no mark yet, a person must grade", [mark.student for mark in marks if not mark.total])


def listed(title: str, students: list[str]) -> list[str]:
    """Return one line about students, who are named where they are few; none when there is nobody."""
    more = [f"and {len(students) - SHOWN} more"] if len(students) > SHOWN else []
    return [f"{title} ({len(students)}): {', '.join([*students[:SHOWN], *more])}"] if students else []


def main(arguments: list[str] | None = None) -> int:
    """Write the marks; return 0, or 1 when something does not fit."""
    parser = course.parser("marks", "Write marks for Moodle and Canvas, and statistics.")
    parser.add_argument("--fill", type=Path, action="append", default=[], metavar="CSV", help="an export to fill in")
    options = parser.parse_args(arguments)
    if options.fill and len(options.assignments) != 1:
        print("coursework: say of which one assignment the exports are", file=sys.stderr)
        return 1

    def work(book: Gradebook, folder: Path, sources: list[Source]) -> None:
        for source in sources:
            marks = read(book, source)
            if not marks:
                raise course.Stale(f"the gradebook has no marks of {source.name}: run `make grade` first")
            lines = publish(source, marks, options.fill, folder / "marks")
            print(f"{source.name}, {len(marks)} students, in {folder / 'marks'}", *lines, sep="\n", flush=True)

    return course.with_gradebook(options, work)


if __name__ == "__main__":
    sys.exit(main())
