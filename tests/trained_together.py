"""What tests/test_distributed.py trains, in one process and in two: `python tests/trained_together.py OUT NAME ...`.

Each process so started stores what a scenario ends with in OUT/NAME-RANK.npz, or the type and the message of its error
in OUT/NAME-RANK.txt, and goes on with the next one.
"""

import os
import sys
from pathlib import Path

import numpy as np

from snnlib import networks, training

RANK = int(os.environ.get("RANK", "0"))


def problem(n=52, dtype=np.float32):
    """n training examples (in batches of 17 the last one has a single one) and 30 to test, of three classes."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((n + 30, 5)).astype(dtype)
    y = np.digitize(x[:, 0] + rng.standard_normal(len(x)), [-0.5, 0.5])
    return (x[:n], y[:n]), (x[n:], y[n:])


def network(normalization=None, seed=0, **options):
    return networks.fully_connected([5, 16, 16, 3], "selu", normalization, seed=seed, **options)


def train(model=None, data=None, **options):
    """Train and return all that the run ends with, but the seconds: name -> array."""
    model = network() if model is None else model
    options = {"epochs": 6, "batch_size": 17, "lr": 0.1, "seed": 1, "device": "cpu"} | options
    history = training.fit(model, *(data or problem()), **options)
    arrays = {name: t.detach().numpy() for name, t in model.state_dict().items()}
    for part, table in (("history", history.epochs), ("layers", history.layers)):
        for name in [] if table is None else table.columns.difference(["seconds"]):
            arrays[f"{part} {name}"] = table[name].to_numpy()
    return arrays


def fails_at(step, act, **options):
    """A network that calls `act` at a step (counted from 0) of its training, in the second process alone."""
    model, calls = network(**options), []

    def hook(module, inputs):
        calls.append(module.training)
        if sum(calls) == step + 1 and RANK == 1:
            act()

    model.register_forward_pre_hook(hook)
    return model


def fail():
    raise ZeroDivisionError("the second process fails")


SCENARIOS = {
    # equal to one process within rounding
    "sgd": lambda out: train(),
    "momentum": lambda out: train(optimizer="momentum", clip=0.3, schedule="cosine", lr=0.05),
    "adam": lambda out: train(optimizer="adam", lr=0.01, statistics=9),
    "early": lambda out: train(optimizer="adam", lr=0.01, epochs=60, patience=3),
    "layer": lambda out: train(network("layer"), optimizer="momentum", lr=0.05),
    "weight": lambda out: train(network("weight")),
    "one by one": lambda out: train(batch_size=1, epochs=1, lr=0.01, clip=1.0),
    "double": lambda out: train(network().double(), problem(dtype=np.float64), optimizer="momentum", clip=0.3, lr=0.05),
    "own seeds": lambda out: train(network(seed=RANK)),
    # checkpoints
    "half": lambda out: train(optimizer="adam", lr=0.01, epochs=3, checkpoint=out / "checkpoints"),
    "rest": lambda out: train(optimizer="adam", lr=0.01, checkpoint=out / "checkpoints"),
    "from one": lambda out: train(optimizer="adam", lr=0.01, checkpoint=out / "of one process"),
    "steps": lambda out: train(optimizer="adam", lr=0.01, checkpoint=out / "steps", checkpoint_minutes=1e-9),
    # dropout draws its masks in each process
    "dropout": lambda out: train(network(dropout=0.2)),
    # refused
    "batch": lambda out: train(network("batch")),
    "own rates": lambda out: train(lr=0.1 + RANK),
    "own data": lambda out: train(data=problem(52 + RANK)),
    "foreign": lambda out: train(optimizer="adam", lr=0.02, checkpoint=out / "of one process"),
    # one of them fails, dies, cannot write
    "fails": lambda out: train(fails_at(7, fail)),
    "dies": lambda out: train(fails_at(7, lambda: os.kill(os.getpid(), 9))),
    "no folder": lambda out: train(checkpoint=out / "file"),
    "diverges": lambda out: train(lr=1e30),
}


def main(out, names):
    status = 0
    for name in names:
        try:
            np.savez(out / f"{name}-{RANK}.npz", **SCENARIOS[name](out))
        except Exception as error:
            (out / f"{name}-{RANK}.txt").write_text(f"{type(error).__name__}: {error}", encoding="utf-8")
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
