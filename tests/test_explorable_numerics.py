"""The explorables' numerics in a real browser, against snnlib, SciPy and NumPy at random states."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from pagecheck import CHROMIUM_ARGUMENTS
from scipy import optimize, special, stats

from snnlib import activations, backprop, gaussian, meanfield, moments
from snnlib.explorables import _random

SOURCE = Path(__file__).resolve().parents[1] / "snnlib" / "explorables" / "js" / "numerics.js"
NAMES = activations.names()
TOLERANCE = 1e-10

# A module cannot be fetched by a page without an address, but imported from memory.
LOAD = """async source => {
  const address = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
  window.numerics = await import(address);
}"""


@pytest.fixture(scope="module")
def js(chromium):
    """js(function, argument): what a JavaScript function of the module N and the argument returns."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=CHROMIUM_ARGUMENTS)
        page = browser.new_page()
        page.evaluate(LOAD, SOURCE.read_text(encoding="utf-8"))
        yield lambda function, argument=None: page.evaluate(f"x => ({function})(numerics, x)", argument)
        browser.close()


def assert_agree(actual, expected, tolerance=TOLERANCE):
    """The error is below the tolerance, relative or absolute."""
    actual, expected = np.asarray(actual, np.float64), np.asarray(expected, np.float64)
    assert actual.shape == expected.shape
    error = np.abs(actual - expected) / np.maximum(1, np.abs(expected))
    worst = np.unravel_index(np.argmax(np.where(np.isnan(error), np.inf, error)), error.shape)
    assert error[worst] < tolerance, f"{actual[worst]} instead of {expected[worst]} at {worst}"


def states(count, seed, mu=3.0, nu=(1e-4, 30.0), omega=1.0, tau=(0.1, 10.0)):
    """Random (mu, nu, omega, tau), shape (count, 4): nu and tau are uniform in the logarithm, the others around 0."""
    rng = np.random.default_rng(seed)
    symmetric = [rng.uniform(-limit, limit, count) for limit in (mu, omega)]
    positive = [np.exp(rng.uniform(*np.log(limits), count)) for limits in (nu, tau)]
    return np.transpose([symmetric[0], positive[0], symmetric[1], positive[1]])


# --- special functions and activations -------------------------------------------------------------------------------


def test_error_functions_have_double_precision(js):
    x = np.linspace(-6, 26, 3201)
    function = "(N, x) => [N.erf, N.erfc, N.normalCdf].map(f => x.map(f))"
    expected = special.erf(x), special.erfc(x), special.ndtr(x)
    np.testing.assert_allclose(js(function, x.tolist()), expected, rtol=2e-13)


def test_the_activations_are_those_of_the_package(js):
    assert js("N => Object.values(N.ACTIVATIONS).map(a => [a.name, a.kinks])") == [
        [name, list(activations.get(name).kinks)] for name in NAMES
    ]
    assert js("N => [N.SELU_ALPHA, N.SELU_LAMBDA]") == [activations.SELU_ALPHA, activations.SELU_LAMBDA]


@pytest.mark.parametrize("part", ["f", "derivative"])
def test_activations_agree(js, part):
    z = np.concatenate([np.linspace(-40, 40, 1601), [-800.0, 800.0]])  # includes the kink at 0
    function = "(N, [part, z]) => [...Object.values(N.ACTIVATIONS), N.selu(2, 0.7)].map(a => z.map(a[part]))"
    expected = [getattr(a, part)(z) for a in (*map(activations.get, NAMES), activations.selu(2, 0.7))]
    assert_agree(js(function, [part, z.tolist()]), expected, 1e-14)


# --- moments ---------------------------------------------------------------------------------------------------------


def test_an_expectation_is_split_at_any_kinks(js):
    drawn = states(200, seed=1)[:, :2]
    function = "(N, x) => x.map(([m, v]) => N.expectation(z => Math.abs(z - 0.5) + (z > 2), m, v, [0.5, 2]))"
    expected = gaussian.expectation(lambda z: np.abs(z - 0.5) + (z > 2), *drawn.T, (0.5, 2))
    assert_agree(js(function, drawn.tolist()), expected)


