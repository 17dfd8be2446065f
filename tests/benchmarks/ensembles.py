"""How much sooner `ensembles.fit_many` is done than training one network after the other; ratios of one process.

The networks one after the other are timed on a few of them. The goal is set against the loop that tutorials show.
`training.fit` is nearly as fast as its matrix products, and on a CPU the products of all networks side by side take a
quarter to a third of its time: that is the most that `fit_many` could gain on it, and it stands beside what
it gains. Where torch sees a CUDA device, many more networks are trained there.
"""

import copy
import statistics
import sys
import time

import torch
from run import seconds
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from snnlib.ensembles import fit_many
from snnlib.networks import fully_connected
from snnlib.training import fit

WIDTHS, BATCH = [784, *[64] * 20, 10], 128
COUNT, STEPS, ROUNDS = 32, 16, 7
LOOP, TEXTBOOK = "a plain loop over shuffled indices", "the textbook loop with a DataLoader"
GOAL = 3.5  # times as fast as the textbook loop, on two cores
CUDA_COUNT, CUDA_STEPS, CUDA_ROUNDS = 256, 100, 3
CUDA_GOAL = 50
FEW = 4  # networks trained one after the other, in each round
OPTIONS = {"epochs": 2, "batch_size": BATCH, "lr": 0.01, "progress": False}


def plain_loop(model, batches):
    """Training as a tutorial has it; batches() gives those of an epoch."""
    optimizer = torch.optim.SGD(model.parameters(), lr=OPTIONS["lr"])
    for _ in range(OPTIONS["epochs"]):
        for x, y in batches():
            loss = nn.functional.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()


def products(models, x, batches):
    """The matrix products alone, of all networks side by side: forward, dW, and dx of all layers but the first."""
    first, *others = (torch.stack([model[i].linear.weight.detach() for model in models]) for i in range(len(models[0])))
    rows, columns = x[:BATCH], first.flatten(0, 1).T
    delta = torch.empty(BATCH, columns.shape[1], device=x.device)
    for _ in range(batches):
        torch.mm(rows, columns, out=delta)
        y = delta.view(BATCH, len(models), -1).transpose(0, 1)
        for W in others:
            z = torch.bmm(y, W.mT)
            torch.bmm(z.mT, y)
            torch.bmm(z, W)
            y = z
        torch.mm(delta.T, rows)


def measure(count, steps, rounds, device):
    """Seconds that all networks take, in each round: {way: [...]}."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(steps * BATCH, WIDTHS[0], generator=generator).to(device)
    y = torch.randint(0, WIDTHS[-1], (len(x),), generator=generator).to(device)
    models = [fully_connected(WIDTHS, "selu", seed=s).to(device) for s in range(count)]
    check(models[:FEW], x, y, device)

    loader = DataLoader(TensorDataset(x, y), BATCH, shuffle=True)

    def indexed():
        return ((x[rows], y[rows]) for rows in torch.randperm(len(x)).split(BATCH))

    ways = {
        "fit_many": lambda models: fit_many(models, (x, y), device=device, **OPTIONS),
        "fit": lambda models: [fit(model, (x, y), device=device, **OPTIONS) for model in models],
        LOOP: lambda models: [plain_loop(model, indexed) for model in models],
        TEXTBOOK: lambda models: [plain_loop(model, lambda: loader) for model in models],
        "products": lambda models: products(models, x, steps * OPTIONS["epochs"]),
    }
    times = {name: [] for name in ways}
    for i in range(1 + rounds):
        for name, way in ways.items():
            trained = copy.deepcopy(models if name in ("fit_many", "products") else models[:FEW])
            time.sleep(0.2)  # the threads of the one before go to sleep
            taken = seconds(lambda way=way, trained=trained: way(trained)) * count / len(trained)
            if i > 0:  # the first round warms up
                times[name].append(taken)
    return times


def check(models, x, y, device):
    """Both ways train the same networks."""
    ours, theirs = copy.deepcopy(models), copy.deepcopy(models)
    histories = fit_many(ours, (x, y), device=device, **OPTIONS)
    for model, history in zip(theirs, histories, strict=True):
        expected = fit(model, (x, y), device=device, **OPTIONS).epochs["loss"].iloc[-1]
        assert abs(history.epochs["loss"].iloc[-1] / expected - 1) < 1e-3, "the competitors disagree"


def report(count, steps, rounds, device, goal):
    """Print the ratios; return whether the goal is met."""
    times = measure(count, steps, rounds, device)

    def faster(name):
        return statistics.median(a / b for a, b in zip(times[name], times["fit_many"], strict=True))

    step = 1000 * statistics.median(times["fit_many"]) / (steps * OPTIONS["epochs"])
    place = torch.cuda.get_device_name(device) if device == "cuda" else f"{torch.get_num_threads()} thread(s)"
    met = faster(TEXTBOOK) >= goal
    most = faster("fit") / faster("products")
    print(f"{count} networks of 784-64x20-10, batch {BATCH}, {place}: {step:.1f} ms for a step of all")
    print(f"  {faster(TEXTBOOK):6.2f} x as fast as {TEXTBOOK}, one after the other (goal {goal}):", end=" ")
    print("met" if met else "MISSED")
    print(f"  {faster(LOOP):6.2f} x as fast as {LOOP}, one after the other")
    print(f"  {faster('fit'):6.2f} x as fast as training.fit, one after the other;", end=" ")
    print(f"the matrix products alone, side by side: {most:.2f} x\n")
    return met


def main():
    """Print everything; exit with 1 when a goal is missed."""
    print(f"torch {torch.__version__}, float32, SELU, gradient descent\n")
    met = report(COUNT, STEPS, ROUNDS, "cpu", GOAL)
    if torch.cuda.is_available():
        met = report(CUDA_COUNT, CUDA_STEPS, CUDA_ROUNDS, "cuda", CUDA_GOAL) and met
    else:
        print("no CUDA device: nothing to say of one")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
