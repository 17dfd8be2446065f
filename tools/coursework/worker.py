"""The student's process: runs the cells of one notebook and answers calls, inside the sandbox.

Started as a script with its limits as JSON in the first argument; messages (see `protocol`) come on standard input and
go to standard output. Once a student's cell has run, nothing here can be trusted: whoever started this process checks
what it says and ends it when it breaks a limit.
"""

from __future__ import annotations

import base64
import codecs
import ctypes
import errno
import io
import itertools
import json
import os
import platform
import resource
import signal
import struct
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from protocol import Channel, ProtocolError, TooLarge, decode, encode

MAX_PICTURE = 1 << 20  # bytes
MAX_OUTPUTS = 50
MAX_MESSAGE = 500  # characters of an error's message
PR_SET_PDEATHSIG, PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 1, 38, 22, 2
CLONE_NEWUSER = 0x10000000
AF_UNIX = 1

# System calls that a student's process has no use for, with their numbers on the machines below: they would reach the
# network where there is no namespace, memory that no limit counts, or parts of the kernel with a history of holes.
DENIED = {
    "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
    "shmget": (29, 194),
    "msgget": (68, 186),
    "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "ptrace": (101, 117),
    "mount": (165, 40),
    "umount2": (166, 39),
    "fsopen": (430, 430),
    "move_mount": (429, 429),
    "open_by_handle_at": (304, 265),
    "unshare": (272, 97),
    "setns": (308, 268),
    "keyctl": (250, 219),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
}
CLONE, CLONE3, SOCKET = (56, 220), (435, 435), (41, 198)
MACHINES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}  # column above, AUDIT_ARCH


def seccomp_filter(machine: str) -> bytes:
    """Return the BPF program that refuses DENIED, new user namespaces, and sockets other than local ones."""
    column, audit = MACHINES[machine]
    load, equal, at_least, ret = 0x20, 0x15, 0x35, 0x06
    test = 0x45  # jump when the bits are set
    allow, refuse, absent = 0x7FFF0000, 0x50000 | errno.EPERM, 0x50000 | errno.ENOSYS

    def line(code: int, k: int, if_true: int = 0, if_false: int = 0) -> bytes:
        return struct.pack("HBBI", code, if_true, if_false, k)

    return b"".join(
        (
            line(load, 4),
            line(equal, audit, 1, 0),
            line(ret, refuse),
            line(load, 0),
            line(at_least, 0x40000000, 0, 1),  # the x32 numbers
            line(ret, refuse),
            *(part for n in DENIED.values() for part in (line(equal, n[column], 0, 1), line(ret, refuse))),
            line(equal, CLONE3[column], 0, 1),  # its flags cannot be seen; the C library falls back to clone
            line(ret, absent),
            line(equal, CLONE[column], 0, 3),
            line(load, 16),
            line(test, CLONE_NEWUSER, 0, 5),
            line(ret, refuse),
            line(equal, SOCKET[column], 0, 3),
            line(load, 16),
            line(equal, AF_UNIX, 1, 0),
            line(ret, refuse),
            line(ret, allow),
        )
    )