@pytest.mark.parametrize("name", NAMES)
def test_the_moment_map_and_its_jacobian_agree(js, name):
    drawn = states(1000, seed=2)
    function = """(N, [name, x]) => x.map(state => [
      N.momentMap(N.ACTIVATIONS[name], ...state), N.momentJacobian(N.ACTIVATIONS[name], ...state)])"""
    maps, jacobians = zip(*js(function, [name, drawn.tolist()]), strict=True)
    assert_agree(maps, np.transpose(moments.moment_map(name, *drawn.T)))
    assert_agree(jacobians, moments.jacobian(name, *drawn.T).reshape(-1, 4))


def test_iteration_agrees(js):
    path = js("N => N.iterate(N.ACTIVATIONS.selu, 0.4, 2, 30, 0.1, 0.95)")
    assert_agree(path, moments.iterate("selu", 0.4, 2, 30, 0.1, 0.95))


# What `follow` says, and how the message of `NoFixedPointError` begins to say it.
FATES = {
    "the variance dies out (": "dies out",
    "the moments grow without bound (": "grows without bound",
    "the variance dies out slowly": "dies out slowly",
    "the variance grows slowly": "grows slowly",
    "iteration has not settled": "has not settled",
}


# (activation, omega, tau, start): at random; where variances are kept, creep or settle late, or a fixed point repels;
# and where Newton's method fails from the start.
START = [0.1, 0.8]
LAYERS = [
    *([name, *x, START] for name in ("relu", "elu", "selu") for x in states(20, 3, omega=2)[:, 2:].tolist()),
    *(["relu", omega, tau, START] for omega, tau in ((0, 2 / (1 - 1 / np.pi)), (1, 1), (0, 2.93), (0, 2.94))),
    *(["selu", omega, tau, START] for omega, tau in ((0.1, 1), (0, 1.6))),
    *(["tanh", omega, tau, START] for omega, tau in ((0.3, 2), (0, 0.9))),
    *([name, 0, 1, START] for name in ("identity", "leaky_relu")),
    *[["sigmoid", 1, 30, START], ["gelu", 0.5, 3, START], ["silu", 0.2, 4, START]],
    *[["selu", 1.37, 0.75, [-2.3, 0.04]], ["elu", 0.45, 2.27, [2.3, 0.05]]],
]


def test_fixed_points_agree_and_are_missing_where_there_is_none(js):
    function = """(N, layers) => layers.map(([name, ...layer]) =>
      ["fixedPoint", "follow"].map(what => N[what](N.ACTIVATIONS[name], ...layer)))"""
    kinds = Counter()
    for layer, (found, followed) in zip(LAYERS, js(function, LAYERS), strict=True):
        try:
            expected = moments.fixed_point(*layer)
        except moments.NoFixedPointError as error:
            fate = next(fate for words, fate in FATES.items() if words in str(error))
            assert (found, followed["fate"]) == (None, fate), layer
            kinds[fate] += 1
            continue
        assert found, layer
        for key, value in (("mu", expected.mu), ("nu", expected.nu), ("spectralRadius", expected.spectral_radius)):
            assert_agree(found[key], value, 1e-8)
        assert_agree(found["jacobian"], expected.jacobian.ravel(), 1e-8)
        assert found["attracting"] == expected.attracting, layer
        kinds[expected.attracting] += 1
    print(kinds)
    assert kinds.keys() >= {True, False, *FATES.values()}


def test_the_selu_constants_agree(js):
    targets = [*states(100, seed=4, mu=0.8, nu=(0.1, 4), tau=(0.5, 2)).tolist(), [0, 1, 0, 1], [-2, 1, 0, 1]]
    found = js("(N, x) => x.map(target => N.seluConstants(...target))", targets)
    reached = 0
    for (mu, nu, omega, tau), constants in zip(targets, found, strict=True):
        try:
            expected = moments.selu_constants(mu, nu, omega=omega, tau=tau)
        except ValueError:
            assert constants is None
        else:
            assert_agree([constants["alpha"], constants["lam"]], expected, 1e-8)
            reached += 1
    assert 20 < reached < len(targets)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("mean", "variance"), [(0.3, 1.2), (-1.0, 0.4)])
