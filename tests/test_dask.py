"""Sweeps on a Dask cluster: a real scheduler, real worker processes, and what becomes of a sweep when they are killed.

The workers are told to load `FAKE` first, which puts a simple function of the settings in the place of training; one
test trains.
"""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time

import pytest

from snnlib import _workers, datasets, sweeps
from snnlib.__main__ import main
from snnlib.sweeps import Grid, SweepError, sweep

distributed = pytest.importorskip("distributed", reason="no dask and distributed")

FAKE = """
import os, sys, time, types
sys.modules["torch"] = types.SimpleNamespace(get_num_threads=lambda: 1, set_num_threads=lambda n: None)
from snnlib import datasets, sweeps

def run_one(run):
    with open(os.environ["SNN_LOG"], "a") as file:
        print(os.getpid(), run["seed"], file=file)
    if run["lr"] == 13.0:
        time.sleep(0.5)  # a nanny gives up a worker that dies before it has noticed that it was started
        os.kill(os.getpid(), 9)
    if run["lr"] == 16.0:
        raise RuntimeError("cannot multiply")
    if run["lr"] == 17.0:
        raise datasets.DataError("the bacteria are missing")
    time.sleep(0.1)
    results = dict.fromkeys(sweeps.RESULTS, 0.1 + run["seed"] / 3)
    return {**run, **results, "diverged": False, "stopped": "finished", "error": ""}

sweeps.run_one = run_one
"""


