"""What the tests of the coursework are made of: parts with points, comparisons that explain, a seed for each student.

A test cell collects parts, and its last expression is the points got:

    marks = Marks()
    with marks(2, "shape of dW"):
        expect(layer_backward(u, x, W), np.zeros((5, 3)), name="dW")
    marks.total()

It says the same in the student's notebook and in grading. There the student's functions run in another process, and
what they raise arrives as `StudentError`. What they return is compared by its exact type, so that no object decides
by itself what it is equal to. NumPy and the standard library are all that is needed.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

MAX_REASON = 300  #: Characters that the reason for lost points may have.


class Mistake(Exception):  # noqa: N818 - the student made one, the program did not
    """What a student's result has wrong, in one sentence for the student."""


class StudentError(Exception):
    """The student's code raised an error, in grading.

    Attributes: kind, the name of the error's type; message; line, its line in the student's cell, counted from 1, or
    None when it is not known.
    """

    def __init__(self, kind: str, message: str = "", line: int | None = None):
        super().__init__(kind, message, line)
        self.kind, self.message, self.line = kind, message, line

    def __str__(self) -> str:
        place = "" if self.line is None else f" in line {self.line} of its cell"
        return f"your code raised {self.kind}{place}" + (f": {self.message}" if self.message else "")


class _Limit(StudentError):  # noqa: N818
    def __str__(self) -> str:
        return self.message or type(self).__doc__.rstrip(".")


class TooLong(_Limit):
    """Your code ran longer than it may."""


class TooMuch(_Limit):
    """Your code wanted more memory, output or data than it may have."""


class Died(_Limit):
    """The process of your code ended."""


# --- parts of a test cell --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Part:
    """One line of the marks.

    Attributes
    ----------
    points : what the part is worth.
    title : what was tested.
    reason : why the points are lost; None when they are not.
    """

    points: float
    title: str
    reason: str | None = None

    @property
    def score(self) -> float:
        """The points got: all or none."""
        return float(self.points) if self.reason is None else 0.0

    def __str__(self) -> str:
        return (
            f"+{self.points:g} {self.title}" if self.reason is None else f"-{self.points:g} {self.title}: {self.reason}"
        )


class Marks:
    """The parts of one test cell, in the attribute `parts`."""

    def __init__(self) -> None:
        self.parts: list[Part] = []

    @contextmanager
    def __call__(self, points: float, title: str) -> Iterator[None]:
        """A block, named by title, that earns its points when it raises nothing; what it raises becomes the reason."""
        reason = None
        try:
            yield
        except Exception as error:
            reason = explain(error)
        self.parts.append(Part(points, title, reason))

    def total(self) -> float:
        """The points got; prints one line for each part."""
        for part in self.parts:
            print(part)
        return float(sum(part.score for part in self.parts))


def explain(error: Exception) -> str:
    """One sentence that tells a student what an error in a test means."""
    kind = _kind_of(error)
    if kind == "NotImplementedError":
        return "nothing here yet"
    if isinstance(error, Mistake | StudentError):
        text = str(error)
    elif isinstance(error, NameError) and error.name:
        text = f"there is no {error.name}: did its cell run without an error?"
    elif isinstance(error, AssertionError):
        text = str(error) or "a check failed"
    else:
        text = f"{kind}: {error}"
    if re.search(r"could not be broadcast|matmul: .* mismatch|not aligned", text):
        text = f"shapes do not fit (a transpose, or the wrong layer?); {text}"
    text = " ".join(text.split())
    return text if len(text) <= MAX_REASON else text[: MAX_REASON - 1] + "…"


def _kind_of(error: Exception) -> str:
    """The name of an error's type, also when it was raised in the student's process."""
    return error.kind if type(error) is StudentError else type(error).__name__


# --- comparisons -----------------------------------------------------------------------------------------------------


def expect(
    got: object,
    want: object,
    name: str = "the result",
    rtol: float = 1e-7,
    atol: float = 1e-9,
    mistakes: dict[str, object] | None = None,
) -> None:
    """Raise Mistake, with a sentence that guides, unless got is what is wanted.

    Parameters
    ----------
    got : what the student's function returned.
    want : an array, number, string, None, or a tuple, list or dict of such. Types must be the same, except that an int
        or np.float64 passes for a float; arrays must have the same shape and dtype.
    name : what the student calls it.
    rtol, atol : floats and complex numbers may differ by atol + rtol |want|; nan is never right.
    mistakes : {sentence: what one gets who makes this mistake}; when got is that, the sentence is the reason.

    >>> try:
    ...     expect(np.ones(3), np.array([1.0, 2.0, 1.0]), name="dx")
    ... except Mistake as mistake:
    ...     print(mistake)
    dx: the largest difference is at [1]: expected 2, got 1
    """
    problem = _problem(got, want, rtol, atol)
    if problem is None:
        return
    made = (sentence for sentence, value in (mistakes or {}).items() if _problem(got, value, rtol, atol) is None)
    raise Mistake(f"{name}: {next(made, problem)}")


