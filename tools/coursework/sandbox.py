"""The sandbox of a student's process: namespaces, an unprivileged user, resource limits, and a watch from outside.

Inside there is no network, nothing to read but the system's libraries, the Python environment and snnlib, nothing to
write but a small folder in memory. `choose` tries the ways to make such a place, best first, and lets a process inside
say what it can reach before it believes in one. A `Sandbox` is one running process; a thread watches the memory and
the number of its processes, its disk and its time, and ends all of them at once when they pass a limit.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import pwd
import random
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path

import snnlib

from .protocol import Channel, ProtocolError

HERE = Path(__file__).parent
HOME = "/student"
SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/etc/alternatives", "/etc/ld.so.cache")
SCRIPTS = {str(HERE / name): f"/grader/{name}" for name in ("worker.py", "protocol.py")}
START_SECONDS = 30.0
WATCH_SECONDS = 0.05
GRACE_SECONDS = 1.0  # what code that is interrupted has to end by itself
MB = 1 << 20


class NoSandbox(Exception):  # noqa: N818
    """There is no way on this machine to run student code safely."""


@dataclass(frozen=True)
class Limits:
    """What one submission may use: seconds of wall time, bytes, processes, characters of text a cell shows."""

    seconds: float = 240.0
    cell_seconds: float = 60.0
    call_seconds: float = 10.0
    memory: int = 2048 * MB
    disk: int = 64 * MB
    processes: int = 32
    output: int = 20_000

    @classmethod
    def of(cls, settings: dict) -> Limits:
        """Return the limits with those changed that `settings` names; memory and disk are in MB there."""
        unknown = set(settings) - {field.name for field in fields(cls)}
        if unknown:
            raise ValueError(f"unknown limits: {', '.join(sorted(unknown))}")
        return cls(**{name: value * MB if name in ("memory", "disk") else value for name, value in settings.items()})


# --- what is visible inside ------------------------------------------------------------------------------------------


def visible() -> list[str]:
    """The files and folders that a student's process may read: system, Python environment, snnlib."""
    python = [sys.prefix, sys.base_prefix, os.path.realpath(sys.base_prefix), str(Path(snnlib.__file__).parent)]
    outside = [path for path in python if not path.startswith("/usr/") and path not in ("/", "/usr")]
    return [path for path in dict.fromkeys((*SYSTEM, *outside)) if os.path.exists(path)]


def font_list() -> dict[str, str]:
    """Where Matplotlib's list of fonts stands and where it is looked for inside; making it takes seconds each time."""
    if "matplotlib.font_manager" not in sys.modules:
        return {}
    matplotlib = sys.modules["matplotlib"]
    return {str(path): f"{HOME}/.mpl/{path.name}" for path in Path(matplotlib.get_cachedir()).glob("fontlist-*.json")}


def environment(student: str) -> dict[str, str]:
    """The environment variables of a student's process."""
    return {
        **{"PATH": "/usr/bin:/bin", "HOME": HOME, "TMPDIR": HOME, "LANG": "C.UTF-8", "TZ": "UTC"},
        **{"USER": "student", "LOGNAME": "student", "IPYTHONDIR": f"{HOME}/.ipython", "MPLCONFIGDIR": f"{HOME}/.mpl"},
        **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"),
        **{"MPLBACKEND": "module://matplotlib_inline.backend_inline", "PYTHONDONTWRITEBYTECODE": "1"},
        "PYTHONPATH": str(Path(snnlib.__file__).parents[1]),  # wherever it was found
        "SNN_STUDENT": student,
    }


def free_uid() -> int:
    """A user id that belongs to nobody and runs nothing."""
    while True:
        uid = random.SystemRandom().randrange(200_000, 1_000_000)
        try:
            pwd.getpwuid(uid)
        except KeyError:
            if not any(owner == uid for _, owner in processes_with_owner()):
                return uid


def processes_with_owner() -> Iterator[tuple[int, int]]:
    """Yield (process id, user id) of every process."""
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            try:
                yield int(entry.name), entry.stat().st_uid
            except OSError:
                continue


