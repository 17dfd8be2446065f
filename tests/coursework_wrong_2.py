"""Typical wrong solutions of the third and the fourth assignment, as in `coursework_wrong`."""

from __future__ import annotations

from coursework_wrong import Wrong, wrong

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

WRONG = {"own-activation": ACTIVATION, "deep-network": NETWORK}
