"""The assignments' sources, and a way to run them in one process, as a student without a grader does."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from snnlib.coursework import Part

SOURCE = Path(__file__).resolve().parents[1] / "book" / "coursework" / "source"

_SOLUTION = re.compile(r"^( *)### BEGIN SOLUTION\n.*?### END SOLUTION$", re.MULTILINE | re.DOTALL)
_HIDDEN = re.compile(r"^### BEGIN HIDDEN TESTS\n.*?### END HIDDEN TESTS\n", re.MULTILINE | re.DOTALL)
_STUBS = {"code": "# YOUR CODE HERE\nraise NotImplementedError()", "markdown": "YOUR ANSWER HERE"}


@dataclass(frozen=True)
class Cell:
    """One cell of a source that nbgrader knows; kind is given, solution, test or manual."""

    grade_id: str
    kind: str
    points: float
    source: str


def cells(assignment: str) -> list[Cell]:
    """The cells of an assignment's source that have an identity, in order."""
    notebook = json.loads((SOURCE / assignment / f"{assignment}.ipynb").read_text(encoding="utf-8"))
    found = []
    for cell in notebook["cells"]:
        entry = cell["metadata"].get("nbgrader")
        if entry:
            kind = {(True, False): "test", (False, True): "solution", (True, True): "manual", (False, False): "given"}
            found.append(
                Cell(
                    entry["grade_id"],
                    kind[entry["grade"], entry["solution"]],
                    entry.get("points", 0),
                    "".join(cell["source"]),
                )
            )
    return found


def solutions(assignment: str, replacements: Iterable[tuple[str, str]] = ()) -> dict[str, str]:
    """{grade_id: text} of the solution cells, the reference's with some passages replaced.

    Raises ValueError when a passage does not occur exactly once.
    """
    texts = {cell.grade_id: cell.source + "\n" for cell in cells(assignment) if cell.kind == "solution"}
    for old, new in replacements:
        places = [grade_id for grade_id, text in texts.items() for _ in range(text.count(old))]
        if len(places) != 1:
            raise ValueError(f"{old!r} occurs {len(places)} times in the solutions of {assignment}")
        texts[places[0]] = texts[places[0]].replace(old, new)
    return texts


def blank(assignment: str) -> dict[str, str]:
    """{grade_id: text} of the solution cells as students get them."""
    return {
        grade_id: _SOLUTION.sub(lambda match: textwrap.indent(_STUBS["code"], match[1]), text)
        for grade_id, text in solutions(assignment).items()
    }


def run_here(assignment: str, texts: dict[str, str]) -> dict[str, list[Part]]:
    """{grade_id of a test cell: its parts} when the cells run in order in one namespace, with these solutions.

    A solution cell that fails is passed over, as in a notebook. $SNN_STUDENT must be set, and the folder of the
    assignment must be on sys.path for its hidden modules.
    """
    namespace: dict[str, object] = {}
    results = {}
    for cell in cells(assignment):
        if cell.kind == "manual":
            continue
        code = compile(texts.get(cell.grade_id, cell.source), f"<{cell.grade_id}>", "exec")
        try:
            exec(code, namespace)
        except Exception:
            if cell.kind != "solution":
                raise
        if cell.kind == "test":
            results[cell.grade_id] = namespace["marks"].parts
    return results


def submission(assignment: str, texts: dict[str, str], answers: bool = False) -> bytes:
    """The notebook that a student hands in: without hidden tests, with these solutions, and with the model answers
    in place of the stubs where `answers` says so."""
    notebook = json.loads((SOURCE / assignment / f"{assignment}.ipynb").read_text(encoding="utf-8"))
    for cell in notebook["cells"]:
        entry = cell["metadata"].get("nbgrader", {})
        text = _HIDDEN.sub("", "".join(cell["source"]))
        if entry.get("grade") and entry.get("solution") and not answers:
            text = _STUBS[cell["cell_type"]]
        cell["source"] = texts.get(entry.get("grade_id"), text)
    return json.dumps(notebook).encode()
