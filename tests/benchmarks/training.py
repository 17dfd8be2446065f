"""How fast `training.fit` is beside its matrix products and the textbook loop, and what memory it takes.

`make bench` runs this. In each round every competitor trains for one epoch; what is reported is the median over the
rounds of the ratio within a round, so that a machine that is busy now and then disturbs all of them alike.
"""

import os
import platform
import statistics
import subprocess
import sys
import time

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from snnlib.networks import fully_connected
from snnlib.training import fit

WIDTHS, BATCH, EXAMPLES, LR = [784, *[256] * 16, 10], 256, 20_000, 0.01
PRODUCTS_GOAL = 1.35  # times the matrix products alone, at most
TEXTBOOK_GOAL = 1.2  # times as fast as the textbook loop, at least
CUDA_GOAL = 8  # times as fast as the textbook loop on the same GPU, 60,000 examples
MEMORY_GOAL = 50  # MiB beyond data, parameters, gradients and activations, at most


def random_data():
    """Standard normal inputs and random labels: speed does not depend on them."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((EXAMPLES, WIDTHS[0]), dtype=np.float32)
    return torch.from_numpy(x), torch.from_numpy(rng.integers(WIDTHS[-1], size=EXAMPLES))


def seconds(function):
    """What one call takes."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def products(model, x):
    """Return an epoch of the matrix products alone: forward, dW, and dx of all layers but the first."""
    weights = [layer.linear.weight.detach() for layer in model]

    @torch.no_grad()
    def epoch():
        for rows in x.split(BATCH):
            y, inputs = rows, []
            for w in weights:
                inputs.append(y)
                y = y @ w.T
            for i in reversed(range(len(weights))):
                _ = y.T @ inputs[i]  # the outputs stand in for the derivative of the loss
                if i:
                    y = y @ weights[i]

    return epoch


def textbook(model, x, y, device="cpu"):
    """Return an epoch of the loop that tutorials show."""
    loader = DataLoader(TensorDataset(x, y), batch_size=BATCH, shuffle=True)
    optimizer = torch.optim.SGD(model.parameters(), lr=LR)

    def epoch():
        total = 0.0
        for inputs, labels in loader:
            inputs, labels = inputs.to(device), labels.to(device)
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(inputs), labels)
            loss.backward()
            optimizer.step()
            total += loss.item()

    return epoch


def report_speed(rounds=7):
    """Print the ratios of one epoch; return whether the goals are met."""
    x, y = random_data()
    models = [fully_connected(WIDTHS, seed=0) for _ in range(3)]
    # a fit of one epoch; what it does once (checks of the data) is not part of the epoch's seconds
    loops = products(models[0], x), textbook(models[2], x, y)
    competitors = {
        "products": lambda: seconds(loops[0]),
        "fit": lambda: fit(models[1], (x, y), epochs=1, lr=LR, device="cpu", progress=False).epochs.seconds.sum(),
        "textbook": lambda: seconds(loops[1]),
    }
    times = {name: [] for name in competitors}
    for turn in range(rounds + 1):
        for name, run in competitors.items():
            taken = run()
            if turn:  # the first warms up
                times[name].append(taken)
    to_products = statistics.median(a / b for a, b in zip(times["fit"], times["products"], strict=True))
    to_textbook = statistics.median(a / b for a, b in zip(times["textbook"], times["fit"], strict=True))
    print(f"An epoch of 784-256x16-10, SELU, batch {BATCH}, {EXAMPLES} examples, {torch.get_num_threads()} thread(s)")
    for name, taken in times.items():
        print(f"  {name:10} {statistics.median(taken):6.2f} s")
    met = to_products <= PRODUCTS_GOAL
    print(f"  fit / products {to_products:5.2f}, goal at most {PRODUCTS_GOAL}: {'met' if met else 'MISSED'}")
    faster = to_textbook >= TEXTBOOK_GOAL
    print(f"  textbook / fit {to_textbook:5.2f}, goal at least {TEXTBOOK_GOAL}: {'met' if faster else 'MISSED'}\n")
    return met and faster


MEMORY = """
import resource, torch
from snnlib.networks import fully_connected
from snnlib.training import fit
widths, batch, examples = [784, *[256] * 16, 10], 256, 20_000
x, y = torch.randn(examples, widths[0]), torch.randint(10, (examples,))
fit(fully_connected([784, 8, 10], seed=0), (x[:500], y[:500]), (x[:500], y[:500]), epochs=1, progress=False)  # imports
model = fully_connected(widths, seed=0)
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
before = peak()
fit(model, (x, y), (x, y), epochs=2, device="cpu", progress=False)
gradients = sum(4 * p.numel() for p in model.parameters()) / 2**20
activations = 4 * batch * sum(widths[1:]) / 2**20
print(peak() - before - gradients - activations)
"""


def report_memory():
    """Print the memory that fit takes in a process of its own; return whether the goal is met."""
    process = subprocess.run([sys.executable, "-c", MEMORY], check=True, capture_output=True, text=True)
    megabytes = float(process.stdout)
    met = megabytes < MEMORY_GOAL
    print(f"Peak memory of fit beyond data, parameters, gradients and activations: {megabytes:.0f} MiB", end=" ")
    print(f"(goal: less than {MEMORY_GOAL}: {'met' if met else 'MISSED'})\n")
    return met


def report_cuda():
    """Print how much faster an epoch of 60,000 examples is than the textbook loop on a GPU; return if it is enough."""
    device = torch.device("cuda")
    x, y = (t.repeat(3, *[1] * (t.ndim - 1)) for t in random_data())
    models = [fully_connected(WIDTHS, seed=0).to(device) for _ in range(2)]
    loop = textbook(models[0], x, y, device)
    x, y = x.to(device), y.to(device)
    loop()  # warms up
    times = {"textbook": [], "fit": []}
    for _ in range(3):
        torch.cuda.synchronize()
        times["textbook"].append(seconds(lambda: (loop(), torch.cuda.synchronize())))
        # of two epochs the second: the first one captures the step
        times["fit"].append(fit(models[1], (x, y), epochs=2, lr=LR, progress=False).epochs["seconds"].iloc[-1])
    faster = statistics.median(a / b for a, b in zip(times["textbook"], times["fit"], strict=True))
    print(f"{torch.cuda.get_device_name()}: an epoch of {len(x):,} examples takes {min(times['fit']):.3f} s", end=", ")
    met = faster >= CUDA_GOAL
    print(f"{faster:.1f} x as fast as the textbook loop (goal {CUDA_GOAL}: {'met' if met else 'MISSED'})\n")
    return met


def main():
    """Print everything; exit with 1 when a goal is missed."""
    print(f"{platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}\n")
    met = [report_speed(), report_memory()]
    if torch.cuda.is_available():
        met.append(report_cuda())
    return 0 if all(met) else 1


if __name__ == "__main__":
    sys.exit(main())
