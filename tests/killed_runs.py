"""Runs of `fit` that are killed and started again; `python tests/killed_runs.py VARIANT FOLDER KILLS SEED`.

This process imports torch once and forks a child for every start, which costs milliseconds. A child is killed (SIGKILL)
some time after a given step has been reached; every other one at the moment at which it is seen to write a checkpoint.
Prints, as JSON, the steps of the checkpoints at the kills and how many of these left a half-written file behind; what
the whole and the killed run end with lies in FOLDER/whole.npz and FOLDER/killed.npz.
"""

import json
import os
import random
import signal
import sys
import time
import traceback
from pathlib import Path

import numpy as np

from snnlib import networks, training

EXAMPLES, FEATURES, CLASSES, STEPS = 100, 6, 3, 7  # of batches of 16: the last one has 4
EPOCHS = 36
VARIANTS = {
    "each epoch": {"optimizer": "adam", "patience": 35, "statistics": 10},
    "each step": {"optimizer": "momentum", "clip": 1.0, "schedule": "cosine", "checkpoint_minutes": 1e-9},
}


def problem():
    """Training and test set: noise, with classes that depend on the first feature."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((EXAMPLES + 40, FEATURES)).astype(np.float32)
    y = np.digitize(x[:, 0] + rng.standard_normal(len(x)), [-0.5, 0.5])
    return (x[:EXAMPLES], y[:EXAMPLES]), (x[EXAMPLES:], y[EXAMPLES:])


def network(widths=(FEATURES, 16, 16, CLASSES), activation="relu", **options):
    """Batch normalization has buffers, dropout draws masks."""
    options = {"normalization": "batch", "dropout": 0.2, "scheme": "he", "seed": 0} | options
    return networks.fully_connected(widths, activation, **options)


def train(model=None, data=None, **options):
    """Return the model, trained, and its history."""
    model = network() if model is None else model
    options = {"epochs": EPOCHS, "batch_size": 16, "lr": 0.05, "seed": 1, "device": "cpu"} | options
    return model, training.fit(model, *(data or problem()), **options)


def result(model, history):
    """All that a run ends with, but the seconds: name -> array."""
    arrays = {name: t.detach().numpy() for name, t in model.state_dict().items()}
    for part, table in (("history", history.epochs), ("layers", history.layers)):
        for name in [] if table is None else table.columns.difference(["seconds"]):
            arrays[f"{part} {name}"] = table[name].to_numpy()
    return arrays


def start(variant, target, folder=None):
    """Fork a child that trains to the end and stores the result; return its process id."""
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        options = dict(VARIANTS[variant])
        if folder is None:
            options.pop("checkpoint_minutes", None)
        np.savez(target, **result(*train(checkpoint=folder, **options)))
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


def reached(folder):
    """The last step of which there is a checkpoint."""
    return max((int(path.stem.removeprefix("step-")) for path in folder.glob("step-*.json")), default=0)


def writing(folder):
    return any(name.endswith(".tmp") for name in (os.listdir(folder) if folder.exists() else []))


def wait_for(condition, child, pause):
    while not condition():
        time.sleep(pause)
        if os.waitpid(child, os.WNOHANG) != (0, 0):
            raise SystemExit("the child came to its end before it was killed")


def main(variant, folder, kills, seed):
    random.seed(seed)
    network()  # lets torch import all that it puts off until then, before there are children that would each do so
    begin = time.perf_counter()
    _, status = os.waitpid(start(variant, folder / "whole.npz"), 0)
    assert status == 0
    once = (time.perf_counter() - begin) / EPOCHS
    steps, torn, checkpoints = [], 0, folder / "checkpoints"
    for i in range(kills):
        child = start(variant, folder / "killed.npz", checkpoints)
        target = random.uniform(i, i + 1) / (kills + 1) * EPOCHS * STEPS
        wait_for(lambda target=target: reached(checkpoints) >= target, child, 1e-3)
        time.sleep(random.uniform(0, once))
        if i % 2:
            wait_for(lambda: writing(checkpoints), child, 0)
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        assert os.WTERMSIG(status) == signal.SIGKILL
        steps.append(reached(checkpoints))
        torn += writing(checkpoints)
    assert not (folder / "killed.npz").exists()
    _, status = os.waitpid(start(variant, folder / "killed.npz", checkpoints), 0)
    assert status == 0
    print(json.dumps({"steps": steps, "torn": torn, "left": len(os.listdir(checkpoints))}))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
