"""The drawn bacteria: the same bytes everywhere, the shapes that the names promise, and hard enough to be worth it."""

import ast
import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import ndimage
from scipy.spatial.distance import cdist
from sklearn.linear_model import LogisticRegression

from snnlib import _bacteria

ROOT = Path(__file__).resolve().parents[1]
MORPHOLOGIES = dict(zip(_bacteria.CLASS_NAMES, _bacteria._MORPHOLOGIES, strict=True))
HASHES = {
    (1000, 0, 0): "9c70fdb3ddc3ceb5f9fb973c0e20158e59f243ef030bd563c3f1f2849545c8e7",
    (200, 0, 1): "7dfb16376b12fc6864020c447fa26e1f58106665a5e13e9c48b3fcdbd58e1007",
    (37, 7, 0): "e84572e5b91989fdaecc29dfb341989febecb3733df65cac173b8aa9cb5f9a35",
}


@pytest.fixture(scope="module")
def train():
    return _bacteria.draw(10_000, 0, 0)


@pytest.fixture(scope="module")
def test():
    return _bacteria.draw(2_000, 0, 1)


def fingerprint(pixels, labels):
    return hashlib.sha256(pixels.tobytes() + labels.astype("<i8").tobytes()).hexdigest()


def standardized(split):
    pixels, labels = split
    x = (pixels.reshape(len(pixels), -1) / 255 - _bacteria.MEAN) / _bacteria.STD
    return x.astype(np.float32), labels


def test_the_ten_classes_have_their_names():
    names = "coccus, diplococcus, chain, cluster, tetrad, rod, rod chain, vibrio, spirillum, filament"
    assert ", ".join(_bacteria.CLASS_NAMES) == names


@pytest.mark.parametrize("n", [0, 1, 9, 10, 37, 1290])
def test_any_number_of_pictures_can_be_drawn_and_the_classes_are_balanced(n):
    pixels, labels = _bacteria.draw(n, 3, 0)
    assert (pixels.shape, pixels.dtype) == ((n, 28, 28), np.uint8)
    assert (labels.shape, labels.dtype) == ((n,), np.int64)
    counts = np.bincount(labels, minlength=10)
    assert len(counts) == 10 and counts.max() - counts.min() <= 1


def test_classes_come_in_random_order(train):
    labels = train[1]
    # a label equals the one before it in 1 of 10 cases: 1000 of 9999, with a standard deviation of 30
    assert 850 < np.sum(labels[1:] == labels[:-1]) < 1150
    first_half = np.bincount(labels[:5000], minlength=10)
    assert 400 < first_half.min() and first_half.max() < 600  # 500 with a standard deviation of 15


def test_seeds_and_streams_differ_and_repeat():
    draws = {(seed, stream): _bacteria.draw(100, seed, stream) for seed in (0, 1, 2**32) for stream in (0, 1)}
    assert len({fingerprint(*d) for d in draws.values()}) == len(draws)
    assert len({d[1].tobytes() for d in draws.values()}) == len(draws)  # the order of the classes, too
    assert fingerprint(*_bacteria.draw(100, np.int64(1), 1)) == fingerprint(*draws[1, 1])


@pytest.mark.parametrize("n, seed", [(-1, 0), (2.0, 0), ("3", 0), (None, 0), (True, 0), (5, -1), (5, 0.5), (5, None)])
def test_numbers_that_are_not_whole_or_negative_are_refused(n, seed):
    with pytest.raises(
        ValueError, match=r"(n|seed) must be an integer of at least 0, got (-1|2\.0|'3'|None|True|0\.5)$"
    ):
        _bacteria.draw(n, seed, 0)


@pytest.mark.parametrize("n, seed, stream", HASHES)
def test_the_bytes_of_a_seed_never_change(n, seed, stream):
    assert fingerprint(*_bacteria.draw(n, seed, stream)) == HASHES[n, seed, stream]


def vector_extensions():
    """Those that NumPy was built to choose from at run time and this processor has: widest last."""
    from numpy._core import _multiarray_umath as umath

    return [name for name in umath.__cpu_dispatch__ if umath.__cpu_features__.get(name)]


