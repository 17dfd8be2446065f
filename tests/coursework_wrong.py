"""Typical wrong solutions of the assignments: what they change, what they earn, what the reasons must say."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Wrong:
    """A wrong solution: the reference with a few passages replaced.

    Attributes
    ----------
    name : what is wrong.
    replacements : (old, new), ...; each old passage occurs exactly once in the solution cells of the source.
    scores : {grade_id of a test cell: points got}; the other test cells give all their points.
    reasons : words that must occur in the reasons for the lost points.
    varies : test cells whose points depend on the student's numbers; `scores` has those of the student of the tests.
    """

    name: str
    replacements: tuple[tuple[str, str], ...]
    scores: dict[str, float]
    reasons: tuple[str, ...]
    varies: tuple[str, ...] = ()


def wrong(
    name: str,
    *replacements: tuple[str, str],
    scores: dict[str, float],
    reasons: tuple[str, ...] | str,
    varies: tuple[str, ...] = (),
) -> Wrong:
    return Wrong(name, replacements, scores, (reasons,) if isinstance(reasons, str) else reasons, varies)


BACKPROPAGATION = (
    wrong(
        "slope without the square",
        ("1 / size**2", "1 / size"),
        scores={"activation-test": 5, "forward-test": 6, "backward-test": 9},
        reasons="did you forget to square 1 + |z|?",
    ),
    wrong(
        "transposed W",
        ("delta @ W, delta.T @ x", "delta @ W.T, delta.T @ x"),
        scores={"layer-test": 2, "backward-test": 4},
        reasons=("W must not be transposed on the way back", "shapes do not fit (a transpose, or the wrong layer?)"),
    ),
    wrong(
        "missing derivative",
        ("delta = upstream * slope", "delta = upstream"),
        scores={"layer-test": 5, "backward-test": 7},
        reasons=("dx: did you forget the slope?", "did you forget the slopes?"),
    ),
    wrong(
        "slope missing on the way back only",
        ("return delta @ W, ", "return upstream @ W, "),
        scores={"layer-test": 12, "backward-test": 9},
        reasons="dx: did you forget the slope?",
    ),
    wrong(
        "transposed dW",
        ("delta.T @ x", "x.T @ delta"),
        scores={"layer-test": 9, "backward-test": 0},
        reasons=("expected shape (2, 3), got (3, 2): did you forget a transpose?", "dW: its transpose is right"),
    ),
    wrong(
        "mean for sum in db",
        ("delta.sum(axis=0)", "delta.mean(axis=0)"),
        scores={"layer-test": 11, "backward-test": 5},
        reasons="db: sum over the rows of the batch, do not average",
    ),
    wrong(
        "sum for mean in the loss",
        ("np.mean(np.log(total", "np.sum(np.log(total"),
        ("return float(loss), upstream / len(labels)", "return float(loss), upstream"),
        scores={"loss-test": 7},
        reasons=("take the mean over the batch, not the sum", "did you forget to divide by the size of the batch?"),
    ),
    wrong(
        "softmax that overflows",
        ("logits - logits.max(axis=1, keepdims=True)", "logits.copy()"),
        scores={"loss-test": 13},
        reasons="which is not finite",
    ),
    wrong(
        "float32",
        ("upstream / len(labels)\n", "(upstream / len(labels)).astype(np.float32)\n"),
        scores={"loss-test": 7, "backward-test": 13},
        reasons="expected dtype float64, got float32",
    ),
    wrong(
        "list for array",
        ("upstream / len(labels)\n", "(upstream / len(labels)).tolist()\n"),
        scores={"loss-test": 7},
        reasons="expected an array, got a list",
    ),
    wrong(
        "zeros, which agree with each other",
        ("return float(loss), upstream / len(labels)", "return 0.0, 0.0 * upstream"),
        scores={"loss-test": 0, "backward-test": 13},
        reasons="slope along a direction: it is zero",
    ),
    wrong(
        "nan, which compares as one likes",
        ("return float(loss), upstream / len(labels)", "return np.nan, np.nan * upstream"),
        scores={"loss-test": 0, "backward-test": 13},
        reasons="got nan, which is not finite",
    ),
    wrong(
        "activation in the last layer",
        ("return inputs[-1] @ W.T + b, ", "return value_and_slope(inputs[-1] @ W.T + b)[0], "),
        scores={"forward-test": 2, "backward-test": 13},
        reasons="the last layer is linear, without f",
    ),
    wrong(
        "bias forgotten",
        ("value_and_slope(inputs[-1] @ W.T + b)", "value_and_slope(inputs[-1] @ W.T)"),
        scores={"forward-test": 0, "backward-test": 7},
        reasons="did you forget the first bias?",
    ),
    wrong(
        "off-by-one layer",
        ("[*slopes, np.ones_like(upstream)]", "[*slopes[:1], *slopes[:-1], np.ones_like(upstream)]"),
        scores={"backward-test": 6},
        reasons="these are the slopes of the layer before",
    ),
    wrong(
        "output for input",
        ("layer_backward(upstream, inputs[i], ", "layer_backward(upstream, [*inputs[1:], inputs[-1]][i], "),
        scores={"backward-test": 4},
        reasons="dW needs the input of the layer, not its output",
    ),
    wrong(
        "nothing returned",
        ("return gradients\n", "gradients\n"),
        scores={"backward-test": 0},
        reasons="expected a list, got None: did you forget to return it?",
    ),
    wrong(
        "first error hidden in no network of three layers",
        ("random_example([3, 4, 3])", "random_example([3, 4, 4, 3], seed=1)"),
        scores={"first-examples-test": 3},
        reasons="the pass is wrong here",
    ),
    wrong(
        "first error shown by no network of two layers",
        ("random_example([3, 4, 4, 3], seed=1)", "random_example([3, 4, 3])"),
        scores={"first-examples-test": 4},
        reasons="the pass is nearly right",
    ),
    wrong(
        "errors hidden by nan",
        ("return random_example([3, 4, 3])", "return random_example([3, 4, 3])[0], np.full(3, np.nan), 1"),
        scores={"first-examples-test": 3},
        reasons="x: at [0]: got nan, which is not finite",
    ),
    wrong(
        "second error not hidden by weights that are not symmetric",
        ("(W + W.T, b)", "(W, b)"),
        scores={"second-examples-test": 3},
        reasons="the pass is wrong here",
    ),
)

GRADIENTS = (
    wrong(
        "one factor too many",
        ("float(c) ** (N - 1)", "float(c) ** N"),
        scores={"chain-test": 12},
        reasons="there is one factor fewer than there are layers",
    ),
    wrong(
        "off-by-one layer",
        ("return N\n", "return N - 1\n"),
        scores={"chain-test": 11},
        reasons="this is the number of factors, not of layers",
    ),
    wrong(
        "no check of the arguments",
        ("if not (0 < c < 1 and 0 < fraction <= 1):", "if c == 1:"),
        scores={"chain-test": 13},
        reasons="expected ValueError",
    ),
    wrong(
        "logarithm for growth",
        ("float(np.exp(np.mean(np.log(c))))", "float(np.mean(np.log(c)))"),
        scores={"chain-test": 11},
        reasons="this is the mean logarithm; take its exponential",
    ),
    wrong(
        "missing root",
        ("float(np.sqrt(np.mean(c**2)))", "float(np.mean(c**2))"),
        scores={"chain-test": 11},
        reasons="did you forget the square root?",
    ),
    wrong(
        "columns scaled for rows",
        ("derivative(z)[:, None] * W)", "derivative(z) * W)"),
        scores={"jacobians-test": 7},
        reasons="the slopes scale the rows of W, not its columns",
    ),
    wrong(
        "missing derivative",
        ("factors.append(derivative(z)[:, None] * W)", "factors.append(W)"),
        scores={"jacobians-test": 10},
        reasons="did you forget the slopes?",
    ),
    wrong(
        "factors in the wrong order",
        ("J = factor @ J", "J = J @ factor"),
        scores={"jacobians-test": 14},
        reasons=("the last layer must stand on the left", "shapes do not fit (a transpose, or the wrong layer?)"),
    ),
    wrong(
        "activation in the last layer",
        ("for W, b in layers[:-1]:", "for W, b in layers:"),
        ("return [*factors, layers[-1][0]]", "return factors"),
        scores={"jacobians-test": 12},
        reasons="the last layer is linear, without f",
    ),
    wrong(
        "eigenvalues for singular values",
        ("np.linalg.svd(np.array(factors), compute_uv=False)", "-np.sort(-np.abs(np.linalg.eigvals(factors)))"),
        scores={"jacobians-test": 15},
        reasons="singular values, not eigenvalues",
    ),
    wrong(
        "singular values of single factors",
        ("np.linalg.qr(J @ Q)", "Q, np.diag(np.linalg.svd(J)[1])"),
        scores={"exponents-test": 6},
        reasons="of single factors do not decide",
    ),
    wrong(
        "not divided by the depth",
        ("np.sort(np.mean(logs, axis=0))", "np.sort(np.sum(logs, axis=0))"),
        scores={"exponents-test": 0},
        reasons="divide by the number of layers",
    ),
    wrong(
        "ascending order",
        ("np.sort(np.mean(logs, axis=0))[::-1]", "np.sort(np.mean(logs, axis=0))"),
        scores={"exponents-test": 7},
        reasons="the largest exponent comes first",
    ),
    wrong(
        "a product that overflows",
        ("Q, R = np.linalg.qr(J @ Q)", "Q = J @ Q"),
        ("logs.append(np.log(np.abs(np.diag(R))))", "logs.append(0 * np.diag(Q))"),
        (
            "np.sort(np.mean(logs, axis=0))[::-1]",
            "np.log(np.linalg.svd(np.nan_to_num(Q), compute_uv=False)) / len(logs)",
        ),
        scores={"exponents-test": 7},
        reasons="which is not finite",
    ),
    wrong(
        "variance for mean square",
        (
            "sigma_w**2 * expectation(lambda z: f(z) ** 2, 0.0, q)",
            "sigma_w**2 * (expectation(lambda z: f(z) ** 2, 0.0, q) - expectation(f, 0.0, q) ** 2)",
        ),
        scores={"critical-test": 5},
        reasons="the mean square of y counts, not its variance",
    ),
    wrong(
        "missing square of the slope",
        ("derivative(z) ** 2, 0.0, q", "derivative(z), 0.0, q"),
        scores={"critical-test": 5},
        reasons="did you forget to square the slope?",
    ),
    wrong(
        "biases forgotten",
        ("variance_map(q, chi(q, 1.0) ** -0.5, sigma_b)", "variance_map(q, chi(q, 1.0) ** -0.5, 0.0)"),
        scores={"critical-test": 10},
        reasons="this is where the biases are forgotten",
    ),
    wrong(
        "He for LeCun",
        ("sigma_w / np.sqrt(n)", "sigma_w * np.sqrt(2 / n)"),
        scores={"measurement-test": 4},
        reasons="entries of W have variance sigma_w^2 / n, not twice that",
    ),
    wrong(
        "norms that are not squared",
        ("sizes = [delta @ delta]", "sizes = [np.sqrt(delta @ delta)]"),
        ("sizes.insert(0, delta @ delta)", "sizes.insert(0, np.sqrt(delta @ delta))"),
        scores={"measurement-test": 2},
        reasons="these are norms; square them",
    ),
    wrong(
        "last layer first",
        ("return np.array(sizes)", "return np.array(sizes[::-1])"),
        scores={"measurement-test": 2},
        reasons="the first layer comes first",
    ),
    wrong(
        "no slopes on the way back",
        ("delta @ W * derivative(z)", "delta @ W"),
        scores={"measurement-test": 4},
        reasons="did you forget the slopes?",
    ),
)

ACTIVATION = (
    wrong(
        "sign error in the mean",
        ("m * (2 - E0) + edge + alpha * (E1 - E0))\n    right", "m * (2 - E0) + edge - alpha * (E1 - E0))\n    right"),
        scores={"map-test": 2, "attraction-test": 14},
        reasons="check the sign of the part left of zero",
    ),
    wrong(
        "missing root",
        ("edge = np.sqrt(2 * v / np.pi) * np", "edge = 2 * v / np.pi * np"),
        scores={"map-test": 2, "attraction-test": 17},
        reasons="did you forget the root of 2 v / pi?",
    ),
    wrong(
        "mean square for variance",
        ("float(square - mean**2)", "float(square)"),
        scores={"map-test": 9, "attraction-test": 17},
        reasons="this is the mean square; subtract the square of the mean",
    ),
    wrong(
        "float32",
        ("return float(mean), float(square - mean**2)", "return np.float32(mean), np.float32(square - mean**2)"),
        scores={"map-test": 0, "attraction-test": 17},
        reasons="expected a float, got a float32",
        varies=("attraction-test",),
    ),
    wrong(
        "overflow",
        ("    arguments = ", "    from scipy.special import erfc\n\n    arguments = "),
        (
            "np.exp(-(m**2) / (2 * v)) * erfcx(arguments)",
            "np.exp(np.arange(3) * m + np.arange(3) ** 2 * v / 2) * erfc(arguments)",
        ),
        scores={"map-test": 17},
        reasons="which is not finite",
    ),
    wrong(
        "square of lambda returned",
        ("lam = np.sqrt(xi / (S + alpha**2 * T))", "lam = xi / (S + alpha**2 * T)"),
        scores={"constants-test": 3, "attraction-test": 17, "box-test": 16},
        reasons="lam is the root of what you return",
    ),
    wrong(
        "variance for mean square",
        ("xi = nu + mu**2", "xi = nu"),
        scores={"constants-test": 9, "attraction-test": 17},
        reasons="the mean square is nu + mu^2, not nu",
    ),
    wrong(
        "constants for inputs of variance 1",
        ("integrals(0.0, nu)", "integrals(0.0, 1.0)"),
        ("P, Q = np.sqrt(nu / (2 * np.pi))", "P, Q = np.sqrt(1 / (2 * np.pi))"),
        ("S, T = nu / 2", "S, T = 1 / 2"),
        scores={"constants-test": 6, "attraction-test": 17},
        reasons="z has the variance nu, not 1",
        varies=("attraction-test", "box-test"),
    ),
    wrong(
        "the other root",
        ("(P - alpha * Q) * mu >= 0", "(P - alpha * Q) * mu <= 0"),
        scores={"constants-test": 9, "attraction-test": 17, "box-test": 16},
        reasons="its sign is wrong",
    ),
    wrong(
        "impossible targets not refused",
        ('raise ValueError(f"no alpha > 0 and lam > 0 keep ({mu}, {nu})")', "return 1.0, 1.0"),
        scores={"constants-test": 17},
        reasons="expected ValueError, but nothing was raised",
    ),
    wrong(
        "transposed Jacobian",
        ("np.array(K) * [omega, tau]", "(np.array(K) * [omega, tau]).T"),
        scores={"attraction-test": 11},
        reasons="this is the transpose",
    ),
    wrong(
        "derivatives by m and v",
        ("np.array(K) * [omega, tau]", "np.array(K)"),
        scores={"attraction-test": 8},
        reasons="these are derivatives by m and v",
    ),
    wrong(
        "wrong entry of the Jacobian",
        ("[square_m - 2 * mean * mean_m, ", "[0.0, "),
        scores={"attraction-test": 13},
        reasons="d nu~ / d mu is not zero when omega is not",
    ),
    wrong(
        "kink forgotten",
        ("alpha * E1 + 2 * (1 - alpha) * density", "alpha * E1"),
        scores={"attraction-test": 10},
        reasons="the largest difference is at [0, 1]",
    ),
    wrong(
        "real parts of eigenvalues",
        ("np.abs(np.linalg.eigvals(H)).max()", "np.linalg.eigvals(H).real.max()"),
        scores={"attraction-test": 18},
        reasons="the absolute value of a complex eigenvalue, not its real part",
    ),
    wrong(
        "norm for spectral radius",
        ("np.abs(np.linalg.eigvals(H)).max()", "np.linalg.norm(H, 2)"),
        scores={"attraction-test": 18},
        reasons="this is a norm",
    ),
    wrong(
        "the start counted as a layer",
        ("return layers\n", "return layers + 1\n"),
        scores={"attraction-test": 14},
        reasons="the start is no layer",
    ),
    wrong(
        "floats in the box",
        ('(f"{mu - 0.13:.3f}", f"{mu + 0.15:.3f}")', "(mu - 0.13, mu + 0.15)"),
        scores={"box-test": 0},
        reasons="a float is not the decimal that it shows",
    ),
    wrong(
        "a box that is not mapped into itself",
        ('f"{0.62 * nu:.3f}", f"{1.6 * nu:.3f}"', 'f"{0.95 * nu:.3f}", f"{1.01 * nu:.3f}"'),
        ('("0.98", "1.02")', '("0.9", "1.1")'),
        scores={"box-test": 6},
        reasons="self-mapping is not proven",
    ),
    wrong(
        "a box on which the map does not contract",
        ('f"{0.62 * nu:.3f}"', 'f"{0.1 * nu:.3f}"'),
        scores={"box-test": 6},
        reasons="contraction is not proven",
    ),
    wrong(
        "a small box",
        ('f"{0.62 * nu:.3f}", f"{1.6 * nu:.3f}"', 'f"{0.8 * nu:.3f}", f"{1.25 * nu:.3f}"'),
        scores={"box-test": 16},
        reasons="the variance may not be off by 30 per cent",
    ),
)


def untrained(name: str, *replacements: tuple[str, str], scores: dict[str, float], reasons: str) -> Wrong:
    """A wrong solution that has nothing to do with training, which is left out to save its time."""
    left_out = ("return Network(seed)", "raise NotImplementedError")
    return wrong(name, left_out, *replacements, scores={**scores, "training-test": 0}, reasons=reasons)


NETWORK = (
    untrained(
        "statistics of the test rows",
        ("scale = train.std(axis=0)", "train = x if len(x) > 1 else train\n    scale = train.std(axis=0)"),
        scores={"inputs-test": 5},
        reasons="these are the statistics of the rows themselves: a leak",
    ),
    untrained(
        "variance for its root",
        ("scale = train.std(axis=0)", "scale = train.var(axis=0)"),
        scores={"inputs-test": 2},
        reasons="divide by the root of the variance",
    ),
    untrained(
        "division by zero",
        ("np.where(scale > 0, scale, 1)", "scale"),
        scores={"inputs-test": 8},
        reasons="which is not finite",
    ),
    untrained(
        "He for LeCun",
        ("rng.standard_normal((m, n)) / np.sqrt(n)", "rng.standard_normal((m, n)) * np.sqrt(2 / n)"),
        scores={"weights-test": 11},
        reasons="these are He's weights, for ReLU; SELU needs LeCun's",
    ),
    untrained(
        "Xavier for LeCun",
        ("rng.standard_normal((m, n)) / np.sqrt(n)", "rng.standard_normal((m, n)) * np.sqrt(2 / (n + m))"),
        scores={"weights-test": 11},
        reasons="these are Xavier's weights; SELU needs LeCun's",
    ),
    untrained(
        "missing root in the weights",
        ("rng.standard_normal((m, n)) / np.sqrt(n)", "rng.standard_normal((m, n)) / n"),
        scores={"weights-test": 11},
        reasons="n times their variance: the largest difference",
    ),
    untrained(
        "standard deviation for variance",
        ("rows.append((x.mean(), x.var()))", "rows.append((x.mean(), x.std()))"),
        scores={"weights-test": 9},
        reasons="standard deviations; squared they are variances",
    ),
    untrained(
        "missing root in a",
        (
            "((1 - rate) * (1 + rate * off**2)) ** -0.5\n    return",
            "((1 - rate) * (1 + rate * off**2)) ** -1.0\n    return",
        ),
        scores={"dropout-test": 9},
        reasons="did you forget the root of the variance?",
    ),
    untrained(
        "sign error in b",
        ("return a, -a * rate * off", "return a, a * rate * off"),
        scores={"dropout-test": 9},
        reasons="the sign of b is wrong",
    ),
    untrained(
        "dropout for alpha dropout",
        ("a = ((1 - rate) * (1 + rate * off**2)) ** -0.5\n    return a, -a * rate * off", "return 1 / (1 - rate), 0.0"),
        ("np.where(kept, y, -LAM * ALPHA) + b", "np.where(kept, y, 0.0) + b"),
        scores={"dropout-test": 6},
        reasons="this is ordinary dropout",
    ),
    untrained(
        "units dropped to zero",
        ("np.where(kept, y, -LAM * ALPHA) + b", "np.where(kept, y, 0.0) + b"),
        scores={"dropout-test": 10},
        reasons="a unit that is off has the value -lam alpha, not 0",
    ),
    untrained(
        "rate of those that are kept",
        (".random(y.shape) >= rate", ".random(y.shape) < rate"),
        scores={"dropout-test": 10},
        reasons="the share of units that are off",
    ),
    untrained(
        "one mask for all rows",
        (".random(y.shape) >= rate", ".random(y.shape[1]) >= rate"),
        scores={"dropout-test": 13},
        reasons="whole rows or columns are dropped together",
    ),
    untrained(
        "symptoms for causes",
        ("not 0.7 < tau < 1.4", "handed_on[-1].var() > 1.8"),
        scores={"diagnosis-test": 13},
        reasons="a symptom?",
    ),
    untrained(
        "the first fault alone",
        (
            "return sorted(name for name, is_there in found.items() if is_there)",
            "return [n for n in found if found[n]][:1]",
        ),
        scores={"diagnosis-test": 7},
        reasons="is not found beside",
    ),
    wrong(
        "He's weights in training",
        ("nn.init.orthogonal_(linear.weight)", "nn.init.kaiming_normal_(linear.weight)"),
        scores={"training-test": 12},
        reasons="as with He's weights; SELU needs 1",
    ),
    wrong(
        "twenty layers",
        ("[784] + [64] * 29 + [10]", "[784] + [64] * 19 + [10]"),
        scores={"training-test": 0},
        reasons="expected 30 layers, got 20",
    ),
    wrong(
        "dropout still on",
        (
            "return network(torch.tensor(x)).argmax(1).numpy()",
            "return network(nn.functional.alpha_dropout(torch.tensor(x), 0.2, True)).argmax(1).numpy()",
        ),
        scores={"training-test": 23},
        reasons="two answers differ: is dropout still on?",
    ),
    wrong(
        "the budget exceeded",
        ("    network.optimizer.step()", "    time.sleep(4)\n    network.optimizer.step()"),
        scores={"training-test": 6},
        reasons="the budget of time is used up",
    ),
)

WRONG = {
    "backpropagation-by-hand": BACKPROPAGATION,
    "vanishing-gradients": GRADIENTS,
    "own-activation": ACTIVATION,
    "deep-network": NETWORK,
}
