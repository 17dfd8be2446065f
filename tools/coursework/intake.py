"""Find the submissions of an assignment in what an instructor has: a folder, a zip, a download from Moodle or Canvas.

What is understood, in a folder or a zip:

    <student>.ipynb                                       one file for each student
    <student>/<anything>.ipynb                            one folder for each student
    <student>/<assignment>/<assignment>.ipynb             nbgrader's submitted/
    Full Name_12345_assignsubmission_file_/<file>.ipynb   Moodle; the student is 12345
    namefirst[_LATE]_12345_67890_<file>.ipynb             Canvas; the student is 12345

A roster (CSV with the columns of nbgrader: id, first_name, last_name, lms_user_id) turns names and numbers of the
learning platform into ids. Moodle numbers anew in each assignment, so there the name decides; whom a name does not
tell apart from a namesake, the number may. A student's own file may be a zip with one notebook in it. Nothing is
unpacked to disk.
"""

from __future__ import annotations

import csv
import io
import os
import re
import stat
import unicodedata
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path, PurePosixPath

from .notebooks import MAX_BYTES

MAX_FILES = 20_000
MAX_TOTAL = 1 << 30  # bytes of all files, which are held in memory
ID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@+-]{0,63}")
MOODLE = re.compile(r"(?P<name>.+)_(?P<number>\d+)_assignsubmission_file(_.*)?")
CANVAS = re.compile(r"(?P<name>[^_]+)(?P<late>_LATE)?_(?P<number>\d+)_(?P<attempt>\d+)_(?P<file>.+)")
NOTEBOOKS = {".ipynb", ".zip"}
IGNORED = {"__MACOSX", ".ipynb_checkpoints", ".git"}


@dataclass
class Submission:
    """One student's file: its bytes, where and of when it is, what was odd; `problem` says why it cannot be graded,
    `doubts` what a person should look at, `number` the id where a roster gave another one."""

    student: str
    data: bytes
    place: str
    when: float = 0.0
    notes: list[str] = field(default_factory=list)
    problem: str | None = None
    doubts: list[str] = field(default_factory=list)
    number: str | None = None


@dataclass(frozen=True)
class File:
    """A regular file that was found: its path within the folder or zip, time, and bytes, or why there are none."""

    path: PurePosixPath
    when: float
    data: bytes = b""
    problem: str | None = None


def collect(place: Path, assignment: str, roster: Path | None = None) -> tuple[list[Submission], list[str]]:
    """Return the submissions, one for each student, sorted, and a line for each thing that was left out.

    Raises FileNotFoundError, and ValueError for a file that is no zip.
    """
    place = Path(place)
    known = Roster(read_roster(roster) if roster else [])
    found: dict[str, Submission] = {}
    lines = []
    for path, file in _unwrapped(list(_in_folder(place) if place.is_dir() else _in_zip(place)), assignment):
        number, student, doubts = _student(path, known)
        if not ID.fullmatch(student):
            lines.append(f"{file.path}: {file.problem or 'it is not clear whose it is'}")
        elif len(path.parts) > 2 and path.parts[1] != assignment:
            lines.append(f"{file.path}: it seems to belong to another assignment")
        else:
            submission = _submission(student, file)
            submission.number = number if number != student else None
            submission.doubts += doubts
            other = found.get(student)
            found[student] = submission if other is None else _better(other, submission, assignment)
    return [found[student] for student in sorted(found)], lines


def _unwrapped(files: list[File], assignment: str) -> list[tuple[PurePosixPath, File]]:
    """Return each file with its path, less a folder around everything (as a zip of a folder has it)."""
    paths = [file.path for file in files]
    tops = {path.parts[0] for path in paths}
    if len(tops) == 1 and all(len(path.parts) > 1 for path in paths):
        inside = {path.parts[1] for path in paths} - {assignment}
        if tops == {"submitted"} or len(inside) > 1:
            paths = [PurePosixPath(*path.parts[1:]) for path in paths]
    return list(zip(paths, files, strict=True))


