"""Grade many submissions: several at a time, each in a process of its own, to be taken up where it was stopped.

A result is a file, written in one piece; what has a sound one for the same submission and the same source is not
graded again. A submission that breaks its process, or the grader's, costs nobody else anything.
"""

from __future__ import annotations

import ast
import contextlib
import ctypes
import fcntl
import hashlib
import html
import importlib
import json
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

from . import run
from .intake import Submission
from .notebooks import BadNotebook, Source, plain_python
from .sandbox import Backend, Limits, SandboxFailed

MARGIN = 30.0  # seconds that a grader may need beyond the time of the submission
PR_SET_PDEATHSIG = 1


class Busy(Exception):  # noqa: N818
    """Another process is grading in this course folder."""


# --- the folder of the course ----------------------------------------------------------------------------------------


@contextlib.contextmanager
def alone(course: Path) -> Iterator[None]:
    """Within the block nobody else grades in this folder, which only its owner may read. Raises Busy.

    Temporary files are made in one place, where those of a run that was killed are removed.
    """
    course.mkdir(parents=True, exist_ok=True)
    course.chmod(0o700)
    name = hashlib.sha256(os.fsencode(course)).hexdigest()[:12]
    with open(course / ".lock", "w") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise Busy(f"another process is grading in {course}") from None
        usual = tempfile.gettempdir()
        scratch = Path(usual) / f"coursework-{name}"
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir(mode=0o711)
        tempfile.tempdir = str(scratch)
        try:
            yield
        finally:
            tempfile.tempdir = usual
            shutil.rmtree(scratch, ignore_errors=True)


def write(path: Path, data: bytes) -> None:
    """Write a file in one piece: it is there as a whole or as it was before."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.partial")
    with open(part, "wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())
    part.replace(path)


def write_result(course: Path, result: dict) -> None:
    """Store a result where `result_path` says."""
    path = result_path(course, result["assignment"], result["student"])
    write(path, json.dumps(result, indent=1, allow_nan=False).encode())


def result_path(course: Path, assignment: str, student: str) -> Path:
    """The file of a result."""
    return course / "results" / assignment / f"{student}.json"


def read_result(course: Path, assignment: str, student: str) -> dict | None:
    """Return the stored result, or None where there is no sound one."""
    try:
        result = json.loads(result_path(course, assignment, student).read_bytes())
    except (OSError, ValueError):
        return None
    return result if isinstance(result, dict) and result.get("format") == run.FORMAT else None


def store_submission(course: Path, source: Source, submission: Submission) -> None:
    """Keep what was submitted where nbgrader looks for it."""
    path = course / "submitted" / submission.student / source.name / f"{source.name}.ipynb"
    if not path.exists() or path.read_bytes() != submission.data:
        write(path, submission.data)


# --- grading ---------------------------------------------------------------------------------------------------------


def grade_all(
    submissions: list[Submission],
    source: Source,
    course: Path,
    backend: Backend,
    workers: int = 2,
    again: bool = False,
    say: Callable[[str], None] = print,
) -> list[dict]:
    """Grade the submissions that have no result yet (or, with `again`, all); return all results, in order.

    What could not be graded is tried again: the reason may have been this machine's.
    """
    for part in (course / "results" / source.name).glob(".*.partial"):
        part.unlink()
    preload(source)
    waiting = []
    for submission in submissions:
        if submission.problem is None:
            store_submission(course, source, submission)
        old = None if again else read_result(course, source.name, submission.student)
        digest = hashlib.sha256(submission.data).hexdigest()
        wanted = {"state": "graded", "submission": digest, "source": source.digest, "doubts": submission.doubts}
        if old is None or any(old.get(key) != value for key, value in wanted.items()):
            waiting.append(submission)
    if len(waiting) < len(submissions):
        say(f"{len(submissions) - len(waiting)} of {len(submissions)} have been graded before")
    _run(waiting, source, course, backend, workers, say)
    return [read_result(course, source.name, submission.student) for submission in submissions]


def preload(source: Source) -> None:
    """Import what the given cells and tests import, once for all graders, which are copies of this process."""
    if any("matplotlib" in cell.text for cell in source.cells):
        importlib.import_module("matplotlib.font_manager")
    imports = (
        node
        for cell in source.cells
        if cell.kind in ("given", "test")
        for node in ast.walk(ast.parse(plain_python(cell.text)))
        if isinstance(node, ast.Import | ast.ImportFrom)
    )
    sys.path.insert(0, str(source.folder))
    for node in imports:
        for module in [node.module] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]:
            with contextlib.suppress(ImportError):
                importlib.import_module(module)
    sys.path.remove(str(source.folder))


def _run(
    waiting: list[Submission], source: Source, course: Path, backend: Backend, workers: int, say: Callable[[str], None]
) -> None:
    """Grade in up to `workers` processes at a time."""
    running: dict[int, tuple[Submission, float]] = {}
    begin, done, total = time.monotonic(), 0, len(waiting)
    queue = list(reversed(waiting))
    patience = Limits.of(source.limits).seconds + MARGIN
    try:
        while queue or running:
            while queue and len(running) < workers:
                submission = queue.pop()
                running[_start(submission, source, course, backend)] = submission, time.monotonic() + patience
            time.sleep(0.01)
            for pid, (submission, until) in list(running.items()):
                late = time.monotonic() > until
                if late:
                    os.kill(pid, signal.SIGKILL)
                if os.waitpid(pid, 0 if late else os.WNOHANG) == (0, 0):
                    continue
                del running[pid]
                result = _finished(submission, source, course, late)
                done += 1
                left = (time.monotonic() - begin) / done * (total - done)
                say(f"[{done}/{total}] {summary(result)}" + (f"; {clock(left)} left" if done < total else ""))
    finally:
        for pid in running:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def _start(submission: Submission, source: Source, course: Path, backend: Backend) -> int:
    """Fork a process that grades one submission and stores the result; return its id."""
    sys.stdout.flush()
    parent = os.getpid()
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # with it ends what runs in the sandbox
        if os.getppid() == parent:
            write_result(course, grade_one(submission, source, backend))
            status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


def grade_one(submission: Submission, source: Source, backend: Backend) -> dict:
    """Return the result of one submission, whatever it is."""
    if submission.problem is not None:
        return _failed(submission, source, submission.problem)
    try:
        result = run.grade(source, submission.student, submission.data, backend)
    except BadNotebook as error:
        return _failed(submission, source, str(error))
    except SandboxFailed as error:
        return _failed(submission, source, f"no sandbox could be started: {error}")
    except Exception as error:
        traceback.print_exc()
        return _failed(submission, source, f"the grader failed: {type(error).__name__}: {error}")
    return _noted(submission, result)


def _failed(submission: Submission, source: Source, reason: str) -> dict:
    return _noted(submission, run.failed(source, submission.student, submission.data, reason))


def _noted(submission: Submission, result: dict) -> dict:
    """Return the result with what was noted when the submission was found."""
    found = {"needs_person": submission.doubts, "notes": submission.notes}
    noted = {key: [*map(run.one_line, lines), *result[key]] for key, lines in found.items()}
    return {**result, **noted, "doubts": submission.doubts}


def renamed(submissions: list[Submission], course: Path, assignment: str) -> list[str]:
    """Return a line for each student who has a result under another id too, from before there was a roster."""
    return [
        f"results/{assignment}/{one.number}.json: {one.student} was graded as {one.number} before; remove it, and "
        f"{one.number} from the gradebook (nbgrader db student remove {one.number} --force)"
        for one in submissions
        if one.number and result_path(course, assignment, one.number).exists()
    ]


def _finished(submission: Submission, source: Source, course: Path, late: bool) -> dict:
    """Return the result that a process has left; where it left none, that is the result."""
    result = read_result(course, source.name, submission.student)
    digest = hashlib.sha256(submission.data).hexdigest()
    if late or result is None or (result["submission"], result["source"]) != (digest, source.digest):
        result = _failed(
            submission, source, "the grading took too long" if late else "the process that graded it ended"
        )
        write_result(course, result)
    return result


# --- what is said ----------------------------------------------------------------------------------------------------


def points(result: dict) -> tuple[float, float]:
    """The points got by the tests, and the points that there are, of a person's too."""
    cells = [cell for cell in result["cells"] if cell["points"] is not None]
    return sum(cell["score"] or 0.0 for cell in cells), sum(cell["points"] for cell in cells)


