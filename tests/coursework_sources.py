"""The assignments' sources, submissions of them, and a way to run them in one process, as a student does."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable
from pathlib import Path

from coursework.notebooks import Source

from snnlib.coursework import Part

SOURCE = Path(__file__).resolve().parents[1] / "book" / "coursework" / "source"


@functools.cache
def source(assignment: str) -> Source:
    """An assignment as its author wrote it."""
    return Source.read(SOURCE / assignment)


def full_marks(assignment: str) -> dict[str, float]:
    """{grade_id of a test cell: its points}."""
    return {cell.grade_id: cell.points for cell in source(assignment).cells if cell.kind == "test"}


def solutions(assignment: str, replacements: Iterable[tuple[str, str]] = ()) -> dict[str, str]:
    """{grade_id: text} of the solution cells, the reference's with some passages replaced.

    Raises ValueError when a passage does not occur exactly once.
    """
    texts = {cell.grade_id: cell.text + "\n" for cell in source(assignment).cells if cell.kind == "solution"}
    for old, new in replacements:
        places = [grade_id for grade_id, text in texts.items() for _ in range(text.count(old))]
        if len(places) != 1:
            raise ValueError(f"{old!r} occurs {len(places)} times in the solutions of {assignment}")
        texts[places[0]] = texts[places[0]].replace(old, new)
    return texts


def answers(assignment: str) -> dict[str, str]:
    """{grade_id: text} of the model answers to what a person grades."""
    return {cell.grade_id: cell.text for cell in source(assignment).cells if cell.kind == "manual"}


def blank(assignment: str) -> dict[str, str]:
    """{grade_id: text} of the solution cells as students get them."""
    return {cell.grade_id: cell.released for cell in source(assignment).cells if cell.kind == "solution"}


def submission(assignment: str, texts: dict[str, str]) -> bytes:
    """The notebook that a student hands in: as it was released, but for the texts of some cells."""
    notebook = json.loads((SOURCE / assignment / f"{assignment}.ipynb").read_bytes())
    for entry, cell in zip(notebook["cells"], source(assignment).cells, strict=True):
        entry["source"] = texts.get(cell.grade_id, cell.released)
    return json.dumps(notebook).encode()


def run_here(assignment: str, texts: dict[str, str]) -> dict[str, list[Part]]:
    """{grade_id of a test cell: its parts} when the cells run in order in one namespace, with these solutions.

    A solution cell that fails is passed over, as in a notebook. $SNN_STUDENT must be set, and the folder of the
    assignment must be on sys.path for its hidden modules.
    """
    namespace: dict[str, object] = {}
    results = {}
    for cell in source(assignment).cells:
        if cell.kind not in ("given", "solution", "test"):
            continue
        code = compile(texts.get(cell.grade_id, cell.text), f"<{cell.grade_id}>", "exec")
        try:
            exec(code, namespace)
        except Exception:
            if cell.kind != "solution":
                raise
        if cell.kind == "test":
            results[cell.grade_id] = namespace["marks"].parts
    return results
