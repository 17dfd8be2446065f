"""One submission, graded: its cells run in the sandbox, the tests here, and the result is a dictionary for JSON."""

from __future__ import annotations

import ast
import base64
import builtins
import contextlib
import hashlib
import io
import math
import os
import re
import struct
import sys
import tempfile
import time
import types
import warnings
import zlib
from collections.abc import Iterator

from snnlib.coursework import Marks, StudentError, explain

from .notebooks import Cell, Source, plain_python, plan, same
from .remote import Student
from .sandbox import START_SECONDS, Backend, Limits

FORMAT = 1
TO_READ = "to be read: "
MAX_OUTPUTS = 50
MAX_PICTURE = 1 << 20
MAX_SIDE = 4000  # pixels
MAX_SHOWN = 16 << 20  # characters, pictures in base64, of all outputs of a notebook
CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|[\x00-\x08\x0b-\x1f\x7f]")


def failed(source: Source, student: str, data: bytes, reason: str) -> dict:
    """Return the result of a submission that cannot be graded."""
    head = _head(source, student, data)
    return {**head, "state": "failed", "needs_person": [one_line(reason)], "notes": [], "cells": []}


def grade(source: Source, student: str, data: bytes, backend: Backend) -> dict:
    """Grade the notebook `data` of a student. Raises BadNotebook, and SandboxFailed when no process can be started."""
    start = time.monotonic()
    work = plan(source, data)
    grading = Grading(source, Student(backend, student, Limits.of(source.limits)))
    with grading.ready():
        cells = [grading.cell(cell, text) for cell, text in work.cells]
    unread = [cell["grade_id"] for cell in cells if cell["kind"] == "manual" and cell["score"] is None]
    people = [*work.doubts, *grading.doubts, *([TO_READ + ", ".join(unread)] if unread else [])]
    return {
        **_head(source, student, data),
        "state": "graded",
        "needs_person": [one_line(text) for text in people],
        "notes": [one_line(text) for text in (*work.notes, *grading.student.notes)],
        "seconds": round(time.monotonic() - start, 3),
        "cells": cells,
    }


def _head(source: Source, student: str, data: bytes) -> dict:
    return {
        **{"format": FORMAT, "assignment": source.name, "student": student},
        **{"submission": hashlib.sha256(data).hexdigest(), "source": source.digest, "seconds": 0.0},
    }


class Grading:
    """The trusted side of one submission: the namespace in which given cells and tests run.

    In it stand the names of the given cells and tests, and, for what a test uses and these do not define, proxies of
    the student's. What the solutions of the source define is always the student's.
    """

    def __init__(self, source: Source, student: Student):
        self.source, self.student = source, student
        self.space: dict[str, object] = {"__name__": "__main__"}
        self.from_student: dict[str, object] = {}
        self.doubts: list[str] = []
        self.room = MAX_SHOWN

    @contextlib.contextmanager
    def ready(self) -> Iterator[None]:
        """Within the block cells can run: in an empty folder, with the hidden modules, without output."""
        os.environ["SNN_STUDENT"] = self.student.name
        sys.path.insert(0, str(self.source.folder))
        before = os.getcwd()
        try:
            with (
                tempfile.TemporaryDirectory(prefix="coursework-") as folder,
                contextlib.redirect_stdout(io.StringIO()),
                contextlib.redirect_stderr(io.StringIO()),
                warnings.catch_warnings(),
            ):
                os.chdir(folder)
                try:
                    yield
                finally:
                    os.chdir(before)
        finally:
            sys.path.remove(str(self.source.folder))
            self.student.close()

    def cell(self, cell: Cell, text: str | None) -> dict:
        """Run one cell of the plan and return its part of the result."""
        entry = {
            **{"grade_id": cell.grade_id, "kind": cell.kind, "type": cell.type},
            **{"points": cell.points, "score": None, "parts": []},
        }
        if cell.kind == "test":
            return {**entry, **self.test(cell), "source": None, "outputs": []}
        if cell.kind in ("given", "text"):
            if cell.kind == "given":
                self.given(cell)
            return {**entry, "source": None, "outputs": []}
        if cell.kind == "manual" and (not text.strip() or same(text, cell.released)):
            entry["score"] = 0.0
        outputs = self.run(text) if cell.type == "code" and text.strip() else []
        return {**entry, "source": text, "outputs": outputs}

    def run(self, code: str) -> list[dict]:
        """Run a cell in the student's process; return what it shows."""
        outputs, error = self.student.run_cell(code)
        shown = checked_outputs(outputs, self.student.limits.output)
        if error is not None and not any(output["type"] == "error" for output in shown):
            shown.append({"type": "error", "data": clean(str(error), 1000)})
        size = sum(len(output["data"]) for output in shown)
        if size > self.room:
            return [{"type": "error", "data": "what this cell shows is left out: the notebook shows too much"}]
        self.room -= size
        return shown

    def given(self, cell: Cell) -> None:
        """Run a given cell in both processes; that it fails is the student's doing only if it uses what is theirs."""
        _, failure = self.student.run_cell(cell.text, START_SECONDS)
        try:
            self.execute(cell)
        except Exception as error:
            failure = error
        if failure is not None and not self.from_student.keys() & names_in(compile_cell(cell)[0]):
            self.doubts.append(f"the given cell {cell.grade_id} fails: {type(failure).__name__}: {failure}")

    def test(self, cell: Cell) -> dict:
        """Run a test cell here; return its score and parts."""
        for name in [name for name, value in self.space.items() if type(value) is Marks]:
            del self.space[name]
        value, reason = None, None
        try:
            value = self.execute(cell)
        except Exception as error:
            reason = explain(error)
            if not isinstance(error, StudentError | NameError | AssertionError):
                self.doubts.append(f"the test {cell.grade_id} fails by itself: {type(error).__name__}: {error}")
        found = {id(marks): marks for marks in self.space.values() if type(marks) is Marks}
        parts = [
            {
                "points": part.points,
                "score": part.score,
                "title": part.title,
                "reason": part.reason and clean(part.reason),
            }
            for marks in found.values()
            for part in marks.parts
        ]
        got = sum((part["score"] for part in parts), 0.0)
        if reason is not None:
            rest = max(0.0, cell.points - sum(part["points"] for part in parts))
            parts.append({"points": rest, "score": 0.0, "title": "the rest", "reason": clean(reason)})
            score = got
        elif value is None or isinstance(value, bool) or not isinstance(value, int | float):
            score = got if parts else cell.points  # nothing was raised
        else:
            score = float(value)
        if not (math.isfinite(score) and 0 <= score <= cell.points + 1e-9):
            self.doubts.append(f"the test {cell.grade_id} gives {score} of {cell.points:g} points")
            score = None
        return {"score": score, "parts": parts}

    def execute(self, cell: Cell) -> object:
        """Run a cell of the source here; return the value of its last expression, or None."""
        body, last = compile_cell(cell)
        self.bind(names_in(body) | (names_in(last) if last else set()))
        try:
            exec(body, self.space)
            return eval(last, self.space) if last else None
        finally:
            self.take_back()

    def bind(self, names: set[str]) -> None:
        """Renew the names of the student's that stand in the namespace, and those among `names` that belong there."""
        known = self.space.keys() | set(dir(builtins))
        wanted = (
            self.from_student.keys() | (names - known)
        ) - self.source.own_names | names & self.source.student_names
        if wanted:
            values = self.student.values(sorted(wanted))
            for name in self.from_student.keys() - values.keys():
                self.space.pop(name, None)
            self.space.update(values)
            self.from_student = values

    def take_back(self) -> None:
        """Names that a cell of the source has bound anew are no longer the student's."""
        rest = {name: value for name, value in self.from_student.items() if self.space.get(name, self) is value}
        self.from_student = rest


