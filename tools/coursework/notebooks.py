"""The source of an assignment, a submission of it, and the cells that follow from both.

Only solution cells, answers and added cells come from the submission; all else is the source's.
"""

from __future__ import annotations

import functools
import hashlib
import json
import re
import symtable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ROOT / "book" / "coursework" / "source"
MAX_BYTES = 20 << 20
MAX_CELLS = 500
SOLUTION = re.compile(r"^([ \t]*)### BEGIN SOLUTION.*?### END SOLUTION[ \t]*$", re.DOTALL | re.MULTILINE)
HIDDEN = re.compile(r"^[ \t]*### BEGIN HIDDEN TESTS.*?### END HIDDEN TESTS[ \t]*$\n?", re.DOTALL | re.MULTILINE)
STUBS = {"code": "# YOUR CODE HERE\nraise NotImplementedError()", "markdown": "YOUR ANSWER HERE"}
FROM_STUDENT = ("solution", "manual")
# A source links to a page of the book as a page beside it does, which leads nowhere from a student's folder.
TO_BOOK = re.compile(r"\[(?P<words>[^\]\n]+)\]\(\.\./\.\./\.\./(?P<page>[\w/-]+)\.(?:ipynb|md)(?P<place>#[\w-]+)?\)")


class BadNotebook(Exception):  # noqa: N818
    """A file that is not a notebook that can be graded; the message says why."""


@dataclass(frozen=True)
class Cell:
    """One cell. Its kind: given, solution, test, manual (graded by a person), added (by the student), text."""

    kind: str
    type: str  # code or markdown
    text: str
    grade_id: str | None = None
    points: float | None = None
    cell_id: str | None = None

    @property
    def released(self) -> str:
        """The text that students got: without solution and hidden tests."""
        text = HIDDEN.sub("", self.text)
        if self.type == "markdown":
            text = to_book(text, book_address())
        if self.kind not in FROM_STUDENT:
            return text
        stub = STUBS[self.type]
        text, count = SOLUTION.subn(lambda match: re.sub("^", match[1], stub, flags=re.MULTILINE), text)
        return text if count else stub

    @cached_property
    def bound(self) -> tuple[set[str], set[str]]:
        """The names that the cell binds at its top level: by import, and otherwise."""
        if self.type != "code":
            return set(), set()
        try:
            symbols = symtable.symtable(plain_python(self.text), "cell", "exec").get_symbols()
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return set(), set()
        imported = {symbol.get_name() for symbol in symbols if symbol.is_imported()}
        return imported, {symbol.get_name() for symbol in symbols if symbol.is_assigned()} - imported


def to_book(text: str, address: str | None) -> str:
    """Return Markdown with its links to pages of the book as they serve elsewhere: on the web, or as words in italics.

    address is that of the book on the web, or None.
    """

    def link(match: re.Match) -> str:
        words = match["words"].strip("*")
        if address is None:
            return f"*{words}*"
        return f"[{words}]({address.rstrip('/')}/book/{match['page']}.html{(match['place'] or '').lower()})"

    return TO_BOOK.sub(link, text)


@functools.cache
def book_address(config: Path = ROOT / "_config.yml") -> str | None:
    """Return the address of the book on the web: html, baseurl in its configuration; None where there is none."""
    html = yaml.safe_load(config.read_text(encoding="utf-8")).get("html") or {}
    return html.get("baseurl") or None


def plain_python(text: str) -> str:
    """Return the text of a cell with the lines that only IPython understands made comments."""
    return re.sub(r"^(?=[%!])", "# ", text, flags=re.MULTILINE)


def same(one: str, other: str) -> bool:
    """Whether two texts differ in blank space at the ends of lines alone."""
    return [line.rstrip() for line in one.strip().splitlines()] == [
        line.rstrip() for line in other.strip().splitlines()
    ]


def read_cells(data: bytes) -> tuple[list[dict], dict]:
    """Return the cells of a notebook, each a dict with sound cell_type, source (str), metadata; and its metadata.

    Raises BadNotebook.
    """
    if not data.strip():
        raise BadNotebook("the file is empty")
    if len(data) > MAX_BYTES:
        raise BadNotebook(f"the file is larger than {MAX_BYTES >> 20} MB")
    try:
        content = json.loads(data)
    except (ValueError, RecursionError):
        raise BadNotebook("the file is not a notebook: it is not JSON") from None
    if not isinstance(content, dict) or not isinstance(cells := content.get("cells"), list):
        raise BadNotebook("the file is not a notebook of format 4: it has no list of cells")
    if len(cells) > MAX_CELLS:
        raise BadNotebook(f"the notebook has more than {MAX_CELLS} cells")
    metadata = content.get("metadata")
    return [_sound(cell) for cell in cells], metadata if isinstance(metadata, dict) else {}