def test_the_push_forward_has_the_right_mass_between_any_two_values(js, name, mean, variance):
    a, std = activations.get(name), np.sqrt(variance)
    bottom = {"gelu": -0.7517915246935645, "silu": -1.2784645427610738}.get(name, -60.0)
    edges = np.unique(np.append(np.linspace(-2.1, 2.7, 49), a.f(bottom) + 1e-7))
    found = js(
        "(N, [name, m, v, y]) => { const { density, atoms } = N.pushForward(N.ACTIVATIONS[name], m, v, y);"
        " return { density: [...density], atoms }; }",
        [name, mean, variance, edges.tolist()],
    )

    def probability(y):
        """P(f(Z) <= y) from the ends of the interval where f(z) <= y."""
        if a.f(bottom) > y:
            return 0.0
        ends = [
            far if a.f(far) <= y else optimize.brentq(lambda z: a.f(z) - y, bottom, far, xtol=1e-14)
            for far in (-60.0, 60.0)
        ]
        return np.diff(stats.norm.cdf(ends, mean, std)).item()

    mass = np.diff([probability(y) for y in edges])
    atoms = [{"value": 0, "probability": pytest.approx(stats.norm.cdf(0, mean, std))}] if name == "relu" else []
    assert found["atoms"] == atoms
    for atom in found["atoms"]:
        mass[np.searchsorted(edges, atom["value"]) - 1] -= atom["probability"]
    assert_agree(found["density"] * np.diff(edges), mass, 1e-12)


# --- 2x2 matrices ----------------------------------------------------------------------------------------------------


def test_matrices_multiply_and_decompose(js):
    rng = np.random.default_rng(5)
    A, B = rng.standard_normal((2, 300, 2, 2))
    A[0], A[1], A[2], A[3] = np.eye(2), np.zeros((2, 2)), [[0, -1], [1, 0]], [[1, 2], [2, 4]]
    function = "(N, [A, B]) => A.map((a, i) => [N.product(a, B[i]), N.eigenvalues(a), Object.values(N.svd(a))])"
    products, values, decompositions = zip(
        *js(function, [A.reshape(-1, 4).tolist(), B.reshape(-1, 4).tolist()]), strict=True
    )
    assert_agree(products, (A @ B).reshape(-1, 4))

    pairs, expected = np.asarray(values) @ [1, 1j], np.linalg.eigvals(A)
    assert (np.abs(pairs[:, 0]) >= np.abs(pairs[:, 1])).all()
    errors = [np.abs(pairs - either).max(axis=1) for either in (expected, expected[:, ::-1])]
    assert np.minimum(*errors).max() < TOLERANCE

    U, V = (np.reshape([row[k] for row in decompositions], (-1, 2, 2)) for k in (0, 2))
    s = np.array([row[1] for row in decompositions])
    assert_agree(s, np.linalg.svd(A, compute_uv=False))
    assert_agree((U * s[:, None]) @ V.transpose(0, 2, 1), A)
    for rotation in (U, V):
        assert_agree(rotation @ rotation.transpose(0, 2, 1), np.broadcast_to(np.eye(2), A.shape))


def test_a_long_product_keeps_both_singular_values(js):
    import mpmath

    factors = np.random.default_rng(6).standard_normal((2000, 2, 2)) * 1.7
    function = """(N, factors) => {
      const { matrix, det, exponent } = N.chain(factors);
      return N.svd(matrix, det).s.map(s => Math.log(s) + exponent * Math.LN2);
    }"""
    for depth in (1, 60, 2000):
        with mpmath.workdps(2000):
            whole = mpmath.eye(2)
            for factor in factors[:depth]:
                whole = mpmath.matrix(factor.tolist()) * whole
            expected = [float(mpmath.log(s)) for s in mpmath.svd_r(whole, compute_uv=False)]
        found = js(function, factors[:depth].reshape(-1, 4).tolist())
        assert_agree(found[:1], expected[:1])
        if depth < 2000:  # beyond, the smaller one is below the smallest float
            assert_agree(found[1:], expected[1:])


