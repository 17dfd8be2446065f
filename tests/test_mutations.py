"""Plant errors in the library, one at a time, and show that its tests notice each.

Runs in continuous integration and by `make mutate`; elsewhere it is skipped, because it takes a minute or two.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
WATCHERS = {"activations": "tests/test_activations.py", "backprop": "tests/test_backprop.py"}

# file: (what is planted, text, the text in its place); each text stands in its file exactly once
MUTATIONS = {
    "activations": [
        ("the constant alpha is off in its tenth digit", "1.6732632423543772848", "1.6732632429543772848"),
        ("leaky relu has half its slope", "LEAKY_SLOPE = 0.01", "LEAKY_SLOPE = 0.005"),
        ("relu has the slope of the right at its kink", "(z > 0).astype(z.dtype)", "(z >= 0).astype(z.dtype)"),
        ("selu is half as large on the left", "y *= alpha", "y *= alpha / 2"),
        ("selu forgets lambda", "y *= lam\n", "y *= 1\n"),
        ("the exponential of selu may overflow", "np.expm1(np.minimum(z, 0))\n", "np.expm1(z)\n"),
        ("the slope of selu forgets alpha", "lam * alpha * np.exp(", "lam * np.exp("),
        ("the shared slope of selu has a wrong sign", "y + z.dtype.type(lam * alpha)", "y - z.dtype.type(lam * alpha)"),
        (
            "the slope of the sigmoid lacks a sign",
            "special.expit(z) * special.expit(-z)",
            "special.expit(z) * special.expit(z)",
        ),
        ("the shared slope of the sigmoid is wrong", "y * (1 - y)", "y * (1 + y)"),
        ("the slope of tanh is halved", "4 * e / (1 + e) ** 2", "2 * e / (1 + e) ** 2"),
        ("the shared slope of tanh has a wrong sign", "return y, 1 - y * y", "return y, 1 + y * y"),
        (
            "the slope of silu lacks a factor",
            "z * s, s * (1 + z * special.expit(-z))",
            "z * s, s * (1 + special.expit(-z))",
        ),
        ("the slope of gelu has a wrong sign", "cdf + z * density(z)", "cdf - z * density(z)"),
        ("complex gelu is mirrored", "special.erfc(-z / np.sqrt(2))", "special.erfc(z / np.sqrt(2))"),
    ],
    "backprop": [
        ("the forward pass forgets the biases", "                z += b\n", ""),
        ("the forward pass subtracts the last bias", "return x @ w.T + b", "return x @ w.T - b"),
        (
            "the first layer keeps a shifted input",
            "self._inputs, self._slopes = [x], []",
            "self._inputs, self._slopes = [x + 1], []",
        ),
        ("the backward pass forgets the slopes", "np.multiply(u, self._slopes[i], out=u)", "u"),
        ("the backward pass takes a neighbour's slopes", "self._slopes[i], out", "self._slopes[i - 1], out"),
        ("the gradient of the weights has a wrong sign", "[dz.T @ self._inputs[i]", "[-dz.T @ self._inputs[i]"),
        ("the gradient of the biases is a mean", "dz.sum(axis=0)", "dz.mean(axis=0)"),
        ("the upstream derivative is halved", "u = dz @ self.parameters[2 * i]", "u = dz @ self.parameters[2 * i] / 2"),
        (
            "a transpose is dropped and square layers hide it",
            "u = dz @ self.parameters[2 * i]",
            "w = self.parameters[2 * i]\n            u = dz @ (w.T if w.shape[0] == w.shape[1] else w)",
        ),
        ("the loss subtracts no maximum", "logits - logits.max(axis=1, keepdims=True)", "logits - 0"),
        ("the loss adds the true logit", "sums[:, 0]) - shifted[rows, labels]", "sums[:, 0]) + shifted[rows, labels]"),
        (
            "the gradient of the loss pushes the true class down",
            "dlogits[rows, labels] -= 1",
            "dlogits[rows, labels] += 1",
        ),
        ("the gradient of the loss is a sum over the batch", "dlogits / dlogits.dtype.type(len(labels))", "dlogits"),
        ("the gradient check is always content", "return float(worst)", "return 0.0"),
        ("the gradient check looks at no direction", "np.sum(gradient * direction) - slope(k, direction)", "0.0"),
        ("labels may be out of range", "(labels < 0) | (labels >= classes)", "labels < 0"),
    ],
}
PLANTED = [(file, *planted) for file, several in MUTATIONS.items() for planted in several]


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """A copy of what the tests need, in which errors can be planted."""
    if not (os.environ.get("CI") == "true" or os.environ.get("MUTATE")):
        pytest.skip("planted errors: run by `make mutate` and in continuous integration")
    folder = tmp_path_factory.mktemp("mutant")
    for name in ["snnlib", "tests", "tools"]:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


def watch(folder, tests):
    """Run tests of the copy up to the first failure; return the finished process."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "--no-header", "-p", "no:cacheprovider", "-p", "no:nbval"]
    environment = {**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run([*command, *tests], cwd=folder, env=environment, capture_output=True, text=True)


def test_the_copy_without_an_error_is_green(copy):
    result = watch(copy, WATCHERS.values())
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize("file, name, text, mutated", PLANTED, ids=[planted[1] for planted in PLANTED])
def test_is_noticed(copy, file, name, text, mutated):
    path = copy / "snnlib" / f"{file}.py"
    original = path.read_text()
    assert original.count(text) == 1, f"{text!r} must stand in {path.name} exactly once"
    path.write_text(original.replace(text, mutated))
    try:
        result = watch(copy, sorted(WATCHERS.values(), key=lambda test: file not in test))
    finally:
        path.write_text(original)
    assert result.returncode == 1 and "failed" in result.stdout, f"no test noticed that {name}:\n{result.stdout}"