def _sound(cell: object) -> dict:
    if not isinstance(cell, dict):
        raise BadNotebook("the notebook has a cell that is none")
    source = cell.get("source", "")
    if isinstance(source, list) and all(isinstance(line, str) for line in source):
        source = "".join(source)
    if not isinstance(source, str):
        raise BadNotebook("the notebook has a cell whose source is not text")
    source = source.encode(errors="replace").decode()  # half of a surrogate pair is no character
    metadata = cell.get("metadata")
    nbgrader = metadata.get("nbgrader") if isinstance(metadata, dict) else None
    grade_id = nbgrader.get("grade_id") if isinstance(nbgrader, dict) else None
    return {
        "type": "code" if cell.get("cell_type") == "code" else "markdown",
        "text": source,
        "nbgrader": nbgrader if isinstance(nbgrader, dict) else {},
        "grade_id": grade_id if isinstance(grade_id, str) else None,
        "cell_id": cell.get("id") if isinstance(cell.get("id"), str) else None,
    }


@dataclass(frozen=True)
class Source:
    """An assignment as its author wrote it.

    Attributes: name; folder; cells; digest, of all files in the folder; limits, what the notebook's metadata say in
    {"coursework": {"limits": {...}}} (see sandbox.Limits).
    """

    name: str
    folder: Path
    cells: tuple[Cell, ...]
    digest: str
    limits: dict

    @classmethod
    def read(cls, folder: Path) -> Source:
        """Read the assignment in a folder, which has its name."""
        folder = Path(folder).resolve()
        data = (folder / f"{folder.name}.ipynb").read_bytes()
        cells, metadata = read_cells(data)
        digest = hashlib.sha256(data)
        for path in sorted(folder.glob("*.py")):
            digest.update(path.name.encode() + b"\0" + path.read_bytes())
        limits = metadata.get("coursework", {}).get("limits", {})
        return cls(folder.name, folder, tuple(_source_cell(cell) for cell in cells), digest.hexdigest(), limits)

    @cached_property
    def student_names(self) -> set[str]:
        """The names that solutions bind, imports left out, and no test does: they are the student's."""
        solved = set().union(*(cell.bound[1] for cell in self.cells if cell.kind in FROM_STUDENT))
        return solved - set().union(*(set().union(*cell.bound) for cell in self.cells if cell.kind == "test"))

    @cached_property
    def own_names(self) -> set[str]:
        """The names that given cells and tests bind and solutions do not: they never come from the student."""
        trusted = [cell.bound for cell in self.cells if cell.kind in ("given", "test")]
        return set().union(*(names for pair in trusted for names in pair)) - self.student_names


def _source_cell(cell: dict) -> Cell:
    grade, solution = bool(cell["nbgrader"].get("grade")), bool(cell["nbgrader"].get("solution"))
    task = bool(cell["nbgrader"].get("task"))
    if task or (grade and solution):
        kind = "manual"
    elif solution:
        kind = "solution"
    elif grade:
        kind = "test"
    else:
        kind = "given" if cell["type"] == "code" else "text"
    points = float(cell["nbgrader"].get("points", 0)) if kind in ("test", "manual") else None
    return Cell(kind, cell["type"], cell["text"], cell["grade_id"], points, cell["cell_id"])


@dataclass(frozen=True)
class Plan:
    """What is run and graded, in order, and what was odd about the submission.

    Attributes: cells, pairs (cell of the source, the student's text or None where the cell is the source's alone;
    for added cells the first is a Cell of kind added); notes; doubts, what a person should look at.
    """

    cells: list[tuple[Cell, str | None]]
    notes: list[str]
    doubts: list[str]