def _better(one: Submission, other: Submission, assignment: str) -> Submission:
    """Return the one of two files of a student that counts: a sound one, one of the right name, the newest."""

    def rank(submission: Submission) -> tuple:
        path = PurePosixPath(submission.place)
        return submission.problem is None, path.name == f"{assignment}.ipynb", submission.when, submission.place

    loser, winner = sorted((one, other), key=rank)
    if PurePosixPath(loser.place).suffix in NOTEBOOKS:
        winner.notes.append(f"{winner.place} counts, not {loser.place}, which is older or has another name")
    winner.notes += loser.notes
    winner.doubts += [doubt for doubt in loser.doubts if doubt not in winner.doubts]
    return winner


def _submission(student: str, file: File) -> Submission:
    submission = Submission(student, file.data, str(file.path), file.when, problem=file.problem)
    canvas = CANVAS.fullmatch(file.path.name)
    if canvas and canvas["late"]:
        submission.notes.append("handed in late, as Canvas says")
    if submission.problem is None and file.path.suffix == ".zip":
        _open_own_zip(submission)
    elif submission.problem is None and file.path.suffix != ".ipynb":
        submission.problem = f"{file.path.name} is not a notebook"
    return submission


def _open_own_zip(submission: Submission) -> None:
    """Replace the zip that a student sent by the notebook in it."""
    try:
        files = [file for file in _members(io.BytesIO(submission.data), MAX_BYTES) if file.path.suffix == ".ipynb"]
    except ValueError as error:
        submission.problem = str(error)
        return
    bad = [file.problem for file in files if file.problem]
    if bad or len(files) != 1:
        submission.problem = bad[0] if bad else f"the zip holds {len(files)} notebooks, not one"
    else:
        submission.data = files[0].data
        submission.notes.append(f"taken from {files[0].path} in a zip")


# --- whose file it is ------------------------------------------------------------------------------------------------


def read_roster(path: Path) -> list[dict[str, str]]:
    """Return the rows of a roster. Raises ValueError unless each has an id."""
    with open(path, newline="", encoding="utf-8-sig") as stream:
        rows = list(csv.DictReader(stream))
    if not all(row.get("id") for row in rows):
        raise ValueError(f"{path} needs a column id with an entry in every row, and commas between the columns")
    return rows


class Roster:
    """The students of a course: `ids` by id and by the platform's number, and by name those who have it."""

    def __init__(self, rows: list[dict[str, str]]):
        self.ids = {key: row["id"] for row in rows for key in (row.get("lms_user_id"), row["id"]) if key}
        self.names: dict[str, set[str]] = {}
        for row in rows:
            name = _plain(f"{row.get('first_name') or ''} {row.get('last_name') or ''}")
            self.names.setdefault(name, set()).add(row["id"])

    def called(self, name: str) -> set[str]:
        """The ids of those who have this name."""
        return self.names.get(_plain(name), set()) if name else set()

    def student(self, name: str, number: str) -> str | None:
        """The id of the one who has this name; of several, or of those without a name, the one of that number."""
        called = self.called(name)
        if len(called) == 1:
            return next(iter(called))
        found = self.ids.get(number)
        return found if found in called | self.names.get("", set()) else None


def _plain(name: str) -> str:
    """A name without what differs from one writing of it to another."""
    return " ".join(unicodedata.normalize("NFKC", name).casefold().split())