@pytest.mark.parametrize("kept", range(3))
def test_the_bytes_do_not_depend_on_the_vector_extensions_of_the_processor(kept):
    extensions = vector_extensions()
    if kept >= len(extensions):
        pytest.skip(f"this processor offers NumPy {len(extensions)} vector extensions")
    program = (
        "import hashlib; from snnlib import _bacteria; pixels, labels = _bacteria.draw(1000, 0, 0);"
        "print(hashlib.sha256(pixels.tobytes() + labels.astype('<i8').tobytes()).hexdigest())"
    )
    environment = os.environ | {"NPY_DISABLE_CPU_FEATURES": " ".join(extensions[kept:])}
    command = [sys.executable, "-W", "error", "-c", program]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == HASHES[1000, 0, 0]


def test_no_function_is_used_whose_last_bit_depends_on_the_processor():
    """One such difference in a million pixels would be missed by the bytes of a thousand pictures."""
    exact = "abs clip divmod floor maximum minimum rint sqrt where"
    arrays = "arange argsort array broadcast_to concatenate empty linspace stack take_along_axis zeros"
    types = "float32 inf int64 integer ndarray random uint64 uint8"
    tree = ast.walk(ast.parse(Path(_bacteria.__file__).read_text(encoding="utf-8")))
    used = {"np": set(), "math": set(), "": set()}  # "": methods and fields of arrays and of our own classes
    for node in tree:
        assert not isinstance(node, ast.MatMult)
        if isinstance(node, ast.Attribute):
            owner = node.value.id if isinstance(node.value, ast.Name) else ""
            used[owner if owner in used else ""].add(node.attr)
    assert used["np"] <= set(f"{exact} {arrays} {types}".split())
    assert used["math"] <= {"pi", "prod", "sqrt"}
    assert not used[""] & {"cumsum", "dot", "mean", "prod", "standard_normal", "std", "sum", "var"}


def test_the_constants_standardize_the_training_split(train):
    x = train[0] / 255
    assert x.mean() == pytest.approx(_bacteria.MEAN, abs=1e-4)
    assert x.std() == pytest.approx(_bacteria.STD, abs=1e-4)


def test_grey_values_fill_the_range_without_being_cut_off(train):
    pixels = train[0]
    assert np.mean((pixels == 0) | (pixels == 255)) < 1e-3
    assert np.percentile(pixels, 1) < 60 and np.percentile(pixels, 99) > 190
    assert pixels.std(axis=(1, 2)).min() > 8  # no picture is empty
    ground = np.median(pixels, axis=(1, 2))
    assert ground.min() > 80 and ground.max() < 200 and ground.std() > 10  # some are lit better than others


def test_cells_are_dark_and_have_a_bright_rim(train):
    cocci = train[0][train[1] == 0].astype(float)
    middle, corner = cocci[:, 13:15, 13:15].mean(axis=(1, 2)), np.median(cocci, axis=(1, 2))
    assert np.mean(middle < corner - 10) > 0.99
    distance = np.hypot(*(np.indices((28, 28)) - 13.5))
    profile = np.array([cocci[:, (distance >= d) & (distance < d + 1)].mean() for d in range(13)])
    assert np.argmax(profile) in (4, 5, 6, 7)  # radii are 2.2 to 5 pixels; the rim lies 1.5 outside


def test_illumination_is_uneven(train):
    # a slope of up to 0.008 per pixel: the outer columns are 25 apart, and differ by up to 0.2 of 255
    pixels = train[0].astype(float)
    difference = np.median(pixels[:, :, :3], axis=(1, 2)) - np.median(pixels[:, :, -3:], axis=(1, 2))
    assert 15 < difference.std() < 45 and abs(difference.mean()) < 2


def test_pictures_are_not_equally_noisy(train):
    """The second difference along a row removes what is smooth; corners are mostly ground."""
    corner = train[0][:, :6, :6].astype(float)
    noise = np.median(np.abs(np.diff(corner, 2, axis=2)), axis=(1, 2)) / (0.6745 * np.sqrt(6))
    low, high = np.percentile(noise, [5, 95])
    # sqrt(ground) is about 0.72, so that 0.015 to 0.05 of it are 2.8 to 9.2 grey values
    assert 2 < low < 5 and 7 < high < 12


