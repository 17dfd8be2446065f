"""The student's process as the trusted one sees it: cells to run, and names that stand for what they define."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator

from snnlib.coursework import Died, StudentError, TooLong, TooMuch

from .protocol import ProtocolError, TooLarge, decode, encode
from .sandbox import GRACE_SECONDS, MB, Backend, Limits, Sandbox

MAX_STARTS = 4
MAX_NAME = 80  # characters of a type's name


class Handle:
    """Something of the student's that is not plain data: to call, to ask for attributes and items, to pass back.

    Its class is a subclass that has the name of the student's class.
    """

    __slots__ = ("_place", "_start", "_student")

    def __init__(self, student: Student, place: dict, start: int):
        self._student, self._place, self._start = student, place, start

    def __repr__(self) -> str:
        return f"<student's {type(self).__name__}>"

    def __call__(self, *args: object, **options: object) -> object:
        return self._student.use(self, "call", args, options)

    def __getattr__(self, name: str) -> object:
        if name.startswith("_"):  # Python and NumPy ask for such by themselves
            raise AttributeError(name)
        try:
            return self._student.use(self, "attribute", (name,))
        except StudentError as error:
            if error.kind == "AttributeError":
                raise AttributeError(error.message) from None
            raise

    def __getitem__(self, key: object) -> object:
        return self._student.use(self, "item", (key,))

    def __len__(self) -> int:
        length = self._student.use(self, "length")
        if type(length) is not int or not 0 <= length < 1 << 31:
            raise StudentError("TypeError", f"the length of {self!r} is not a number of items")
        return length

    def __iter__(self) -> Iterator[object]:
        return (self[i] for i in range(len(self)))


class Student:
    """Runs a student's code in a sandbox; a process that ended is started anew and runs the cells so far again.

    Attributes: notes, what happened to the process; until, when the time of the submission is up (time.monotonic).
    """

    def __init__(self, backend: Backend, student: str, limits: Limits):
        self.backend, self.name, self.limits = backend, student, limits
        self.until = time.monotonic() + limits.seconds
        self.notes: list[str] = []
        self.cells: list[tuple[str, float]] = []  # those that can run again
        self.box: Sandbox | None = None
        self.starts = 0

    def close(self) -> None:
        """End the process, if there is one."""
        if self.box is not None:
            self.box.close()
            self.box = None

    # what the grader asks for

    def run_cell(self, code: str, seconds: float | None = None) -> tuple[list[dict], StudentError | None]:
        """Run a cell; return what it shows, as the worker says, and the error that it ended with."""
        seconds = seconds or self.limits.cell_seconds
        try:
            reply, _ = self._ask({"do": "cell", "code": code}, seconds)
        except StudentError as error:
            return [], error
        error = self._error(reply, seconds)
        if not isinstance(error, TooLong):
            self.cells.append((code, seconds))
        if reply.get("truncated") is True:
            self._note(f"a cell showed more than {self.limits.output} characters; the rest is left out")
        outputs = reply.get("outputs")
        return outputs if isinstance(outputs, list) else [], error

    def values(self, names: list[str]) -> dict[str, object]:
        """Return the values of those of the names that the student's process knows: plain data or handles."""
        value = self._value({"do": "names", "names": names}, [], self.limits.call_seconds)
        if type(value) is not dict:
            raise self._broken()
        return {name: value[name] for name in names if name in value}

    def use(self, handle: Handle, do: str, args: tuple = (), options: dict | None = None) -> object:
        """Call a handle, or get its attribute, item or length."""
        blobs: list[bytes] = []
        place = self._reference(handle)
        passed = [encode(part, blobs, self._reference) for part in (list(args), options or {})]
        message = {"do": do, "target": place, "args": passed[0], "options": passed[1]}
        return self._value(message, blobs, self.limits.call_seconds)

    # messages

    def _ask(self, message: dict, seconds: float, blobs: list[bytes] = ()) -> tuple[dict, list]:
        """Send a message and return the reply; the process has that many seconds, and a little to be interrupted."""
        self._start()
        left = self.until - time.monotonic()
        if left <= 0:
            raise TooLong("TooLong", f"the time for the whole notebook, {self.limits.seconds:g} s, is over")
        seconds = min(seconds, left)
        self.box.deadline = time.monotonic() + seconds + GRACE_SECONDS
        try:
            self.box.channel.send({**message, "seconds": seconds}, blobs)
            return self.box.channel.receive()
        except TooLarge as error:
            raise TooMuch("TooMuch", f"it cannot be passed to your code: {error}") from None
        except (OSError, EOFError):
            raise self._ended(seconds) from None
        except ProtocolError:
            raise self._broken() from None
        finally:
            if self.box is not None:
                self.box.deadline = math.inf

    def _value(self, message: dict, blobs: list[bytes], seconds: float) -> object:
        reply, data = self._ask(message, seconds, blobs)
        error = self._error(reply, seconds)
        if error is not None:
            raise error
        try:
            return decode(reply.get("value"), data, self._handle)
        except ProtocolError:
            raise self._broken() from None

    def _error(self, reply: dict, seconds: float) -> StudentError | None:
        """Return the error that a reply reports."""
        match reply:
            case {"limit": "time"}:
                self._note(text := f"your code ran longer than {seconds:g} s")
                return TooLong("TooLong", text)
            case {"limit": "data"}:
                return TooMuch("TooMuch", f"your code returned too much data: {str(reply.get('why'))[:MAX_NAME]}")
            case {"error": {"kind": str(kind), "message": str(text), "line": line}}:
                return StudentError(kind[:MAX_NAME], text[:500], line if type(line) is int else None)
        return None

    # what stands for objects

    def _reference(self, value: object) -> dict:
        if not isinstance(value, Handle):
            raise TypeError(f"a test may pass plain data to a student's function, not {type(value).__name__}")
        if "id" in value._place and (self.box is None or value._start != self.starts):
            raise Died("Died", "the process of your code has ended, and this object with it")
        return {"$": "reference", **value._place}

    def _handle(self, item: dict) -> Handle:
        match item:
            case {"$": "reference", "type": str(kind), "name": str(name)}:
                place = {"name": name}
            case {"$": "reference", "type": str(kind), "id": int(number)}:
                place = {"id": number}
            case _:
                raise ProtocolError("unknown kind of value")
        kind = kind[:MAX_NAME] if kind.isidentifier() else "object"
        return type(kind, (Handle,), {"__slots__": ()})(self, place, self.starts)

    # the process

    def _start(self) -> None:
        if self.box is not None:
            return
        if self.starts == MAX_STARTS:
            raise Died("Died", "your code ended its process too often")
        self.starts += 1
        self.box = Sandbox(self.backend, self.name, self.limits)
        again, self.cells = self.cells, []
        for code, seconds in again:
            self.run_cell(code, seconds)

    def _ended(self, seconds: float) -> StudentError:
        """Return the error that tells why the process has ended."""
        self.box.process.wait()
        reason = self.box.ended
        self.close()
        limits = self.limits
        kind, text = {
            "time": (TooLong, f"your code ran longer than {seconds:g} s and could not be interrupted"),
            "memory": (TooMuch, f"your code used more than {limits.memory // MB} MB of memory"),
            "processes": (TooMuch, f"your code started more than {limits.processes} processes"),
            "disk": (TooMuch, f"your code wrote too many files or more than {limits.disk // MB} MB"),
            None: (Died, "your code ended its process (a call of exit or kill, or a crash)"),
        }.get(reason, (Died, f"your code was ended: {reason}"))
        self._note(text)
        return kind(kind.__name__, text)

    def _broken(self) -> StudentError:
        self.close()
        self._note(text := "your code disturbed the process that grades it")
        return Died("Died", text)

    def _note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)