def confine(limits: dict) -> None:
    """Give up, for good, all rights and resources that a student's cell has no use for."""
    for name, value in limits["rlimits"].items():
        resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), (value, value))
    if limits["uid"] is not None:
        os.setgroups([])
        os.setresgid(*[limits["uid"]] * 3)
        os.setresuid(*[limits["uid"]] * 3)
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    prctl.argtypes = (ctypes.c_int, *[ctypes.c_ulong] * 4)
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    if platform.machine() in MACHINES:
        program = seccomp_filter(platform.machine())
        code = ctypes.create_string_buffer(program, len(program))
        fprog = ctypes.create_string_buffer(struct.pack("HP", len(program) // 8, ctypes.addressof(code)))
        if prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.addressof(fprog), 0, 0):
            raise OSError(ctypes.get_errno(), "no filter for system calls")


def survey(paths: list[str]) -> dict:
    """Return what this process could do that it must not: read `paths`, write there, use the network, be root."""

    def succeeds(action: object, *args: object) -> bool:
        try:
            action(*args)
        except OSError:
            return False
        return True

    import socket

    return {
        "reads": [path for path in paths if succeeds(os.stat, path) and os.access(path, os.R_OK)],
        "network": succeeds(socket.socket, socket.AF_INET),
        "root": 0 in (os.getuid(), os.geteuid(), os.getgid()),
        "writes": [path for path in ("/", "/usr", "/dev", "/etc", sys.prefix) if os.access(path, os.W_OK)],
    }


class OutOfTime(KeyboardInterrupt):
    """Raised in a student's code when its time is up; what swallows it is ended from outside."""


class Outputs:
    """What a cell shows, in order: text, pictures, an error. Text beyond the limit is dropped."""

    def __init__(self, limit: int):
        self.items: list[dict] = []
        self.left = limit

    def write(self, text: str) -> None:
        """Add text."""
        text = text[: self.left]
        self.left -= len(text)
        if not text:
            return
        if self.items and self.items[-1]["type"] == "text":
            self.items[-1]["data"] += text
        elif len(self.items) < MAX_OUTPUTS:
            self.items.append({"type": "text", "data": text})

    def publish(self, data: dict) -> None:
        """Add what IPython would display: the picture where there is one, else the text."""
        picture = data.get("image/png")
        if picture is not None:
            picture = picture if isinstance(picture, str) else base64.b64encode(picture).decode()
            if len(picture) * 3 / 4 <= MAX_PICTURE and len(self.items) < MAX_OUTPUTS:
                self.items.append({"type": "png", "data": picture})
        elif "text/plain" in data:
            self.write(data["text/plain"] + "\n")


class Sink(io.RawIOBase):
    """What is below the standard output and error of the cells: takes the bytes that they write."""

    def __init__(self):
        self.outputs = Outputs(0)
        self.decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def writable(self) -> bool:
        return True

    def write(self, data: memoryview) -> int:
        if self.outputs.left:
            self.outputs.write(self.decoder.decode(bytes(data)))
        return len(data)


def make_shell(publish: Callable[[dict], None]) -> object:
    """Return an IPython without history and colours, whose cells display through `publish`."""
    from IPython.core.displayhook import DisplayHook
    from IPython.core.displaypub import DisplayPublisher
    from IPython.core.interactiveshell import InteractiveShell
    from traitlets.config import Config

    class Publisher(DisplayPublisher):
        def publish(self, data: dict, *args: object, **options: object) -> None:
            publish(data)

        def clear_output(self, wait: bool = False) -> None:
            pass

    class Hook(DisplayHook):
        def quiet(self) -> bool:
            return self.semicolon_at_end_of_expression(self.exec_result.info.raw_cell)

        def write_output_prompt(self) -> None:
            pass

        def write_format_data(self, format_dict: dict, md_dict: dict | None = None) -> None:
            publish(format_dict)

    class Shell(InteractiveShell):
        def enable_gui(self, gui: str | None = None) -> None:
            pass  # %matplotlib asks for it

        def showtraceback(self, *args: object, **options: object) -> None:
            pass  # errors are reported by `describe`; to format them IPython reads the sources of all frames: seconds

        showsyntaxerror = showtraceback

    config = Config()
    config.HistoryManager.enabled = False
    config.InteractiveShell.cache_size = 0
    return Shell.instance(config=config, display_pub_class=Publisher, displayhook_class=Hook)


def describe(error: BaseException) -> dict:
    """Return type, message and place of an error, and what the student may see of its traceback."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename.startswith("<ipython-input-")]
    line = frames[-1].lineno if frames else None
    if isinstance(error, SyntaxError) and str(error.filename).startswith("<ipython-input-"):
        line = error.lineno
    try:
        message = str(error.msg if isinstance(error, SyntaxError) else error)[:MAX_MESSAGE]
    except Exception:
        message = ""
    where = [f"line {f.lineno}: {f.line}" for f in frames[-5:]]
    kind = type(error).__name__
    return {"kind": kind, "message": message, "line": line, "text": "\n".join([*where, f"{kind}: {message}"])}


class Worker:
    """Answers the messages that come over a channel, one by one."""

    def __init__(self, channel: Channel, limits: dict):
        self.channel, self.limits = channel, limits
        self.sink = Sink()
        self.stream = io.TextIOWrapper(io.BufferedWriter(self.sink, 1 << 16), "utf-8", "replace")
        self.objects: dict[int, object] = {}
        self.numbers = itertools.count()
        self.in_time = True
        self.shell = make_shell(self.publish)
        self.pid = os.getpid()
        signal.signal(signal.SIGALRM, self.stop)

    def stop(self, *args: object) -> None:
        self.in_time = False
        raise OutOfTime

    def publish(self, data: dict) -> None:
        """Display something after what has been printed so far."""
        self.stream.flush()
        self.sink.outputs.publish(data)

    @contextmanager
    def clock(self, seconds: float) -> Iterator[None]:
        """Interrupt the block when it has run for that long."""
        self.in_time = True
        signal.setitimer(signal.ITIMER_REAL, seconds)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)

    def cell(self, message: dict) -> tuple[dict, list]:
        """Run a cell; answer with what it shows and its error."""
        self.sink.outputs = outputs = Outputs(self.limits["output"])
        error = None
        try:
            with self.clock(message["seconds"]):
                result = self.shell.run_cell(message["code"], store_history=False)
            error = result.error_before_exec or result.error_in_exec
            self.stream.flush()
        except BaseException as other:
            error = other
        if error is not None and self.in_time:
            error = describe(error)
            outputs.items.append({"type": "error", "data": error.pop("text")})
        if not self.in_time:
            return {"limit": "time", "outputs": outputs.items}, []
        return {"outputs": outputs.items, "error": error, "truncated": outputs.left == 0}, []

    def names(self, message: dict) -> tuple[dict, list]:
        """Answer with the values of those of the names that there are."""
        blobs, found = [], {}
        for name in message["names"]:
            if name in self.shell.user_ns:
                mark = len(blobs)
                try:
                    found[name] = encode(self.shell.user_ns[name], blobs, lambda value, n=name: refer(value, name=n))
                except (TooLarge, RecursionError):
                    del blobs[mark:]
                    found[name] = refer(self.shell.user_ns[name], name=name)
        return {"value": {"$": "dict", "items": found}}, blobs

    def find(self, target: dict) -> object:
        """Return the object that a reference means."""
        match target:
            case {"name": name}:
                if name not in self.shell.user_ns:
                    raise NameError(f"there is no {name}")
                return self.shell.user_ns[name]
            case {"id": number}:
                return self.objects[number]
        raise ProtocolError("no such reference")

    def keep(self, value: object) -> dict:
        """Keep an object that is not plain data; return the reference that stands for it."""
        number = next(self.numbers)
        self.objects[number] = value
        return refer(value, id=number)

    def use(self, message: dict, blobs: list) -> tuple[dict, list]:
        """Call an object, or get an attribute, an item or the length of it; answer with the value or the error."""
        args = decode(message["args"], blobs, self.find)
        options = decode(message["options"], blobs, self.find)
        self.sink.outputs = Outputs(0)
        answer: list[bytes] = []
        try:
            with self.clock(message["seconds"]):
                target = self.find(message["target"])
                match message["do"]:
                    case "call":
                        value = target(*args, **options)
                    case "attribute":
                        value = getattr(target, *args)
                    case "item":
                        value = target[args[0]]
                    case "length":
                        value = len(target)
            return {"value": encode(value, answer, self.keep)}, answer
        except (TooLarge, RecursionError) as error:
            if isinstance(error, TooLarge):
                return {"limit": "data", "why": str(error)}, []
            return {"error": describe(error)}, []
        except BaseException as error:
            return ({"error": describe(error)} if self.in_time else {"limit": "time"}), []

    def answer(self, message: dict, blobs: list) -> tuple[dict, list]:
        match message["do"]:
            case "cell":
                return self.cell(message)
            case "names":
                return self.names(message)
            case "survey":
                return {"value": {"$": "dict", "items": survey(message["paths"])}}, []
        return self.use(message, blobs)

    def serve(self) -> None:
        """Answer until there is nobody left to answer to."""
        sys.stdout = sys.stderr = self.stream
        self.channel.send({"ready": True})
        while True:
            try:
                message, blobs = self.channel.receive()
            except EOFError:
                return
            reply, data = self.answer(message, blobs)
            if os.getpid() != self.pid:  # a cell forked: only the process that was asked answers
                os._exit(0)
            try:
                self.channel.send(reply, data)
            except TooLarge as error:
                self.channel.send({"limit": "data", "why": str(error), "outputs": []})


def refer(value: object, **place: object) -> dict:
    """Return the reference to an object of the student's."""
    return {"$": "reference", "type": type(value).__name__, **place}


def main() -> None:
    limits = json.loads(sys.argv[1])
    confine(limits)
    channel = Channel(os.dup(0), os.dup(1))
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)
    sys.argv[1:] = []
    sys.path[0] = ""  # as in a notebook, modules are looked for beside it
    warnings.filterwarnings("ignore", module="IPython")
    worker = Worker(channel, limits)
    os.dup2(null, 2)  # until here, what goes wrong is told
    worker.serve()


if __name__ == "__main__":
    main()