def test_rods_lie_in_every_direction_and_near_the_middle(train):
    rods = train[0][train[1] == 5].astype(float)
    weight = np.maximum(np.median(rods, axis=(1, 2))[:, None, None] - 20 - rods, 0)[:, 4:-4, 4:-4]
    row, column = np.indices((20, 20)) - 9.5
    mass = weight.sum(axis=(1, 2))
    seen = mass > 300
    assert seen.mean() > 0.8
    weight /= np.where(seen, mass, 1)[:, None, None]
    y, x = ((weight * c).sum(axis=(1, 2)) for c in (row, column))
    assert np.median(np.hypot(x, y)[seen]) < 1.5 and x[seen].std() > 0.4 and y[seen].std() > 0.4
    yy, xx, xy = ((weight * c).sum(axis=(1, 2)) for c in (row * row, column * column, row * column))
    angle = np.arctan2(2 * (xy - x * y), (xx - x * x) - (yy - y * y))[seen]
    octants = np.histogram(angle, 8, (-np.pi, np.pi))[0] / seen.sum()
    assert octants.min() > 0.08 and octants.max() < 0.17  # 1/8 each; 900 rods give it to 0.011


def sampled_distance(x, y, cells, b, spacing, shrink=1.0):
    """Signed distance from the points (x, y) to picture b of the cells, from samples along each segment."""
    points = np.stack([x.ravel(), y.ravel()], axis=1)
    nearest = np.full(len(points), np.inf)
    for k in np.flatnonzero(cells.r[:, b] > 0):
        t = np.linspace(-1, 1, 2 + int(2 * cells.half[k, b] / spacing))
        segment = [m[k, b] + t * cells.half[k, b] * a[k, b] for m, a in zip(cells[:2], cells[2:4], strict=True)]
        distance = cdist(points, np.stack(segment, axis=1)).min(axis=1)
        nearest = np.minimum(nearest, distance - shrink * cells.r[k, b])
    return nearest.reshape(x.shape)


@pytest.mark.parametrize("name", MORPHOLOGIES)
def test_the_distance_to_the_outline_is_that_of_the_nearest_capsule(name):
    dice = _bacteria._Dice(0, 0)
    cells = _bacteria._pose(dice, MORPHOLOGIES[name](dice, 3))
    y, x = np.indices((30, 30)) - 14.5
    got = _bacteria._outline_distance(cells)
    for b in range(3):
        # a sample every 0.02 pixels makes an error of 0.01 on the segment itself, and less elsewhere
        np.testing.assert_allclose(got[:, :, b], sampled_distance(x, y, cells, b, 0.02), atol=0.011)


@pytest.mark.parametrize(
    "name, lowest, highest",
    [
        ("coccus", 1, 1),
        ("diplococcus", 2, 2),
        ("chain", 4, 7),
        ("cluster", 5, 9),
        ("tetrad", 4, 4),
        ("rod", 1, 1),
        ("rod chain", 2, 4),
        ("vibrio", 1, 1),
        ("spirillum", 1, 1),
        ("filament", 1, 1),
    ],
)
def test_a_bacterium_is_made_of_as_many_cells_as_its_name_says(name, lowest, highest):
    """Shrunk to 0.7 of their radius, cells that touch come apart, and the pieces can be counted."""
    cells = MORPHOLOGIES[name](_bacteria._Dice(1, 0), 30)
    y, x = np.indices((105, 105)) / 3 - 17.3
    counts = [ndimage.label(sampled_distance(x, y, cells, b, 0.3, shrink=0.7) < 0)[1] for b in range(30)]
    assert (min(counts), max(counts)) == (lowest, highest)


@pytest.mark.parametrize(
    "name, longest_over_width, bent",
    [("rod", (2.0, 5.1), False), ("vibrio", (2.5, 8.0), True), ("filament", (8.0, 22.0), False)],
)
def test_single_cells_are_as_long_and_as_bent_as_their_names_say(name, longest_over_width, bent):
    cells = MORPHOLOGIES[name](_bacteria._Dice(2, 0), 200)
    length, r = 2 * cells.half.sum(axis=0), cells.r[0]
    ratio = length / (2 * r) + 1
    assert longest_over_width[0] < ratio.min() and ratio.max() < longest_over_width[1]
    turn = np.degrees(np.arccos(np.sum([a[0] * a[-1] for a in cells[2:4]], axis=0).clip(-1, 1)))
    # the polygon of a vibrio has 7 sides, whose directions span 6/7 of an arc of 90 to 180 degrees
    assert np.all((turn > 75) & (turn < 156)) if bent else np.all(turn < 75)