# --- mean field ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_mean_field_theory_agrees(js, name):
    rng = np.random.default_rng(7)
    sigma_w, sigma_b, q = rng.uniform([0.3, 0, 0.01], [3, 1, 8], (300, 3)).T
    function = """(N, [name, x]) => x.map(([w, b, q]) => [
      N.varianceMap(N.ACTIVATIONS[name], q, w, b), N.chi(N.ACTIVATIONS[name], w, q)])"""
    found = js(function, [name, np.transpose([sigma_w, sigma_b, q]).tolist()])
    expected = meanfield.variance_map(name, q, sigma_w, sigma_b), meanfield.chi(name, sigma_w, sigma_b, q)
    assert_agree(found, np.transpose(expected))


def test_the_paths_through_depth_agree(js):
    function = """(N, [depth, w, b, q]) => {
      const path = N.variancePath(N.ACTIVATIONS.tanh, depth, w, b, q);
      return [path, N.gradientPath(N.ACTIVATIONS.tanh, path, w)];
    }"""
    path = meanfield.variance_path("tanh", 40, 1.4, 0.2, 3.0)
    slopes = meanfield.chi("tanh", 1.4, q=path[:-1])
    norms = np.append(np.cumprod(slopes[::-1])[::-1], 1)
    assert_agree(js(function, [40, 1.4, 0.2, 3.0]), [path, norms])


def test_a_variance_of_zero_is_a_limit_and_a_negative_one_an_error(js):
    expected = meanfield.chi("selu", 1, q=0.0)
    assert js("N => N.chi(N.ACTIVATIONS.selu, 1, 0)") == pytest.approx(expected, rel=1e-13)
    failing = """(N, nu) => { try { N.momentMap(N.ACTIVATIONS.relu, 0, nu); } catch (error) { return error.name; } }"""
    assert [js(failing, nu) for nu in (-1, float("inf"), float("nan"))] == ["RangeError"] * 3


# --- random numbers and the network ----------------------------------------------------------------------------------


def mulberry32(seed, count):
    """The first `count` uniform numbers of the generator, in whole numbers modulo 2^32."""
    mask, numbers = 2**32 - 1, []
    for i in range(1, count + 1):
        state = (seed + i * 0x6D2B79F5) & mask
        t = (state ^ (state >> 15)) * (state | 1) & mask
        t ^= (t + (t ^ (t >> 7)) * (t | 61)) & mask
        numbers.append(((t ^ (t >> 14)) + 0.5) / 2**32)
    return np.array(numbers)


def normals(seed, count):
    """As many normal numbers of Box and Muller."""
    u, v = mulberry32(seed, 2 * count).reshape(-1, 2).T
    return np.sqrt(-2 * np.log(u)) * np.cos(2 * np.pi * v)


def test_random_numbers_are_those_of_mulberry32(js):
    function = """(N, [seed, kind, count]) => {
      const generator = N.random(seed);
      return Array.from({ length: count }, generator[kind]);
    }"""
    for seed in (0, 1, 2**31 - 1, -5):
        assert js(function, [seed, "uniform", 1000]) == mulberry32(seed, 1000).tolist()
    assert_agree(js(function, [3, "normal", 5000]), normals(3, 5000), 1e-13)
    assert stats.kstest(normals(3, 5000), "norm").pvalue > 0.01


@pytest.mark.parametrize("seed", [0, 1, 9999])
def test_the_random_numbers_of_pictures_are_those_of_the_scripts(seed):
    np.testing.assert_array_equal(_random.uniforms(seed, 1000), mulberry32(seed, 1000))
    np.testing.assert_array_equal(_random.normals(seed, 1000), normals(seed, 1000))