def plan(source: Source, data: bytes) -> Plan:
    """Return what follows from a submission (the bytes of its file). Raises BadNotebook."""
    submitted, _ = read_cells(data)
    origin, notes = _origins(source, submitted)
    taken = {index: cell for index, cell in zip(origin, submitted, strict=True) if index is not None}
    known = {cell.grade_id for cell in source.cells if cell.grade_id and cell.kind not in FROM_STUDENT}
    texts = [cell.released for cell in source.cells if cell.kind not in FROM_STUDENT]
    added: dict[int, list[Cell]] = {}
    place = -1
    for index, cell in zip(origin, submitted, strict=True):
        if index is not None:
            place = index
        elif not (cell["grade_id"] in known or not cell["text"].strip() or any(same(cell["text"], t) for t in texts)):
            added.setdefault(place, []).append(Cell("added", cell["type"], cell["text"]))
    cells = [(cell, cell.text) for cell in added.get(-1, [])]
    doubts = []
    for index, cell in enumerate(source.cells):
        found = taken.get(index)
        if cell.kind in FROM_STUDENT:
            cells.append((cell, found["text"] if found else ""))
            if found is None:
                doubts.append(f"the cell {cell.grade_id} is missing in the submission")
        else:
            cells.append((cell, None))
            if cell.kind in ("test", "given") and (found is None or not same(found["text"], cell.released)):
                state = "missing" if found is None else "changed"
                notes.append(f"the {cell.kind} cell {cell.grade_id} is {state} in the submission: the original is used")
        cells += [(cell, cell.text) for cell in added.get(index, [])]
    notes += _edited_metadata(source, submitted)
    if not taken:
        doubts = ["no cell of this assignment is in the submission: is it another notebook?"]
    return Plan(cells, notes, doubts)


def _origins(source: Source, submitted: list[dict]) -> tuple[list[int | None], list[str]]:
    """Return for each submitted cell the index of the source's cell that it is, or None; and notes.

    It is known by its name (grade_id), else by its id in the file, else by what was given in it or what it defines,
    else as the only one between its neighbours.
    """
    origin: list[int | None] = [None] * len(submitted)
    free = dict(enumerate(source.cells))
    notes = []

    def assign(n: int, index: int, mark: str) -> None:
        origin[n] = index
        cell = free.pop(index)
        if mark != "name" and cell.kind in FROM_STUDENT:
            notes.append(f"the cell {cell.grade_id} has lost its name; it was known by its {mark}")

    for key, mark in (("grade_id", "name"), ("cell_id", "id")):
        places = {(getattr(cell, key), cell.type): i for i, cell in free.items() if getattr(cell, key)}
        for n, cell in enumerate(submitted):
            index = places.get((cell[key], cell["type"]))
            if index in free and origin[n] is None:
                assign(n, index, mark)
            elif index is not None and origin[n] is None and source.cells[index].kind in FROM_STUDENT:
                notes.append(f"the cell {source.cells[index].grade_id} is there more than once; the copy runs as added")
    for n, cell in enumerate(submitted):
        if origin[n] is None:
            bound = Cell("added", cell["type"], cell["text"]).bound[1]
            alike = [
                i for i, known in free.items() if known.type == cell["type"] and _alike(known, cell["text"], bound)
            ]
            if alike:
                assign(n, alike[0], "content")
    lost = [index for index, cell in free.items() if cell.kind in FROM_STUDENT]
    for index in lost if any(place is not None for place in origin) else []:
        before = max((n for n, i in enumerate(origin) if i is not None and i < index), default=-1)
        after = min((n for n, i in enumerate(origin) if i is not None and i > index), default=len(submitted))
        between = [n for n in range(before + 1, after) if submitted[n]["type"] == source.cells[index].type]
        if len(between) == 1:
            assign(between[0], index, "place")
    return origin, notes


def _alike(cell: Cell, text: str, bound: set[str]) -> bool:
    """Whether a text, which binds these names, is the given one, or defines what is to be defined in the cell."""
    if cell.kind in FROM_STUDENT:
        return bool(cell.bound[1]) and cell.bound[1] <= bound
    return same(cell.released, text)


def _edited_metadata(source: Source, submitted: list[dict]) -> list[str]:
    points = {cell.grade_id: cell.points for cell in source.cells if cell.points is not None}
    return [
        f"the points of {cell['grade_id']} were changed in the submission: they do not count"
        for cell in submitted
        if cell["grade_id"] in points and cell["nbgrader"].get("points") != points[cell["grade_id"]]
    ]