def _student(path: PurePosixPath, roster: Roster) -> tuple[str, str, list[str]]:
    """Return what the name of the file calls the student, the id that follows, and what is doubtful about it."""
    moodle = next((match for part in path.parts[:-1] if (match := MOODLE.fullmatch(part))), None)
    canvas = CANVAS.fullmatch(path.name)
    if moodle:
        name, number = moodle["name"], moodle["number"]
        student = roster.student(name, number)
    else:
        name = number = canvas["number"] if canvas else path.parts[0] if len(path.parts) > 1 else path.stem
        student = roster.ids.get(number) or roster.student(name, number)
    if student or not roster.ids:
        return number, student or number, []
    several = len(roster.called(name)) > 1
    why = f"several students of the roster are called {name}" if several else f"{name} is not in the roster"
    return number, number, [f"{why}: the id is taken to be {number}"]


# --- files in folders and zips ---------------------------------------------------------------------------------------


def _wanted(path: PurePosixPath) -> bool:
    return not IGNORED & set(path.parts) and not path.name.startswith(".") and path.name != "timestamp.txt"


def _in_folder(folder: Path) -> Iterator[File]:
    """Yield the regular files of a folder; what is a link or a device is named and never followed."""
    count = total = 0
    for top, folders, names in os.walk(folder):
        for name in sorted([*names, *(name for name in folders if os.path.islink(os.path.join(top, name)))]):
            full = Path(top, name)
            path = PurePosixPath(full.relative_to(folder))
            if not _wanted(path):
                continue
            state = full.lstat()
            count, total = count + 1, total + state.st_size
            if count > MAX_FILES or total > MAX_TOTAL:
                raise ValueError(f"{folder} holds too many files or more than {MAX_TOTAL >> 30} GB")
            if not stat.S_ISREG(state.st_mode):
                yield File(path, state.st_mtime, problem="a link or device instead of a file")
            elif state.st_size > MAX_BYTES:
                yield File(path, state.st_mtime, problem=f"the file is larger than {MAX_BYTES >> 20} MB")
            else:
                yield File(path, state.st_mtime, full.read_bytes())
        folders.sort()


def _in_zip(path: Path) -> Iterator[File]:
    """Yield the files of a zip from a learning platform."""
    with open(path, "rb") as stream:
        yield from _members(stream)


def _members(stream: io.BufferedIOBase, total: int = MAX_TOTAL) -> Iterator[File]:
    """Yield the files in a zip, each read into memory, as far as the limits go. Raises ValueError."""
    try:
        archive = zipfile.ZipFile(stream)
    except (zipfile.BadZipFile, OSError, NotImplementedError, ValueError):
        raise ValueError("the file is not a sound zip") from None
    members = [info for info in archive.infolist() if not info.is_dir()]
    if len(members) > MAX_FILES:
        raise ValueError(f"the zip holds more than {MAX_FILES} files")
    if sum(info.file_size for info in members) > total:
        raise ValueError("the zip holds more data than it may")
    for info in members:
        path = PurePosixPath(info.filename)
        if _wanted(path):
            try:
                when = datetime(*info.date_time).timestamp()
            except ValueError:
                when = 0.0
            yield File(path, when, *_read_member(archive, info, path))


def _read_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, path: PurePosixPath) -> tuple[bytes, str | None]:
    """Return the bytes of a file in a zip, or nothing and why."""
    if path.is_absolute() or ".." in path.parts or "\\" in info.filename or ":" in path.parts[0]:
        return b"", "its path in the zip leads elsewhere"
    if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG):
        return b"", "a link or device instead of a file"
    if info.file_size > MAX_BYTES:
        return b"", f"the file is larger than {MAX_BYTES >> 20} MB"
    try:
        with archive.open(info) as member:
            data = member.read(MAX_BYTES + 1)  # what is declared may be wrong
    except (zipfile.BadZipFile, OSError, RuntimeError, NotImplementedError, EOFError, ValueError) as error:
        return b"", f"it cannot be read from the zip: {error}"
    except Exception as error:  # zlib.error, lzma.LZMAError and their likes have no common base
        return b"", f"it is damaged in the zip: {error}"
    return (data, None) if len(data) <= MAX_BYTES else (b"", f"the file is larger than {MAX_BYTES >> 20} MB")