def compile_cell(cell: Cell) -> tuple[types.CodeType, types.CodeType | None]:
    """Return the code of a cell of the source, its last expression apart where it ends with one."""
    tree = ast.parse(plain_python(cell.text))
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    name = f"<{cell.grade_id}>"
    expression = compile(ast.Expression(last.value), name, "eval") if last else None
    return compile(tree, name, "exec"), expression


def names_in(code: types.CodeType) -> set[str]:
    """Return the names that code looks up or binds globally, in its functions too, and those of attributes."""
    inner = (const for const in code.co_consts if isinstance(const, types.CodeType))
    return set(code.co_names).union(*map(names_in, inner))


# --- what comes out of the sandbox -----------------------------------------------------------------------------------


def clean(text: str, limit: int = 300) -> str:
    """Return text without control characters, no longer than the limit."""
    text = CONTROL.sub("", text).encode(errors="replace").decode()
    return text if len(text) <= limit else text[: limit - 1] + "…"


def one_line(text: str) -> str:
    """Return text as a single clean line."""
    return clean(" ".join(text.split()))


def checked_outputs(outputs: list, limit: int) -> list[dict]:
    """Return those of the outputs of a cell that are what they say they are."""
    found = []
    for output in outputs[:MAX_OUTPUTS]:
        match output:
            case {"type": "text" | "error" as kind, "data": str(text)}:
                found.append({"type": kind, "data": clean(text, limit)})
            case {"type": "png", "data": str(text)} if (picture := checked_png(text)) is not None:
                found.append({"type": "png", "data": picture})
    return found


def checked_png(text: str) -> str | None:
    """Return base64 of the picture, its bare chunks alone, or None when it is not a sound PNG of sensible size."""
    try:
        data = base64.b64decode(text[: 2 * MAX_PICTURE], validate=True)
    except ValueError:
        return None
    signature, rest, kept = data[:8], data[8:], []
    if signature != b"\x89PNG\r\n\x1a\n" or len(data) > MAX_PICTURE:
        return None
    while len(rest) >= 12:
        size, kind = struct.unpack(">I4s", rest[:8])
        body, end = rest[8 : 8 + size], 8 + size
        if len(rest) < end + 4 or rest[end : end + 4] != struct.pack(">I", zlib.crc32(kind + body)):
            return None
        if not kept and (kind != b"IHDR" or size != 13 or max(struct.unpack(">II", body[:8])) > MAX_SIDE):
            return None
        if kind in (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"):
            kept.append(rest[: end + 4])
        if kind == b"IEND":
            return base64.b64encode(signature + b"".join(kept)).decode()
        rest = rest[end + 4 :]
    return None
