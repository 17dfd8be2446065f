"""Plant errors in the library and the grader, one at a time, and show that its tests notice each.

An error must be noticed by the module's own test file: that another one would fail does not count. Runs in continuous
integration and by `make mutate`; elsewhere it is skipped, because it takes some minutes.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FIGURES = "tests/test_explorables.py"


def grading(*tests):
    """Tests of the grader by their names: all of its tests together take minutes."""
    return [f"tests/test_coursework_engine.py::test_{name}" for name in tests]


WATCHERS = {  # file: the tests that must notice what is wrong in it, for pytest
    "activations": ["tests/test_activations.py"],
    "backprop": ["tests/test_backprop.py"],
    "gaussian": ["tests/test_gaussian.py"],
    "meanfield": ["tests/test_meanfield.py"],
    "networks": ["tests/test_networks.py"],
    "ensembles": ["tests/test_ensembles.py"],
    "training": ["tests/test_training.py"],
    "_steps": ["tests/test_training.py"],
    "_chain": ["tests/test_training.py"],
    "_checkpoints": ["tests/test_checkpoints.py"],
    "sweeps": ["tests/test_sweeps.py"],
    "propagation": ["tests/test_propagation.py"],
    "datasets": ["tests/test_datasets.py"],
    "__main__": ["tests/test_data_command.py", "tests/test_certify_command.py"],
    "moments": ["tests/test_moments.py"],
    "contraction": ["tests/test_contraction.py"],
    "_bacteria": ["tests/test_bacteria.py"],
    "live": ["tests/test_live.py"],
    "explorables/_bundle": [FIGURES, "-k", "files_are or syntax"],
    "explorables/_random": ["tests/test_explorable_numerics.py", "-k", "random"],
    "explorables/js/backward.js": [FIGURES, "-k", "BackwardPass"],
    "explorables/js/chain.js": [FIGURES, "-k", "Chain"],
    "explorables/js/common.js": [FIGURES, "-k", "Chain"],
    "explorables/js/host.js": [FIGURES, "-k", "Chain or broken"],
    "explorables/js/jacobian_product.js": [FIGURES, "-k", "JacobianProduct"],
    "explorables/js/push_forward.js": [FIGURES, "-k", "PushForward"],
    "explorables/js/self_normalizing_map.js": [FIGURES, "-k", "becomes or taps or random and SelfNormalizingMap"],
    "explorables/js/selu_designer.js": [FIGURES, "-k", "becomes or random and SeluDesigner"],
    "explorables/js/signal_through_depth.js": [FIGURES, "-k", "networks"],
    "explorables/js/train.js": [FIGURES, "-k", "training or setting"],
    "explorables/js/training.js": [FIGURES, "-k", "training"],
    "coursework": ["tests/test_coursework.py"],
    "tools/coursework/notebooks": grading(
        "students_get_neither_solutions_nor_hidden_tests", "only_what_is_the_students_comes_from_the_submission"
    ),
    "tools/coursework/intake": grading(
        "namesakes_are_never_taken_for_one_student", "a_zip_that_leads_elsewhere_or_is_too_large_does_no_harm"
    ),
    "tools/coursework/batch": grading(
        "names_of_files_cannot_forge_the_report",
        "what_changed_is_graded_again_and_nothing_else",
        "what_could_not_be_graded_is_tried_again",
    ),
    "tools/coursework/run": grading("a_test_that_gives_more_points_than_there_are_gives_none", "a_mistake_is_named"),
    "tools/coursework/remote": grading("an_object_ends_with_its_process"),
    "tools/coursework/protocol": grading("what_is_not_a_value_is_refused"),
    "tools/coursework/worker": grading(
        "two_walls_keep_the_network_out", "a_loop_is_interrupted_and_its_process_goes_on"
    ),
    "tools/coursework/sandbox": grading(
        "two_walls_keep_the_network_out", "a_sandbox_that_shows_what_it_must_not_is_refused"
    ),
    "tools/coursework/feedback": [
        "tests/test_coursework_nbgrader.py::test_feedback_holds_no_script_and_asks_nothing_of_any_host"
    ],
    "tools/coursework/marks": ["tests/test_coursework_nbgrader.py::test_students_are_named_where_they_are_few"],
}

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
    "gaussian": [
        ("the trapezoidal rule trusts wide Gaussians", "(stds <= _WIDEST)", "(stds <= 1000)"),
        ("the midpoints are weighted twice", "(whole + middle) / 2, np.nan", "(whole + 2 * middle) / 2, np.nan"),
        ("every panel settles at once", "return 2 * last * loss**2", "return 0 * last"),
        ("panels are not cut at the kinks", "np.unique(np.append(kinks, 0.0))", "np.unique(np.append(kinks * 0, 0.5))"),
        ("the density lacks its one half", "y *= -0.5", "y *= -0.45"),
    ],
    "meanfield": [
        ("the size of f is subtracted without its mean", "- size * expectation(f, 0.0, q, a.kinks)", "- size"),
        (
            "the variance map forgets to square sigma_b",
            "q) + sigma_b**2\n\n\ndef variance_path",
            "q) + sigma_b\n\n\ndef variance_path",
        ),
        (
            "chi takes one side of a kink at q = 0",
            "a.derivative(np.array([-z, z]))",
            "a.derivative(np.array([-z, -z]))",
        ),
        ("the slope of the variance map lacks a factor", "return u * value * slope", "return value * slope"),
        (
            "the inner Gaussian of a correlation is too wide",
            "width = np.sqrt((1 - c) * (1 + c) * q)",
            "width = np.sqrt((1 - c) * q)",
        ),
        (
            "the correlation map forgets the bias",
            "(sigma_w**2 * product + sigma_b**2) / following",
            "(sigma_w**2 * product) / following",
        ),
        (
            "the depth scale of chaos is that of order",
            "slope[i] = sigma_w[i] ** 2 * _product(a, a.derivative, c[i], q[i])",
            "pass",
        ),
        ("the edge of chaos forgets the bias", "_squared_slope(a, q) - sigma_b**2) / q", "_squared_slope(a, q)) / q"),
    ],
    "ensembles": [
        (
            "every network takes the first rate",
            "self.delta.mul_((rates / self.delta.shape[1]).view(-1, 1, 1))",
            "self.delta.mul_(rates[0] / self.delta.shape[1])",
        ),
        ("clipping lengthens short gradients", "(clip / norms).clamp(max=1)", "(clip / norms)"),
        (
            "clipping takes one norm for all",
            ".norm(dim=1) for g in gradients]).norm(dim=0)",
            ".norm() for g in gradients]).norm(dim=0)",
        ),
        ("accuracy leaves the networks in evaluation mode", "            self.train(training)", "            pass"),
    ],
    "training": [
        (
            "the last rate of the schedule is late by a step",
            "self.epoch * self.steps + self.k) / (self",
            "self.epoch * self.steps) / (self",
        ),
        (
            "the last, smaller batch weighs as much as the others",
            "sizes[-1] = len(self.x) - self.batch_size * (self.steps - 1)",
            "pass",
        ),
        (
            "early stopping keeps the last parameters",
            "            self.model.load_state_dict(self.best)",
            "            pass",
        ),
        ("evaluation leaves dropout on", "    model.eval()\n    loss, hits", "    loss, hits"),
    ],
    "_steps": [
        ("momentum is forgotten", "backwards(self.v, self.momentum)", "backwards(self.v)"),
        (
            "momentum is forgotten with clipping",
            "torch._foreach_mul_(self.v, self.momentum)",
            "torch._foreach_mul_(self.v, 0.0)",
        ),
        ("adam corrects no bias", "lr / (1 - 0.9**t)", "lr"),
        ("clipping lengthens short gradients", "(self.clip / norm).clamp(max=1)", "self.clip / norm"),
        (
            "every epoch has the same order",
            "np.random.default_rng((seed, epoch)).permutation",
            "np.random.default_rng(seed).permutation",
        ),
    ],
    "_chain": [
        ("the softmax forgets the label", "dz.new_full((1, 1), -1.0)", "dz.new_full((1, 1), 0.0)"),
        ("biases stay", "addmv_(dz.T, self._ones[: len(dz)], beta=keep)", "mul_(keep or 0)"),
    ],
    "_checkpoints": [
        ("the sum of the tensors is not compared", "if hashlib.sha256(data).hexdigest() != sum_:", "if False:"),
        (
            "the JSON is written first",
            "_write(tensor_file, data)\n            _write(json_file, text)",
            "_write(json_file, text)\n            _write(tensor_file, data)",
        ),
        ("a damaged checkpoint is passed over unasked", "if damage is None or fallback:", "if True:"),
        ("the last good checkpoint goes", "[: keep - 1], step", "[:0], step"),
    ],
    "sweeps": [
        (
            "the rate is chosen by the test pictures",
            'by = "validation_accuracy" if summary',
            'by = "test_accuracy" if summary',
        ),
        ("a run that is done is made again", "if kept.key(run) not in kept.rows", "if True"),
        (
            "a line that was cut off counts",
            'length = content.rfind(b"\\n") + 1  # what',
            "length = len(content)  # what",
        ),
    ],
    "networks": [
        ("residual layers forget their input", "return x + y if self.residual else y", "return y"),
        ("the gain is squared", "linear.weight *= sigma_w", "linear.weight *= sigma_w**2"),
        ("all layers draw the same numbers", "np.random.default_rng(child)", "np.random.default_rng(seed)"),
        ("torch's random state is used", "nn.utils.skip_init(nn.Linear, n, m)", "nn.Linear(n, m)"),
    ],
    "propagation": [
        ("z may be overwritten in place", "return z.clone()  #", "return z  #"),
        ("hooks stay in the model", "            hook.remove()", "            pass"),
        ("deltas are those of the mean loss", 'reduction="sum"', 'reduction="mean"'),
        ("buffers are the model's own", "else None, copy=True)", "else None)"),
        ("q is a variance", 'row["pre_variance"] + row["pre_mean"] ** 2', 'row["pre_variance"]'),
        ("the Jacobian is transposed", "rows.transpose(0, 1)", "rows.permute(1, 2, 0)"),
        (
            "the last matrix acts first",
            "    for J in matrices:\n        image",
            "    for J in reversed(matrices):\n        image",
        ),
    ],
    "datasets": [
        ("what follows the declared entries is not looked at", "if count == shape[0] and stream.read(1):", "if False:"),
        ("a header is believed beyond the size of its file", "> capacity:", "> 10**30:"),
        ("labels and images need not be equally many", "if label_shape[0] != count:", "if False:"),
        ("the label 10 is let through", "wrong = y >= classes", "wrong = y > classes"),
        ("pictures are divided by the variance", "/ 255 - mean) / std).astype", "/ 255 - mean) / std**2).astype"),
        ("the MD5 of a file that is there is not compared", "if found != expected:", "if False:"),
        (
            "test rows leak into the scale",
            "mean, std = parts[0].mean(axis=0), parts[0].std(axis=0)",
            "mean, std = np.concatenate(parts).mean(axis=0), parts[0].std(axis=0)",
        ),
    ],
    "__main__": [
        (
            "an error exits with 0",
            'datasets.DataError as error:\n        print(f"error: {error}", file=sys.stderr)\n        return 1',
            'datasets.DataError as error:\n        print(f"error: {error}", file=sys.stderr)\n        return 0',
        ),
        ("check fetches", "if not options.check:", "if True:"),
        ("certify exits with 0 whatever it finds", "return 0 if all(proven) else 1", "return 0"),
        ("only the first claim counts", "return not any(witness for witness, _ in claims)", "return not claims[0][0]"),
        ("negative fractions are options again", "    parser._negative_number_matcher", "    unused"),
        (
            "the intervals that are given are ignored",
            "replace(domain, **given) for domain",
            "domain for domain",
        ),
    ],
    "moments": [
        ("the variance between the halves is forgotten", " + (h.p * between) * (h.q * between)", ""),
        (
            "the slope forgets the point mass at the kink",
            "(alpha * (q * power) + jump) / 2",
            "(alpha * (q * power)) / 2",
        ),
        ("the Jacobian forgets that the mean moves at the kink", " - mean * jump", ""),
        ("the Jacobian exchanges omega and tau", "np.stack([omega, tau])", "np.stack([tau, omega])"),
        ("narrow Gaussians go by differences that cancel", "_CANCELS = 1e-3", "_CANCELS = 1e-9"),
        ("the Taylor series stops early", "_TAYLOR, _MOMENTS = 10, 14", "_TAYLOR, _MOMENTS = 5, 14"),
        ("far tails go by differences that cancel", "_FAR_TAIL = 5.0", "_FAR_TAIL = 30.0"),
        ("the kink counts as far when it is not", "_KINK_FAR = 10.0", "_KINK_FAR = 4.0"),
        ("saturated functions are centred by rounding", "if a not in _FROM_LIMITS:", "if True:"),
        (
            "narrow Gaussians are centred by rounding",
            "(smooth, _trapezoidal, _narrow_difference)",
            "(smooth, _trapezoidal, _wide_difference)",
        ),
        ("Stein's identity forgets a factor", "(change * x).sum(axis=1) / (2 * s)", "(change * x).sum(axis=1) / s"),
        ("every fixed point attracts", "radius < 1 - _SETTLED", "radius < 2"),
        ("a fixed point that is none passes for one", "if not fate or np.abs", "if True or np.abs"),
        (
            "the search for a fixed point gives up at once",
            "for guess in [(mu, nu), led, *_crossings(a, omega, tau, mu)]:",
            "for guess in [(mu, nu)]:",
        ),
        (
            "the quadratic equation has the other root",
            "alpha = C / (B + root) if mu > 0 else (B + root) / A",
            "alpha = C / (B - root) if mu > 0 else (B - root) / A",
        ),
        ("an impossible target is not noticed", "if mu != 0 and share >= limit:", "if mu != 0 and share >= 1:"),
        (
            "too few digits are kept for what cancels",
            "guard, before = 20 + _cancelling(*target), None",
            "guard, before = 0, None",
        ),
        ("alpha dropout forgets the mean", "(saturated - mu) ** 2", "saturated ** 2"),
        (
            "alpha dropout exchanges rate and 1 - rate",
            "b = mu - a * ((1 - rate) * mu + rate * saturated)",
            "b = mu - a * (rate * mu + (1 - rate) * saturated)",
        ),
    ],
    "contraction": [
        (
            "the row of nu~ lacks the correction by -2 mu~",
            "(b[1] - 2 * a[0] * a[1], b[2] / 2 - a[0] * a[2])",
            "(b[1], b[2] / 2)",
        ),
        (
            "the corners are taken at half the radius",
            "(m1 - m0).abs_upper(), (v1 - v0).abs_upper()",
            "(m1 - m0).abs_upper() / 2, (v1 - v0).abs_upper() / 2",
        ),
        ("one corner of the box is forgotten", ".max(corners[3])", ""),
        (
            "the slope of K along v lacks a term",
            "b[4] / 4 - a[2] * a[2] / 2 - a[0] * a[4] / 2",
            "b[4] / 4 - a[0] * a[4] / 2",
        ),
        ("the second derivative of the density has a wrong sign", "(u * u - 1 / v) * p", "(u * u + 1 / v) * p"),
        (
            "a tail is taken at one end of its ball",
            "return function(low).union(function(high))",
            "return function(low)",
        ),
        (
            "the norm takes the least tau",
            "_exact(domain.nu[0]), _exact(domain.tau[1])\n",
            "_exact(domain.nu[0]), _exact(domain.tau[0])\n",
        ),
        (
            "the norm forgets the negative omega",
            "        if omega_low <= 0:\n",
            "        if omega_low <= 0 and omega_high < 0:\n",
        ),
        (
            "a box where tau rises with v is taken with the slope of K alone",
            "        if rising:\n            along_v",
            "        if False:\n            along_v",
        ),
        ("half of a halved box is dropped", "in ((low, middle), (middle, high))]", "in ((low, middle),)]"),
        (
            "the search believes its centres",
            "heapq.heappush(heap, (-bound.high,",
            "heapq.heappush(heap, (-bound.centre.upper(),",
        ),
        (
            "upper bounds are rounded down",
            "_rounded(x.upper(), ROUND_CEILING)",
            "_rounded(x.upper(), ROUND_FLOOR)",
        ),
        (
            "the least nu ignores nu_min",
            "return sloped if sign * (_middle(v) - kink) > 0 else constant",
            "return sloped",
        ),
        ("a refutation of Theorem 3 names the wrong point", "largest_tau=sign > 0", "largest_tau=True"),
    ],
    "_bacteria": [
        ("both splits share a stream", "spawn_key=(stream,)", "spawn_key=(0,)"),
        ("classes come in order", 'order = np.argsort(dice.uniform(0, 1, n), kind="stable")', "order = np.arange(n)"),
        ("a chain may have three cells", "number = dice.count(4, 7, B)", "number = dice.count(3, 7, B)"),
        ("a vibrio is an arc twice as long", "arc = dice.uniform(0.25, 0.5, B)", "arc = dice.uniform(0.5, 1.0, B)"),
        ("cells are bright", "return ring + middle - inside", "return ring + middle + inside"),
        ("the turn is a shear", "c * cells.along_x - s * cells.along_y", "c * cells.along_x + s * cells.along_y"),
    ],
    "explorables/_bundle": [
        ("an import of what is not there passes", "set(wanted) - set(_exports(file))", "set(wanted) - set(wanted)"),
    ],
    "explorables/js/backward.js": [
        ("the sweep forgets the slopes", "const delta = u[i][to] * slopes[i][to];", "const delta = u[i][to];"),
        ("the nudge goes one way only", "(nudged(H) - nudged(-H)) / (2 * H)", "(nudged(H) - nudged(0)) / H"),
    ],
    "explorables/js/chain.js": [
        ("the derivative arrives a layer early", "c ** (N - 1 - k)", "c ** (N - k)"),
        ("the smallest number of a format counts as lost", "value < low ||", "value <= low * 1.5 ||"),
    ],
    "explorables/js/push_forward.js": [
        ("the weights do not count", "mu, nu, omega, tau);\n  const { density", "mu, nu);\n  const { density"),
        ("the density of z is not normalized", "normalDensity((z - m) / s) / s", "normalDensity((z - m) / s)"),
    ],
    "live": [
        ("the button does nothing", "self._task.cancel())", "None)"),
        ("a control that is moved waits for the end", "        if self._task:\n", "        if False:\n"),
    ],
    "explorables/js/common.js": [
        ("arrow keys do not move handles", "fig.change(axis.set(value, now));", ""),
        ("a dragged handle stays", 'knob.addEventListener("pointermove", move);', ""),
        ("controls have no name", 'html("label", { class: "snn-control" }', 'html("div", { class: "snn-control" }'),
        ("the result is not said", "status.replaceChildren(", "(() => {})("),
    ],
    "explorables/js/host.js": [
        ("state out of bounds is taken", "value >= min && value <= max,\n    whole", "true,\n    whole"),
        ("state of another version is taken", "version !== String(module.about.version)", "false"),
    ],
    "explorables/_random": [
        ("pictures have other random numbers", "np.cos(2 * np.pi * v)", "np.sin(2 * np.pi * v)"),
    ],
    "explorables/js/jacobian_product.js": [
        ("the first layer acts last", "chain(J.slice(0, i + 1))", "chain(J.slice(0, i + 1).reverse())"),
        ("both units have one slope", "second * W[2], second * W[3]", "first * W[2], first * W[3]"),
    ],
    "explorables/js/signal_through_depth.js": [
        ("the gradient goes through the transpose", "delta[i] * W[l][i * n + j]", "delta[i] * W[l][j * n + i]"),
        ("networks stay when the state has changed", "measured = [];\n    stop();", "stop();"),
    ],
    "explorables/js/self_normalizing_map.js": [
        (
            "a start follows the map with its sums swapped",
            "mu, nu, omega, tau);",
            "mu, nu, tau - 1, omega + 1);",
        ),
        ("a level that repels is said to attract", "if (attracting) return", "if (radius > 0) return"),
        ("the last start comes where one taps", "const k = away.indexOf(Math.min(...away));", "const k = 3;"),
    ],
    "explorables/js/selu_designer.js": [
        ("the price forgets tau", "made ? tau * expectation(", "made ? expectation("),
        ("a target without a SELU is passed over", "if (!constants.length) {", "if (!constants) {"),
    ],
    "explorables/js/train.js": [
        ("training goes on off the screen", "if (busy && seen)", "if (busy)"),
        (
            "other settings take over the steps of the last ones",
            "if (settings !== null && now !== settings) fig.change({ steps: 0 });",
            "",
        ),
    ],
    "explorables/js/training.js": [
        ("all steps see the same batch", "(losses.length * BATCH) % POINTS", "0 % POINTS"),
        ("the points are not standardized", "(x[k] - mean) / std", "x[k] - mean"),
    ],
    "coursework": [
        ("a lost part gives its points", "if self.reason is None else 0.0", "if self.reason is None else self.points"),
        (
            "what is returned decides what it is equal to",
            "if type(got) is not type(want):",
            "if got != want and type(got) is not type(want):",
        ),
        ("nan is no mistake", "lost = ~np.isfinite(got) & (got != want)", "lost = np.isinf(got) & (got != want)"),
        ("any error will do", "if isinstance(other, error) or kind == error.__name__:", "if True:"),
        ("capitals in an id make another student", "student_id.strip().casefold()", "student_id.strip()"),
    ],
    "tools/coursework/notebooks": [
        ("hidden tests stay in the release", 'text = HIDDEN.sub("", self.text)', "text = self.text"),
        ("solutions stay in the release", "return text if count else stub", "return self.text if count else stub"),
        (
            "the tests of the submission are taken",
            "        if cell.kind in FROM_STUDENT:\n            cells.append((cell, found",
            '        if cell.kind in (*FROM_STUDENT, "test"):\n            cells.append((cell, found',
        ),
    ],
    "tools/coursework/intake": [
        ("namesakes are one student", "if len(called) == 1:", "if called:"),
        ("a path in a zip may lead up", ' or ".." in path.parts', ""),
        ("a zip may hold any number of files", "if len(members) > MAX_FILES:", "if False:"),
    ],
    "tools/coursework/batch": [
        ("what has a result is graded again", "if old is None or any(", "if True or any("),
        ("what changed is not graded again", "if old is None or any(", "if old is None and any("),
        ("a file's name may forge a line of the report", "{run.one_line(line)}", "{line}"),
    ],
    "tools/coursework/run": [
        ("points are not capped", "0 <= score <= cell.points + 1e-9", "0 <= score"),
        ("a reason is lost", '"reason": part.reason and clean(part.reason),', '"reason": None,'),
    ],
    "tools/coursework/remote": [
        ("an object outlives its process", "self.box is None or value._start != self.starts", "False"),
    ],
    "tools/coursework/protocol": [
        ("arrays of objects are taken", "if not is_numeric(dtype) or dtype.str != text:", "if False:"),
    ],
    "tools/coursework/worker": [
        ("time is no limit", "signal.setitimer(signal.ITIMER_REAL, seconds)", "pass"),
        ("sockets are allowed", "line(equal, AF_UNIX, 1, 0),", "line(equal, AF_UNIX, 1, 1),"),
    ],
    "tools/coursework/sandbox": [
        ("the network is not cut", '("pid", "net", "ipc", "uts", "cgroup-try")', '("pid", "ipc", "uts", "cgroup-try")'),
        ("what a sandbox shows is not looked at", 'for path in found["reads"]), *(', "for path in []), *("),
    ],
    "tools/coursework/feedback": [
        ("text is not escaped", "autoescape=True", "autoescape=False"),
    ],
    "tools/coursework/marks": [
        ("all students are named", "students[:SHOWN], *more", "students, *more"),
    ],
}
PLANTED = [(file, *planted) for file, several in MUTATIONS.items() for planted in several]


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """A copy of what the tests need, in which errors can be planted."""
    if not (os.environ.get("CI") == "true" or os.environ.get("MUTATE")):
        pytest.skip("planted errors: run by `make mutate` and in continuous integration")
    folder = tmp_path_factory.mktemp("mutant")
    for name in ["snnlib", "tests", "tools", "book/_static"]:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ["pyproject.toml", "_config.yml"]:
        shutil.copy(ROOT / name, folder)
    return folder


def watch(folder, tests):
    """Run tests of the copy up to the first failure; return the finished process."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "--no-header", "-p", "no:cacheprovider", "-p", "no:nbval"]
    environment = {**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run([*command, *tests], cwd=folder, env=environment, capture_output=True, text=True)


@pytest.mark.timeout(2400)
def test_the_copy_without_an_error_is_green(copy):
    files = dict.fromkeys(word for words in WATCHERS.values() for word in words if word.startswith("tests/"))
    result = watch(copy, [*files, "--deselect", f"{FIGURES}::test_the_numbers_agree_with_python_at_random_states"])
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize("file, name, text, mutated", PLANTED, ids=[planted[1] for planted in PLANTED])
def test_is_noticed(copy, file, name, text, mutated):
    path = copy / ("" if file.startswith("tools/") else "snnlib") / (file if file.endswith(".js") else f"{file}.py")
    original = path.read_text()
    assert original.count(text) == 1, f"{text!r} must stand in {path.name} exactly once"
    path.write_text(original.replace(text, mutated))
    try:
        result = watch(copy, WATCHERS[file])
    finally:
        path.write_text(original)
    assert result.returncode == 1 and "failed" in result.stdout, (
        f"{WATCHERS[file]} did not notice that {name}:\n{result.stdout}"
    )
