"""Where the runs of a sweep are made: worker processes of this machine, or a Dask cluster.

Both take a list of runs (settings, as `sweeps.run_one` wants them) and yield (run, row) as they are finished, with a
text that says why in place of the row where a run failed. They raise `LostError` when no run can be made any more, and
DataError as soon as one lacks its data, for the others would lack it, too.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import queue
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from . import __version__, datasets

Settings = dict[str, Any]


class LostError(RuntimeError):
    """The workers cannot be started, reached or used."""


def answer(run: Settings) -> dict[str, Any]:
    """What a worker says of a run: {"row": row}, {"data": message} without its data, or {"failed": reason}."""
    import torch

    from . import sweeps

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return {"row": sweeps.run_one(run)}
    except datasets.DataError as error:
        return {"data": str(error)}
    except Exception as error:
        return {"failed": _one_line(error)}
    finally:
        torch.set_num_threads(threads)


def _outcome(answer: dict[str, Any]) -> Settings | str:
    if "data" in answer:
        raise datasets.DataError(answer["data"])
    return answer["row"] if "row" in answer else answer["failed"]


def _one_line(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())


# --- processes of this machine ---------------------------------------------------------------------------------------

_SERVE = "from snnlib._workers import serve; serve()"


class _DiedError(Exception):
    """A process ended in the middle of a run."""


class _Process:
    """A process that answers a line of JSON, the settings of a run, by another.

    It is a program of its own, not a fork of this one: it needs nothing of the caller's main module, and its number of
    threads is set before torch is imported.
    """

    def __init__(self) -> None:
        package = str(Path(__file__).resolve().parents[1])
        path = os.pathsep.join(filter(None, (package, os.environ.get("PYTHONPATH"))))
        threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
        self._errors = tempfile.TemporaryFile()
        self._ready = False
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", _SERVE],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env={**os.environ, **threads, "PYTHONPATH": path},
            start_new_session=True,  # Ctrl-C is for the process that coordinates
            text=True,
            encoding="utf-8",
        )

    def ask(self, run: Settings) -> dict[str, Any]:
        """The answer to a run; _DiedError when there will be none, LostError when the process could not even start."""
        if not self._ready:
            if not self._process.stdout.readline():
                raise LostError(f"a worker process could not be started: {self._ending()}")
            self._ready = True
        try:
            self._process.stdin.write(json.dumps(run) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except OSError:
            line = ""
        if not line.endswith("\n"):
            raise _DiedError(self._ending())
        return json.loads(line)

    def kill(self) -> None:
        self._process.kill()

    def close(self) -> None:
        """Forget the process, once it is killed and nobody asks it."""
        self._process.wait()
        self._process.stdout.close()
        self._errors.close()
        with contextlib.suppress(OSError):  # what could not be sent
            self._process.stdin.close()

    def _ending(self) -> str:
        status = self._process.wait()
        if status < 0:
            return f"killed by signal {-status}" + (" (out of memory?)" if status == -9 else "")
        self._errors.seek(0)
        said = [line for line in self._errors.read().decode(errors="replace").split("\n") if line.strip()]
        return f"exit status {status}" + (f" ({said[-1].strip()})" if said else "")


def serve() -> None:
    """What a process does: read runs, answer them, end at once when nobody is there to listen."""
    import torch  # noqa: F401  before it says that it is ready

    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever else is printed must not stand between the answers
    lines = queue.SimpleQueue()

    def listen() -> None:
        for line in sys.stdin:
            lines.put(line)
        os._exit(0)

    threading.Thread(target=listen, daemon=True).start()
    print("ready", file=answers, flush=True)
    while True:
        print(json.dumps(answer(json.loads(lines.get()))), file=answers, flush=True)


class _Pool:
    """The processes that are alive; none is started once they were stopped."""

    def __init__(self) -> None:
        self._processes: set[_Process] = set()
        self._lock = threading.Lock()
        self.stopped = False

    def start(self) -> _Process:
        with self._lock:
            if self.stopped:
                raise LostError("stopped")
            process = _Process()
            self._processes.add(process)
            return process

    def end(self, process: _Process) -> None:
        with self._lock:
            process.kill()
            self._processes.discard(process)
        process.close()

    def stop(self) -> None:
        with self._lock:
            self.stopped = True
            for process in self._processes:
                process.kill()


def here(runs: list[Settings], count: int) -> Iterator[tuple[Settings, Settings | str]]:
    """Make runs by `count` processes of one thread each. A run whose process dies is made once more, by a new one."""
    todo, finished, pool = queue.SimpleQueue(), queue.SimpleQueue(), _Pool()
    for run in runs:
        todo.put(run)
    threads = [threading.Thread(target=_work, args=(todo, finished, pool)) for _ in range(min(count, len(runs)))]
    try:
        for thread in threads:
            thread.start()
        for _ in runs:
            run, said = finished.get()
            if isinstance(said, LostError):
                raise said
            yield run, _outcome(said)
    finally:
        pool.stop()
        for thread in threads:
            thread.join()


def _work(todo: queue.SimpleQueue, finished: queue.SimpleQueue, pool: _Pool) -> None:
    """One thread: it has one process at a time and gives it run after run."""
    process = None
    try:
        while not pool.stopped:
            run = todo.get_nowait()
            for _ in range(2):
                process = process or pool.start()
                try:
                    said = process.ask(run)
                    break
                except _DiedError as error:
                    said = {"failed": f"its process died twice: {error}"}
                    pool.end(process)
                    process = None
            finished.put((run, said))
    except queue.Empty:
        pass
    except LostError as error:
        finished.put((None, error))
    except OSError as error:  # no more processes, no more memory for them
        finished.put((None, LostError(f"a worker process could not be started: {error}")))
    finally:
        if process is not None:
            pool.end(process)


# --- a Dask cluster --------------------------------------------------------------------------------------------------

_PATIENCE = 10.0  # seconds in which a scheduler must answer and have a worker


def on_cluster(runs: list[Settings], address: str) -> Iterator[tuple[Settings, Settings | str]]:
    """Make runs on the workers of a Dask cluster. When a worker dies the scheduler gives its runs to others, until one
    was with several workers when they died (`distributed.scheduler.allowed-failures`). It need not have been the cause,
    for others wait at the same worker; so each such run is made once more, alone."""
    try:
        from dask.distributed import Client, KilledWorker
    except ImportError as error:
        raise LostError(f'a cluster needs dask ({_one_line(error)}): pip install "snnlib[cluster]"') from error
    try:
        client = Client(address, timeout=_PATIENCE, set_as_default=False)
    except (OSError, ValueError) as error:  # a TimeoutError is an OSError
        raise LostError(
            f"no Dask scheduler answers at {address} ({_one_line(error)}): is `dask scheduler` running, and is this "
            "the address that it prints, such as tcp://10.0.0.1:8786?"
        ) from error
    with _quiet("distributed", "distributed.client"), client:  # what they would say of a lost scheduler is said here
        _check_workers(client, address)
        suspects = []
        for run, said in _made(client, address, runs):
            if isinstance(said, KilledWorker):
                suspects.append(run)
            else:
                yield run, said
        for suspect in suspects:
            for run, said in _made(client, address, [suspect], "-alone"):
                yield run, _one_line(said) if isinstance(said, KilledWorker) else said


def _made(client, address: str, runs: list[Settings], suffix: str = "") -> Iterator[tuple[Settings, Any]]:
    """(run, row, or why it failed, or a KilledWorker) as they are finished."""
    from dask.distributed import KilledWorker, as_completed

    pending = {client.submit(answer, run, key=_key(run) + suffix, pure=False): run for run in runs}
    try:
        for future in as_completed(list(pending), loop=client.loop):
            run = pending.pop(future)
            try:
                said = future.result()
            except KilledWorker as error:
                yield run, error
                continue
            except Exception as error:  # not of the run: `answer` catches those
                if future.cancelled() or isinstance(error, OSError):
                    raise LostError(f"the scheduler at {address} is gone: start it and this sweep again") from error
                said = {"failed": _one_line(error)}
            yield run, _outcome(said)
    finally:
        if client.status == "running":
            client.cancel(list(pending))


@contextlib.contextmanager
def _quiet(*names: str) -> Iterator[None]:
    loggers = [logging.getLogger(name) for name in names]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.CRITICAL)
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _key(run: Settings) -> str:
    """The name of a run on the cluster: the same for the same settings, whoever asks."""
    return "snnlib-" + hashlib.sha256(f"{__version__} {json.dumps(run)}".encode()).hexdigest()[:32]


def _check_workers(client, address: str) -> None:
    """Raise LostError unless there are workers, and all of them have this version of snnlib."""
    try:
        client.wait_for_workers(1, timeout=_PATIENCE)
    except TimeoutError as error:
        raise LostError(
            f"the scheduler at {address} has no workers: start some with `dask worker {address} --nthreads 1`"
        ) from error
    versions = client.run(eval, "__import__('snnlib').__version__", on_error="return")
    for worker, version in versions.items():
        if isinstance(version, BaseException):
            raise LostError(f"the worker at {worker} cannot use snnlib ({_one_line(version)}): install it there")
        if version != __version__:
            raise LostError(f"the worker at {worker} has snnlib {version}, here it is {__version__}: install the same")