# --- ways to make one ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Backend:
    """One way to start a student's process.

    Attributes: name; safe, whether it keeps the process from everything outside; own_folder, whether the process
    writes into a folder of this machine rather than into memory that ends with it.
    """

    name: str
    safe: bool = True
    own_folder: bool = False

    def uid(self) -> int | None:
        """The user that the process becomes, or None for the one that it is."""
        return free_uid() if os.getuid() == 0 and self.safe else None

    def command(self, script: list[str], env: dict[str, str], limits: Limits, folder: str) -> list[str]:
        """Return the command line that runs `script` inside; `folder` is an empty one to use."""
        return {
            "bubblewrap": _bubblewrap,
            "namespaces": _namespaces,
            "user": _user,
            "unsafe": _user,
        }[self.name](script, env, limits, folder)


BACKENDS = (Backend("bubblewrap"), Backend("namespaces"), Backend("user", own_folder=True))
UNSAFE = Backend("unsafe", safe=False, own_folder=True)


def _bubblewrap(script: list[str], env: dict[str, str], limits: Limits, folder: str) -> list[str]:
    command = ["bwrap", "--die-with-parent", "--new-session", "--hostname", "student"]
    command += [f"--unshare-{kind}" for kind in ("pid", "net", "ipc", "uts", "cgroup-try")]
    if os.getuid() == 0:
        command += ["--cap-drop", "ALL", "--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]  # until it is nobody
    else:
        command += ["--unshare-user", "--uid", "65534", "--gid", "65534"]
    parents = {parent for path in (*visible(), *SCRIPTS.values()) for parent in map(str, Path(path).parents)} - {"/"}
    for parent in sorted(parents):
        command += ["--perms", "0755", "--dir", parent]  # which it would make for root alone
    for path in visible():
        link = os.path.islink(path) and path in SYSTEM
        command += ["--symlink", os.readlink(path), path] if link else ["--ro-bind", path, path]
    command += ["--proc", "/proc", "--dev", "/dev"]
    for place in ("/dev/shm", HOME):
        command += ["--perms", "1777", "--size", str(limits.disk), "--tmpfs", place]
    command += ["--perms", "1777", "--dir", f"{HOME}/.mpl"]
    for source, place in (SCRIPTS | font_list()).items():
        command += ["--ro-bind", source, place]
    if "/tmp" not in parents:  # where the course lies below it, it is a folder that nobody writes to
        command += ["--symlink", HOME[1:], "/tmp"]
    command += ["--remount-ro", "/dev", "--remount-ro", "/", "--chdir", HOME]
    command += ["--clearenv", *(part for name, value in env.items() for part in ("--setenv", name, value))]
    return [*command, "--", *script]


def _namespaces(script: list[str], env: dict[str, str], limits: Limits, folder: str) -> list[str]:
    """As bubblewrap does it, with the tools of util-linux; needs root."""
    tmpfs = f"mount -t tmpfs -o nosuid,nodev,mode=1777,nr_inodes=20000,size={limits.disk} tmpfs"
    lines = [f"mount -t tmpfs -o mode=755,size=1m tmpfs {shlex.quote(folder)}", f"cd {shlex.quote(folder)}"]
    lines += [f"mkdir -p grader proc dev/shm old .{HOME}", f"ln -s {HOME[1:]} tmp", "mount -t proc proc proc"]
    lines += [
        f"touch dev/{name}; mount --bind /dev/{name} dev/{name}" for name in ("null", "zero", "random", "urandom")
    ]
    lines += [f"{tmpfs} .{HOME}", f"{tmpfs} dev/shm", f"mkdir -m 1777 .{HOME}/.mpl"]
    for path, place in ({path: path for path in visible()} | SCRIPTS | font_list()).items():
        source, inside = shlex.quote(path), shlex.quote("." + place)
        if os.path.islink(path) and path in SYSTEM:
            lines.append(f"ln -s {shlex.quote(os.readlink(path))} {inside}")
            continue
        made = f"mkdir -p {inside}" if os.path.isdir(path) else f"mkdir -p $(dirname {inside}); touch {inside}"
        lines.append(f"{made}; mount --bind {source} {inside}; mount -o remount,bind,ro,nosuid,nodev {inside}")
    lines += ["pivot_root . old", "umount -l /old", "mount -o remount,ro /", f"cd {HOME}"]
    lines.append(shlex.join(["exec", "env", "-i", *(f"{name}={value}" for name, value in env.items()), *script]))
    unshare = ["unshare", "--mount", "--pid", "--net", "--ipc", "--uts", "--fork", "--kill-child"]
    return ["setpriv", "--pdeathsig", "KILL", *unshare, "--propagation", "private", "sh", "-ec", "\n".join(lines)]


def _user(script: list[str], env: dict[str, str], limits: Limits, folder: str) -> list[str]:
    """Nothing but the file permissions of another user (or not even that) and the limits of the process."""
    inside = {name: value.replace(HOME, folder) for name, value in env.items()}
    places = {place: source for source, place in SCRIPTS.items()}
    assignments = [f"{name}={value}" for name, value in inside.items()]
    return ["env", "-i", "-C", folder, *assignments, *(places.get(part, part) for part in script)]


def choose(forbidden: list[Path], unsafe: bool = False) -> Backend:
    """Return the best backend that works here and from which none of the forbidden paths can be read.

    Raises NoSandbox, with what was wrong with each, when there is none and `unsafe` does not allow to do without.
    """
    if not os.path.exists(f"/proc/self/task/{os.getpid()}/children"):
        raise NoSandbox(
            "grading needs Linux, with a kernel that tells the children of a process (CONFIG_PROC_CHILDREN)"
        )
    problems = []
    for backend in BACKENDS:
        problem = _probe(backend, forbidden)
        if problem is None:
            return backend
        problems.append(f"{backend.name}: {problem}")
    if unsafe:
        return UNSAFE
    raise NoSandbox(
        "there is no sandbox for student code on this machine (" + "; ".join(problems) + "). Install bubblewrap "
        "(Debian, Ubuntu: apt-get install bubblewrap), or say --unsafe to run student code with your own rights"
    )


def _probe(backend: Backend, forbidden: list[Path]) -> str | None:
    """Start a process in a sandbox and let it try; return what is wrong with the sandbox, or None."""
    try:
        with Sandbox(backend, "probe", Limits(seconds=START_SECONDS)) as box:
            box.channel.send({"do": "survey", "paths": [str(path) for path in forbidden]})
            found = box.channel.receive()[0]["value"]["items"]
    except (OSError, EOFError, ProtocolError, SandboxFailed) as error:
        return " ".join(str(error).split()) or type(error).__name__
    wrong = [*(f"it reads {path}" for path in found["reads"]), *(f"it writes {path}" for path in found["writes"])]
    wrong += [f"it has {name}" for name in ("network", "root") if found[name]]
    return ", ".join(wrong) or None


# --- one running process ---------------------------------------------------------------------------------------------


class SandboxFailed(Exception):  # noqa: N818
    """The process did not start."""


class Sandbox:
    """A student's process with its channel; ended, with all that it started, at the end of the block.

    Attributes: channel; ended, why the watch ended it ("time", "memory", "processes", "disk", ...), or None; deadline,
    when it will end it for taking too long (time.monotonic).
    """

    def __init__(self, backend: Backend, student: str, limits: Limits):
        self.backend, self.limits = backend, limits
        self.ended: str | None = None
        self.stop = threading.Event()
        self.deadline = time.monotonic() + START_SECONDS
        self.folder = tempfile.mkdtemp(prefix="coursework-")
        self.uid = backend.uid()
        if self.uid is not None and backend.own_folder:
            os.chown(self.folder, self.uid, self.uid)
        script = [sys.executable, SCRIPTS[str(HERE / "worker.py")], json.dumps(self._worker_limits())]
        with tempfile.TemporaryFile() as errors:
            try:
                self.process = subprocess.Popen(
                    backend.command(script, environment(student), limits, self.folder),
                    **{"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": errors},
                    start_new_session=True,
                )
            except OSError as error:
                shutil.rmtree(self.folder)
                raise SandboxFailed(str(error)) from None
            self.watcher = threading.Thread(target=self._watch, daemon=True)
            self.watcher.start()
            self.channel = Channel(self.process.stdout.fileno(), self.process.stdin.fileno())
            try:
                self.channel.receive()
            except (EOFError, ProtocolError):
                self.close()
                errors.seek(0)
                raise SandboxFailed(errors.read()[-300:].decode(errors="replace") or "it did not start") from None
        self.deadline = math.inf

    def _worker_limits(self) -> dict:
        limits = self.limits
        threads = 0 if self.uid is not None else sum(uid == os.getuid() for _, uid in processes_with_owner()) * 4
        rlimits = {
            **{"DATA": limits.memory, "FSIZE": limits.disk, "NOFILE": 256, "CORE": 0, "MEMLOCK": 0, "MSGQUEUE": 0},
            **{"CPU": int(limits.seconds) + 10, "NPROC": threads + 3 * limits.processes},
        }
        return {"uid": self.uid, "output": limits.output, "rlimits": rlimits}

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def processes(self) -> list[int]:
        """The ids of the processes inside and of those that hold it, from the first on."""
        found = [self.process.pid] if self.process.returncode is None else []
        for pid in found:  # grows
            try:
                for task in os.listdir(f"/proc/{pid}/task"):
                    found += map(int, Path(f"/proc/{pid}/task/{task}/children").read_text().split())
            except OSError:
                continue
        if self.uid is not None and self.backend.own_folder:
            found += {pid for pid, uid in processes_with_owner() if uid == self.uid} - set(found)
        return found

    def _watch(self) -> None:
        """End the process when it passes a limit; runs in a thread of its own."""
        while not self.stop.wait(WATCH_SECONDS):
            try:
                reason = self._broken_limit()
            except Exception as error:  # what cannot be watched does not go on
                reason = f"it could not be watched: {error}"
            if reason is not None and not self.stop.is_set():
                self.ended = reason
                self.kill()
                return

    def _broken_limit(self) -> str | None:
        if time.monotonic() > self.deadline:
            return "time"
        if not (pids := self.processes()):
            return None
        if len(pids) > self.limits.processes + 3:  # bubblewrap and its likes
            return "processes"
        if sum(map(memory, pids)) > self.limits.memory:
            return "memory"
        return "disk" if self._disk_is_full(pids[-1]) else None

    def _disk_is_full(self, pid: int) -> bool:
        """Whether there are too many files: their number is what the size of a folder in memory does not limit."""
        try:
            if self.backend.own_folder:
                sizes = [entry.stat(follow_symlinks=False).st_size + 4096 for entry in tree(self.folder)]
                return sum(sizes) > self.limits.disk
            states = [os.statvfs(f"/proc/{pid}/root{place}") for place in (HOME, "/dev/shm")]
            return max(state.f_files - state.f_ffree for state in states) > 10_000
        except OSError:
            return False

    def kill(self) -> None:
        """End the process and all that it started, at once."""
        for pid in self.processes():
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        if self.uid is not None and self.backend.own_folder:  # all of this user's, in one system call
            as_user = {"user": self.uid, "group": self.uid, "extra_groups": []}
            subprocess.run(["sh", "-c", "kill -KILL -1"], **as_user, stderr=subprocess.DEVNULL)

    def close(self) -> None:
        """End everything and remove what it left."""
        self.stop.set()
        self.kill()
        self.process.wait()
        self.watcher.join()
        self.process.stdin.close()
        self.process.stdout.close()
        shutil.rmtree(self.folder, ignore_errors=True)


def memory(pid: int) -> int:
    """The bytes of memory that a process holds for itself or shares with others of its kind, swapped out or not."""
    try:
        status = Path(f"/proc/{pid}/status").read_bytes()  # a process may have any bytes for its name
    except OSError:
        return 0
    rows = (line.split() for line in status.splitlines())
    return sum(int(row[1]) * 1024 for row in rows if row and row[0] in (b"RssAnon:", b"RssShmem:", b"VmSwap:"))


def tree(folder: str) -> Iterator[os.DirEntry]:
    """Yield everything below a folder, without following links."""
    for entry in os.scandir(folder):
        yield entry
        if entry.is_dir(follow_symlinks=False):
            yield from tree(entry.path)