def test_a_spirillum_has_two_to_three_turns():
    cells = MORPHOLOGIES["spirillum"](_bacteria._Dice(3, 0), 200)
    crossings = np.sum(np.diff(np.sign(cells.along_y), axis=0) != 0, axis=0)
    assert 3 <= crossings.min() and crossings.max() <= 6  # two extremes per turn
    assert np.mean(crossings >= 4) > 0.8


def test_neighbours_reach_into_a_third_of_the_pictures():
    dice = _bacteria._Dice(4, 0)
    cells = _bacteria._pose(dice, MORPHOLOGIES["coccus"](dice, 2000))
    neighbour = cells.r[-1] > 0
    assert neighbour.mean() == pytest.approx(0.3, abs=0.05)  # 5 standard deviations
    distance = np.hypot(cells.x[-1], cells.y[-1])
    assert 12 <= distance.min() and distance.max() <= 16


def test_directions_are_cosines_and_sines():
    turns = np.linspace(-2, 3, 1001)
    np.testing.assert_allclose(_bacteria._direction(turns), [f(2 * np.pi * turns) for f in (np.cos, np.sin)], atol=1e-7)


def test_uniform_numbers_are_those_of_numpy():
    ours = _bacteria._Dice(5, 1).uniform(0, 1, 1000)
    numpys = np.random.Generator(np.random.PCG64(np.random.SeedSequence(5, spawn_key=(1,)))).random(1000)
    np.testing.assert_array_equal(ours, numpys)


@pytest.mark.parametrize("shape", [(300, 400), (7, 5, 3001)])
def test_noise_has_mean_0_and_variance_1_and_no_correlation(shape):
    noise = _bacteria._Dice(6, 0).bell(*shape)
    assert noise.shape == shape and noise.dtype == np.float32
    noise = noise.astype(float).ravel()
    error = 5 / np.sqrt(noise.size)
    assert abs(noise.mean()) < error and noise.var() == pytest.approx(1, abs=1.5 * error)
    # the excess kurtosis of a sum of 4 uniform numbers is -1.2 / 4
    assert np.mean(noise**4) == pytest.approx(2.7, abs=0.1)
    assert abs(np.mean(noise[1:] * noise[:-1])) < error


def test_blur_mixes_in_a_binomial_average():
    field = np.random.default_rng(7).random((30, 30, 2)).astype(np.float32)
    binomial = ndimage.convolve(field, np.outer([1, 2, 1], [1, 2, 1])[:, :, None] / 16)[1:-1, 1:-1]
    got = _bacteria._blur(field, np.array([0.25, 1], np.float32))
    np.testing.assert_allclose(got[..., 1], binomial[..., 1], atol=1e-6)
    np.testing.assert_allclose(got[..., 0], 0.25 * binomial[..., 0] + 0.75 * field[1:-1, 1:-1, 0], atol=1e-6)


def deep_network_score(x, labels, x_test, labels_test):
    """Three hidden layers of 256 relu units, 5 epochs."""
    torch.manual_seed(0)
    layers = [f for n in (784, 256, 256) for f in (torch.nn.Linear(n, 256), torch.nn.ReLU())]
    network = torch.nn.Sequential(*layers, torch.nn.Linear(256, 10))
    optimizer = torch.optim.AdamW(network.parameters(), 1e-3, weight_decay=0.05)
    x, labels = torch.from_numpy(x), torch.from_numpy(labels)
    for _ in range(5):
        for part in torch.randperm(len(x)).split(128):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(network(x[part]), labels[part]).backward()
            optimizer.step()
    with torch.no_grad():
        return np.mean(network(torch.from_numpy(x_test)).argmax(dim=1).numpy() == labels_test)


def test_logistic_regression_is_between_45_and_75_percent_and_a_deep_network_is_far_better(train, test):
    train, test = standardized(train), standardized(test)
    linear = LogisticRegression(C=0.01, tol=0.01).fit(*train).score(*test)
    assert 0.45 < linear < 0.75
    assert deep_network_score(*train, *test) > linear + 0.2
