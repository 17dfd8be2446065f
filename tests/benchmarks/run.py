"""How fast the course's code is, as ratios measured in one process; `make bench` runs this.

In each round every competitor has its turn: a pause, in which the threads of the one before it go to sleep, a few runs
to warm up, then several timed ones. What is reported is the median over the rounds of the ratio of medians within a
round, so that a machine that is busy now and then disturbs all of them alike.
"""

import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import scipy
import torch
from twins import torch_twin

from snnlib.backprop import Network, check_gradients

ROOT = Path(__file__).resolve().parents[2]
WIDTHS, BATCH = [784, *[256] * 16, 10], 256
GOAL = 1.6  # times torch autograd, for SELU in float32


def seconds(function):
    """What one call takes."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def rounds(functions, repeat=7, runs=15):
    """{name: [median seconds of a run, in each round]}."""
    times = {name: [] for name in functions}
    for _ in range(repeat):
        for name, function in functions.items():
            time.sleep(0.2)
            for _ in range(3):
                function()
            times[name].append(statistics.median(seconds(function) for _ in range(runs)))
    return times


def ratio(times, name, reference):
    """Median over the rounds of the ratio of two competitors."""
    return statistics.median(a / b for a, b in zip(times[name], times[reference], strict=True))


def training_step(activation):
    """Forward and backward: snnlib, torch autograd, and the matrix products alone."""
    network = Network(WIDTHS, activation, dtype=np.float32)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((BATCH, WIDTHS[0])).astype(np.float32)
    upstream = rng.standard_normal((BATCH, WIDTHS[-1])).astype(np.float32) / BATCH
    twin, x_torch, upstream_torch = torch_twin(network), torch.tensor(x, requires_grad=True), torch.tensor(upstream)
    wanted = [x_torch, *twin.parameters()]

    def ours():
        network.forward(x)
        return network.backward(upstream)

    def autograd():
        return torch.autograd.grad(twin(x_torch), wanted, upstream_torch)

    def products():
        y, inputs = x, []
        for w, _ in network.layers:
            inputs.append(y)
            y = y @ w.T
        u = upstream
        for (w, _), y in zip(reversed(network.layers), reversed(inputs), strict=True):
            _ = u.T @ y
            u = u @ w

    for a, b in zip([ours()[0], *ours()[1]], autograd(), strict=True):
        # loosely: rounding may put a pre-activation on the other side of the kink, where the slope is another
        assert np.linalg.norm(a - b.numpy()) < 0.1 * np.linalg.norm(b), "the competitors disagree"
    return rounds({"snnlib": ours, "torch": autograd, "products": products})


def report_training_steps():
    """Print the table; return whether the goal is met."""
    print(f"Forward and backward, {WIDTHS[0]}-256x16-10, batch {BATCH}, float32")
    print("  activation   snnlib / torch   snnlib / matrix products   torch / matrix products   snnlib in ms")
    for name in ["selu", "relu", "tanh", "gelu"]:
        times = training_step(name)
        to_torch = ratio(times, "snnlib", "torch")
        to_products, torch_to_products = ratio(times, "snnlib", "products"), ratio(times, "torch", "products")
        milliseconds = 1000 * statistics.median(times["snnlib"])
        print(f"  {name:10} {to_torch:15.2f} {to_products:26.2f} {torch_to_products:25.2f} {milliseconds:14.1f}")
        if name == "selu":
            met = to_torch <= GOAL
    print(f"  goal for selu: at most {GOAL} x torch: {'met' if met else 'MISSED'}\n")
    return met


def report_checks():
    """Print what the gradient check costs."""
    network = Network([40] * 13, "selu")
    x, labels = np.random.default_rng(0).standard_normal((5, 40)), np.arange(5)

    def step():
        network.backward(network.forward(x))

    times = rounds({"check": lambda: check_gradients(network, x, labels), "step": step}, repeat=3, runs=5)
    print(f"check_gradients, widths 40 x 13: {ratio(times, 'check', 'step'):.0f} x a forward and backward pass\n")


def report_book():
    """Print how long the book takes to build, in a copy: in full, after one chapter changed, without a change."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "course"
        shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".git", ".venv*", "_build", "__pycache__"))

        def build():
            start = time.perf_counter()
            subprocess.run([sys.executable, "tools/book.py"], cwd=copy, check=True, capture_output=True)
            return time.perf_counter() - start

        full = build()
        chapter = copy / "book" / "backpropagation" / "one-layer.ipynb"
        chapter.write_text(chapter.read_text().replace("After this chapter", "After these pages", 1))
        changed, unchanged = build(), build()
    print(
        f"Book from stored outputs: {full:.1f} s in full (goal 60), {changed:.1f} s after one chapter changed", end=" "
    )
    print(f"(goal 10), {unchanged:.1f} s without a change\n")


def main():
    """Print everything; exit with 1 when the goal for training steps is missed."""
    print(f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}")
    print(f"NumPy {np.__version__}, SciPy {scipy.__version__}, torch {torch.__version__}", end=", ")
    print(f"torch threads {torch.get_num_threads()}\n")
    met = report_training_steps()
    report_checks()
    report_book()
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