def expect_nonzero(got: object, name: str = "the result") -> None:
    """Raise Mistake, which begins with name, unless got, a float or an array of them, is finite and not all zero.

    For tests that hold one result of a student against another, which zeros would pass.
    """
    like = np.zeros_like(got, np.float64) if type(got) is np.ndarray else 0.0
    expect(got, like, name, atol=np.inf)
    if not np.any(got):
        raise Mistake(f"{name}: it is zero")


def expect_raises(error: type[Exception], function: Callable, *args: object) -> None:
    """Raise Mistake unless function(*args) raises that error, here or, in grading, in the student's process."""
    try:
        function(*args)
    except Exception as other:
        kind = _kind_of(other)
        if kind == "NotImplementedError":
            raise
        if isinstance(other, error) or kind == error.__name__:
            return
        raise Mistake(f"expected {error.__name__}; {explain(other)}") from None
    raise Mistake(f"expected {error.__name__}, but nothing was raised")


_KINDS = {np.ndarray: "an array", type(None): "None", int: "an int"}
_NUMBERS = (float, int, np.float64)


def _kind(value: object) -> str:
    return _KINDS.get(type(value), f"a {type(value).__name__}")


def _problem(got: object, want: object, rtol: float, atol: float) -> str | None:
    """What got has wrong, or None."""
    if type(want) in (float, np.float64):
        if type(got) not in _NUMBERS:
            return _wrong_kind(got, want)
        return _array_problem(np.float64(got), np.float64(want), rtol, atol)
    if type(got) is not type(want):
        return _wrong_kind(got, want)
    if type(want) is np.ndarray:
        return _array_problem(got, want, rtol, atol)
    if type(want) is complex:
        return _array_problem(np.complex128(got), np.complex128(want), rtol, atol)
    if type(want) is dict:
        if got.keys() != want.keys():
            return f"expected the keys {', '.join(want)}, got {', '.join(map(str, got))}"
        return _first_problem(((key, got[key], want[key]) for key in want), rtol, atol)
    if type(want) in (tuple, list):
        if len(got) != len(want):
            return f"expected {len(want)} values, got {len(got)}"
        return _first_problem(((i, *pair) for i, pair in enumerate(zip(got, want, strict=True))), rtol, atol)
    return None if got == want else f"expected {want!r}, got {got!r}"


def _wrong_kind(got: object, want: object) -> str:
    hint = ": did you forget to return it?" if got is None else ""
    return f"expected {_kind(want)}, got {_kind(got)}{hint}"


def _first_problem(items: Iterator[tuple[object, object, object]], rtol: float, atol: float) -> str | None:
    for place, got, want in items:
        problem = _problem(got, want, rtol, atol)
        if problem is not None:
            return f"at [{place!r}]" + (problem[3:] if problem.startswith("at [") else f", {problem}")
    return None


def _array_problem(got: np.ndarray, want: np.ndarray, rtol: float, atol: float) -> str | None:
    if got.shape != want.shape:
        hint = ": did you forget a transpose?" if got.ndim > 1 and got.shape == want.shape[::-1] else ""
        return f"expected shape {want.shape}, got {got.shape}{hint}"
    if got.dtype != want.dtype:
        return f"expected dtype {want.dtype}, got {got.dtype}"
    if want.dtype.kind not in "fc":
        distance, wrong = got != want, got != want
    else:
        lost = ~np.isfinite(got) & (got != want)
        if lost.any():
            place = _first(lost)
            return f"{_at(place)}got {_short(got[place])}, which is not finite"
        with np.errstate(invalid="ignore", over="ignore"):
            distance = np.where(got == want, 0.0, np.nan_to_num(np.abs(got - want), nan=np.inf))
            wrong = distance > atol + rtol * np.abs(np.where(np.isfinite(want), want, 0.0))
    if not wrong.any():
        return None
    place = _first(wrong & (distance == distance.max()))
    pair = f"{_at(place)}expected {_short(want[place])}, got {_short(got[place])}"
    return f"the largest difference is {pair}" if place else pair


def _first(mask: np.ndarray) -> tuple[int, ...]:
    """The index of the first True."""
    return tuple(np.argwhere(mask)[0].tolist())


def _at(place: tuple[int, ...]) -> str:
    return f"at {list(place)}: " if place else ""


def _short(number: np.generic) -> str:
    return f"{number:.6g}" if number.dtype.kind in "fc" else str(number)


# --- who the student is ----------------------------------------------------------------------------------------------


def student() -> str:
    """The student's id: $SNN_STUDENT, else the file STUDENT beside the notebook, else $JUPYTERHUB_USER.

    Raises LookupError, which says what to do, when there is none of them.
    """
    beside = Path("STUDENT")
    found = (
        os.environ.get("SNN_STUDENT"),
        beside.read_text(encoding="utf-8") if beside.is_file() else None,
        os.environ.get("JUPYTERHUB_USER"),
    )
    for name in found:
        if name and name.strip():
            return name.strip()
    raise LookupError("who are you? Put your student id into a file named STUDENT beside this notebook")


def seed(student_id: str, assignment: str) -> int:
    """A number from 0 to 2^32 - 1 that is the same everywhere for this student_id and assignment.

    >>> seed("ada", "project") == seed(" Ada ", "project")
    True
    """
    digest = hashlib.sha256(f"{assignment}\n{student_id.strip().casefold()}".encode()).digest()
    return int.from_bytes(digest[:4], "big")
