"""Typical wrong solutions of the third and the fourth assignment, as in `coursework_wrong`."""

from __future__ import annotations

from coursework_wrong import wrong

ACTIVATION = (
    wrong(
        "sign error in the mean",
        ("m * (2 - E0) + edge + alpha * (E1 - E0))\n    right", "m * (2 - E0) + edge - alpha * (E1 - E0))\n    right"),
        scores={"map-test": 2, "constants-test": 12, "attraction-test": 10},
        reasons="check the sign of the part left of zero",
    ),
    wrong(
        "missing root",
        ("edge = np.sqrt(2 * v / np.pi) * np", "edge = 2 * v / np.pi * np"),
        scores={"map-test": 2, "constants-test": 12, "attraction-test": 13},
        reasons="did you forget the root of 2 v / pi?",
    ),
    wrong(
        "mean square for variance",
        ("float(square - mean**2)", "float(square)"),
        scores={"map-test": 9, "constants-test": 15, "attraction-test": 13},
        reasons="this is the mean square; subtract the square of the mean",
    ),
    wrong(
        "float32",
        ("return float(mean), float(square - mean**2)", "return np.float32(mean), np.float32(square - mean**2)"),
        scores={"map-test": 2, "constants-test": 12, "attraction-test": 13},
        reasons="expected a float, got a float32",
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

WRONG = {"own-activation": ACTIVATION}