def summary(result: dict) -> str:
    """One line about a result."""
    if result["state"] == "failed":
        return f"{result['student']}: not graded"
    got, total = points(result)
    return f"{result['student']}: {got:g} of {total:g}, {result['seconds']:.1f} s"


def clock(seconds: float) -> str:
    """Minutes and seconds."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def _section(result: dict) -> str:
    """Where a result stands in the report: what every submission has, answers to read, does not hide the rest."""
    people = result["needs_person"]
    if result["state"] == "failed":
        return "Not graded"
    if not people:
        return "Complete"
    return "To be read" if len(people) == 1 and people[0].startswith(run.TO_READ) else "For a person"


def report(results: list[dict], left_out: list[str], backend: Backend) -> str:
    """Return the text that names every submission that needs a person, and why."""
    lines = [f"{len(results)} submissions, sandbox: {backend.name}"]
    if not backend.safe:
        lines.append("WARNING: student code ran WITHOUT A SANDBOX, with all rights of the one who graded (--unsafe)")
    sections: dict[str, list[dict]] = {"Not graded": [], "For a person": [], "To be read": [], "Complete": []}
    for result in results:
        sections[_section(result)].append(result)
    for title, members in sections.items():
        if members:
            lines += ["", f"{title} ({len(members)})"]
            for result in members:
                people = result["needs_person"]
                lines.append(f"  {summary(result)}" + (f"; {people[0]}" if title == "To be read" else ""))
                lines += [f"    - {reason}" for reason in people if title != "To be read"]
                lines += [f"    . {note}" for note in result["notes"]]
    if left_out:
        lines += ["", f"Left out ({len(left_out)})", *(f"  {run.one_line(line)}" for line in left_out)]
    return "\n".join(lines) + "\n"


def write_report(course: Path, text: str) -> None:
    """Store the report as text and as a page."""
    write(course / "report.txt", text.encode(errors="replace"))
    page = f"<pre>{html.escape(text)}</pre>\n"
    page = f'<!DOCTYPE html>\n<html lang="en"><meta charset="utf-8"><title>Report</title>{page}</html>\n'
    write(course / "report.html", page.encode(errors="replace"))