class Cluster:
    """A scheduler in a process of its own; workers are started, and killed, one by one."""

    def __init__(self, folder):
        self.folder, self.processes, self.log = folder, [], folder / "log"
        (folder / "fake.py").write_text(FAKE)
        self.scheduler = self._start("scheduler", "--port", "0", "--host", "127.0.0.1", "--scheduler-file", "scheduler")
        wait_for(lambda: (folder / "scheduler").exists() and (folder / "scheduler").read_text().endswith("}"))
        self.address = json.loads((folder / "scheduler").read_text())["address"]

    def worker(self, *options, fake=True, **environ):
        options = (
            "--nthreads",
            "1",
            "--local-directory",
            "space",
            *(["--preload", "fake.py"] if fake else []),
            *options,
        )
        return self._start("worker", self.address, *options, **environ)

    def _start(self, *arguments, **environ):
        environ = {"SNN_LOG": str(self.log), "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "1", **environ}
        process = subprocess.Popen(
            [sys.executable, "-m", "dask", *arguments, "--no-dashboard"],
            env={**os.environ, **environ},
            cwd=self.folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self.processes.append(process)
        return process

    def begun(self):
        """[(process, seed)] of the runs that were begun."""
        return (
            [tuple(map(int, line.split())) for line in self.log.read_text().splitlines()] if self.log.exists() else []
        )

    def close(self):
        for process in self.processes:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@pytest.fixture
def cluster(tmp_path):
    cluster = Cluster(tmp_path)
    yield cluster
    cluster.close()


@pytest.fixture
def hurry(monkeypatch):
    """Do not wait long for what will not come."""
    monkeypatch.setattr(_workers, "_PATIENCE", 1.0)


def wait_for(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)


def made(frame):
    return list(zip(frame["seed"], frame["test_loss"], strict=True))


def test_one_of_two_workers_is_killed_half_way_and_nothing_is_lost_or_there_twice(cluster, tmp_path):
    workers = {worker.pid: worker for worker in (cluster.worker("--no-nanny"), cluster.worker("--no-nanny"))}
    table = tmp_path / "t.csv"
    with distributed.Client(cluster.address, set_as_default=False) as client:
        client.wait_for_workers(2, timeout=60)

    def kill():
        wait_for(lambda: len(cluster.begun()) >= 20 and len({process for process, _ in cluster.begun()}) == 2)
        workers[cluster.begun()[-1][0]].kill()  # the one that has just begun a run

    killer = threading.Thread(target=kill)
    killer.start()
    frame = sweep(Grid(seeds=range(50)), table, address=cluster.address, progress=False)
    killer.join()
    assert sum(worker.poll() is None for worker in workers.values()) == 1
    assert made(frame) == [(seed, 0.1 + seed / 3) for seed in range(50)]
    seeds = [line.split(",")[0] for line in table.read_text().splitlines()[1:]]
    assert sorted(map(int, seeds)) == list(range(50))
    again = len(cluster.begun()) - 50
    assert {seed for _, seed in cluster.begun()} == set(range(50)) and 0 < again < 50
    survivor = next(pid for pid, worker in workers.items() if worker.poll() is None)
    assert cluster.begun()[-1][0] == survivor


def test_a_sweep_goes_on_on_a_cluster_with_what_is_missing_and_back_here(cluster, tmp_path, capsys):
    cluster.worker("--no-nanny")
    sweep(Grid(seeds=range(3)), tmp_path / "grid.csv", address=cluster.address, progress=False)
    (tmp_path / "grid.toml").write_text("seeds = 5")
    assert main(["sweep", str(tmp_path / "grid.toml"), "--address", cluster.address]) == 0
    output, errors = capsys.readouterr()
    assert errors == "" and f"5 runs in {tmp_path / 'grid.csv'}, 0 of them diverged" in output
    assert [seed for _, seed in cluster.begun()] == [0, 1, 2, 3, 4]
    assert len(sweep(Grid(seeds=range(4)), tmp_path / "grid.csv", workers=1)) == 4


def test_a_run_that_fails_is_told_with_its_reason_after_all_others_were_made(cluster, tmp_path):
    cluster.worker("--no-nanny")
    with pytest.raises(SweepError, match="1 of 2 runs failed .*, first lr 16.0, seed 0: RuntimeError: cannot multiply"):
        sweep(Grid(lists={"lr": [16.0, 1.0]}), tmp_path / "t.csv", address=cluster.address, progress=False)
    assert len(sweeps.load_table(tmp_path / "t.csv")) == 1
    with pytest.raises(datasets.DataError, match="the bacteria are missing"):
        sweep(Grid(lists={"lr": [17.0, 1.0]}), tmp_path / "t.csv", address=cluster.address, progress=False)


def test_a_run_that_costs_several_workers_their_lives_is_given_up_and_the_others_are_made(cluster, tmp_path):
    cluster.worker("--nworkers", "2")  # with nannies, who start another in the place of a dead one
    with pytest.raises(SweepError, match="1 of 5 runs failed .*, first lr 13.0, seed 0: KilledWorker: ") as caught:
        sweep(
            Grid(lists={"lr": [13.0, 1.0, 2.0, 3.0, 4.0]}), tmp_path / "t.csv", address=cluster.address, progress=False
        )
    assert sorted(caught.value.table["lr"]) == [1, 2, 3, 4] and "\n" not in str(caught.value)


def test_when_the_scheduler_goes_the_sweep_ends_with_an_error_and_a_whole_table(cluster, tmp_path):
    cluster.worker("--no-nanny")
    table = tmp_path / "t.csv"

    def kill():
        wait_for(lambda: len(cluster.begun()) >= 5)
        cluster.scheduler.kill()

    killer = threading.Thread(target=kill)
    killer.start()
    with pytest.raises(SweepError, match=f"the scheduler at {cluster.address} is gone"):
        sweep(Grid(seeds=range(100)), table, address=cluster.address, progress=False)
    killer.join()
    done = sweeps.load_table(table)
    assert 0 < len(done) < 100 and done["seed"].is_unique and table.read_bytes().endswith(b"\n")


def test_a_real_network_is_trained_on_the_cluster_as_it_is_here(cluster, tmp_path):
    cluster.worker("--no-nanny", "--nthreads", "2", fake=False)
    settings = {"limit": 60, "test_limit": 40, "depth": 2, "width": 16, "epochs": 2, "batch_size": 16, "dropout": 0.1}
    grid = Grid(settings, seeds=range(2))
    frame = sweep(grid, tmp_path / "t.csv", address=cluster.address, progress=False)
    here = [_workers.answer(run)["row"] for run in grid]
    for name in ("loss", "test_loss", "test_accuracy"):
        assert frame[name].tolist() == [row[name] for row in here]


@pytest.mark.parametrize(
    "address, why", [("tcp://127.0.0.1:9", "Timed out|refused"), ("nowhere", "missing port"), ("http://a:1", "unknown")]
)
def test_an_address_where_nobody_answers_is_told_soon(hurry, tmp_path, address, why):
    begin = time.monotonic()
    with pytest.raises(
        SweepError, match=f"^no Dask scheduler answers at {address} .*({why}).* is `dask scheduler` running"
    ):
        sweep(Grid(), tmp_path / "t.csv", address=address)
    assert time.monotonic() - begin < 30  # and not the minutes that a client would try


def test_the_command_says_in_one_line_that_nobody_answers(hurry, tmp_path, capsys):
    (tmp_path / "grid.toml").write_text("seeds = 2")
    assert main(["sweep", str(tmp_path / "grid.toml"), "--address", "tcp://127.0.0.1:9"]) == 1
    output, errors = capsys.readouterr()
    assert output == "" and re.fullmatch(r"error: no Dask scheduler answers at tcp://127.0.0.1:9 .*\n", errors)


def test_a_cluster_without_workers_is_refused(hurry, cluster, tmp_path):
    with pytest.raises(
        SweepError, match=f"{cluster.address} has no workers: start some with `dask worker {cluster.address}"
    ):
        sweep(Grid(), tmp_path / "t.csv", address=cluster.address)


@pytest.mark.parametrize(
    "module, message",
    [
        ("raise ImportError('no module of that name')", r"cannot use snnlib \(ImportError: no module of that name\)"),
        ("__version__ = '0.0.1'", r"has snnlib 0\.0\.1, here it is .*: install the same"),
    ],
)
def test_workers_without_this_version_of_snnlib_are_refused(cluster, tmp_path, module, message):
    (tmp_path / "other" / "snnlib").mkdir(parents=True)
    (tmp_path / "other" / "snnlib" / "__init__.py").write_text(module)
    cluster.worker("--no-nanny", fake=False, PYTHONPATH=str(tmp_path / "other"))
    with pytest.raises(SweepError, match=rf"the worker at tcp://127\.0\.0\.1:\d+ {message}"):
        sweep(Grid(), tmp_path / "t.csv", address=cluster.address)


def test_without_dask_the_error_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "dask.distributed", None)
    with pytest.raises(SweepError, match=r'a cluster needs dask \(.*\): pip install "snnlib\[cluster\]"'):
        sweep(Grid(), tmp_path / "t.csv", address="tcp://127.0.0.1:9")