TRAIN = """(N, [widths, name, initialization, x, labels, rate]) => {
  const network = new N.DenseNetwork(widths, N.ACTIVATIONS[name],
    { initialization: N.INITIALIZATIONS[initialization], seed: 11, batch: 16 });
  const steps = [];
  for (let i = 0; i < 3; i++) {
    const before = [...network.parameters];
    const logits = [...network.forward(Float64Array.from(x)).slice(0, labels.length * widths.at(-1))];
    const loss = network.backward(labels);
    const [gradients, norms] = [[...network.gradients], [...network.gradientNorms]];
    network.step(rate);
    steps.push({ before, logits, loss, gradients, norms, after: [...network.parameters] });
  }
  return steps;
}"""


@pytest.mark.parametrize(
    ("name", "initialization", "widths"),
    [(name, "lecun", [2, 8, 5, 3]) for name in NAMES]
    + [("selu", "xavier", [2, 32, 2]), ("relu", "he", [2, *[12] * 29, 2]), ("tanh", "lecun", [2, 2])],
)
def test_the_network_trains_as_that_of_the_package(js, name, initialization, widths):
    rng = np.random.default_rng(8)
    x, labels = rng.standard_normal((13, 2)), rng.integers(0, widths[-1], 13)
    network = backprop.Network(widths, name)
    arrays, rate = network.parameters, 0.3

    def flat(parts):
        return np.concatenate([np.ravel(part) for part in parts])

    variance = {"lecun": lambda m, n: 1 / n, "he": lambda m, n: 2 / n, "xavier": lambda m, n: 2 / (n + m)}
    drawn = normals(11, sum(weights.size for weights in arrays[::2]))
    for weights, bias in network.layers:
        mine, drawn = np.split(drawn, [weights.size])
        weights[...] = mine.reshape(weights.shape) * np.sqrt(variance[initialization](*weights.shape))
        bias[...] = 0

    argument = [widths, name, initialization, x.ravel().tolist(), labels.tolist(), rate]
    for step in js(TRAIN, argument):
        assert_agree(step["before"], flat(arrays))
        logits = network.forward(x)
        loss, upstream = backprop.softmax_cross_entropy(logits, labels)
        _, gradients = network.backward(upstream)
        assert_agree(step["logits"], logits.ravel())
        assert_agree(step["loss"], loss)
        assert_agree(step["gradients"], flat(gradients))
        assert_agree(step["norms"], [np.linalg.norm(gradient) for gradient in gradients[::2]])
        for array, gradient in zip(arrays, gradients, strict=True):
            array -= rate * gradient
        assert_agree(step["after"], flat(arrays))


def test_a_diverged_network_says_so_and_a_batch_too_large_is_refused(js):
    function = """N => {
      const network = new N.DenseNetwork([2, 4, 2], N.ACTIVATIONS.relu, { batch: 2 });
      network.parameters.fill(1e200);
      network.forward(Float64Array.of(1, 1));
      const loss = network.backward([0]);
      try { network.forward(new Float64Array(6)); } catch (error) { return [Number.isFinite(loss), error.name]; }
    }"""
    assert js(function) == [False, "RangeError"]


# --- speed -----------------------------------------------------------------------------------------------------------


def test_a_field_of_400_arrows_is_computed_within_a_frame(js):
    function = """N => Object.values(N.ACTIVATIONS).map(activation => {
      const times = [];
      for (let run = 0; run < 7; run++) {
        const start = performance.now();
        for (let i = 0; i < 400; i++) N.momentMap(activation, (i % 20) / 10 - 1, 0.1 + i / 200, 0.5, 1);
        times.push(performance.now() - start);
      }
      return times.sort((a, b) => a - b)[3];
    })"""
    times = dict(zip(NAMES, js(function), strict=True))
    print({name: f"{time:.1f} ms" for name, time in times.items()})
    assert max(times.values()) < 16
