"""Bacteria as a phase-contrast microscope shows them, drawn in code: the data behind `datasets.bacteria`.

A bacterium is a union of capsules (a capsule is all points within r of a segment). Brightness is a function of the
distance s to its outline: dark inside, with the bright rim of phase contrast around it, on an unevenly lit ground, with
neighbours, debris, blur and noise.

One seed gives the same bytes on every machine and with every version of NumPy. All random numbers therefore come from
the raw bits of PCG64, and everything is computed entry by entry with + - * /, square roots, rounding, minima, maxima
and comparisons, for which IEEE 754 allows one result only. `np.exp`, `np.sin`, normal variates, matrix products and
sums along an axis do not qualify: their last bit depends on the processor. Where a sine is needed, it is a polynomial.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

CLASS_NAMES = (
    "coccus",
    "diplococcus",
    "chain",
    "cluster",
    "tetrad",
    "rod",
    "rod chain",
    "vibrio",
    "spirillum",
    "filament",
)
MEAN, STD = 0.515715, 0.132689  # of pixel / 255 over the 10,000 training images of seed 0

SIZE = 28
_BATCH = 128  # images drawn at once; their arrays stay in the cache
_ABSENT = -100.0  # the radius of a cell that is not there
_SPREAD = 0.8  # how far a bacterium may lie from the middle of the picture, in pixels along each axis


class Capsules(NamedTuple):
    """K capsules in each of B pictures: arrays (K, B), in pixels."""

    x: np.ndarray  # the middle of the segment
    y: np.ndarray
    along_x: np.ndarray  # its direction, of length 1
    along_y: np.ndarray
    half: np.ndarray  # half its length
    r: np.ndarray


class _Dice:
    """Uniform numbers from the raw bits of PCG64, a stream that NumPy keeps the same in all versions."""

    def __init__(self, seed: int, stream: int):
        self.bits = np.random.PCG64(np.random.SeedSequence(seed, spawn_key=(stream,)))

    def uniform(self, low: float, high: float, *shape: int) -> np.ndarray:
        return low + (high - low) * ((self.bits.random_raw(shape) >> np.uint64(11)) * 2.0**-53)

    def chance(self, share: float, *shape: int) -> np.ndarray:
        return self.uniform(0, 1, *shape) < share

    def count(self, low: int, high: int, *shape: int) -> np.ndarray:
        """Whole numbers from low to high, both included."""
        return np.floor(self.uniform(low, high + 1, *shape))

    def bell(self, *shape: int) -> np.ndarray:
        """Sums of four bytes, shifted and scaled to mean 0 and variance 1: close to a normal variate, float32."""
        size = math.prod(shape)
        bytes_ = self.bits.random_raw(-(-size // 2)).astype("<u8").view(np.uint8)[: 4 * size].reshape(4, *shape)
        total = bytes_[0].astype(np.float32)
        for part in bytes_[1:]:
            total += part
        return (total - np.float32(510)) * np.float32(1 / 147.8016)


def draw(n: int, seed: int, stream: int) -> tuple[np.ndarray, np.ndarray]:
    """n pictures and their classes.

    Parameters
    ----------
    n : number of pictures, 0 or more; fewer are another draw, not the first of many.
    seed : 0 or more.
    stream : 0 for the training split, 1 for the test split; streams of one seed are independent.

    Returns
    -------
    Grey values, uint8 (n, 28, 28), and labels, int64 (n,), the positions in `CLASS_NAMES`. Each class has n / 10
    pictures, to within one, and they come in random order.

    Raises ValueError for an n or a seed that is negative or not an integer.
    """
    for name, value in (("n", n), ("seed", seed)):
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 0:
            raise ValueError(f"{name} must be an integer of at least 0, got {value!r}")
    dice = _Dice(int(seed), stream)
    order = np.argsort(dice.uniform(0, 1, n), kind="stable")
    pixels, labels = np.empty((n, SIZE, SIZE), np.uint8), np.empty(n, np.int64)
    for label, morphology in enumerate(_MORPHOLOGIES):
        mine = order[label :: len(_MORPHOLOGIES)]
        labels[mine] = label
        for start in range(0, len(mine), _BATCH):
            batch = mine[start : start + _BATCH]
            pixels[batch] = _photograph(dice, _pose(dice, morphology(dice, len(batch)))).transpose(2, 0, 1)
    return pixels, labels


# The ten morphologies: capsules around the origin, before they are turned and moved.


def _coccus(dice: _Dice, B: int) -> Capsules:
    return _cocci(dice, np.zeros((1, B)), np.zeros((1, B)), dice.uniform(2.2, 5.0, B))


def _diplococcus(dice: _Dice, B: int) -> Capsules:
    r = dice.uniform(2.0, 4.0, B)
    return _cocci(dice, np.stack([-r, r]), np.zeros((2, B)), r)


def _chain(dice: _Dice, B: int) -> Capsules:
    number = dice.count(4, 7, B)
    r = np.minimum(dice.uniform(9.5, 12, B) / number, 2.6)
    k = np.arange(7)[:, None] - (number - 1) / 2
    x = 2.2 * r * k + dice.uniform(-0.1, 0.1, 7, B) * r
    y = dice.uniform(-0.3, 0.3, B) * r * k * k + dice.uniform(-0.25, 0.25, 7, B) * r
    return _cocci(dice, x, y, np.where(k <= number / 2, r, _ABSENT))


def _cluster(dice: _Dice, B: int) -> Capsules:
    """The sites of a hexagonal lattice nearest to a random point, with some disorder."""
    row, column = np.divmod(np.arange(35), 7)
    site_x, site_y = (column - 3 + 0.5 * (row % 2))[:, None], ((row - 2) * math.sqrt(0.75))[:, None]
    off_x, off_y = dice.uniform(-0.5, 0.5, 2, B)
    x, y = site_x - off_x, site_y - off_y
    nearest = np.argsort(x * x + y * y + dice.uniform(0, 1.5, 35, B), axis=0, kind="stable")[:9]
    number = dice.count(5, 9, B)
    r = np.minimum(dice.uniform(4.6, 6.6, B) / np.sqrt(number), 2.6)
    x, y = (2 * r * (np.take_along_axis(p, nearest, axis=0) + dice.uniform(-0.1, 0.1, 9, B)) for p in (x, y))
    return _cocci(dice, x, y, np.where(np.arange(9)[:, None] < number, r, _ABSENT))


def _tetrad(dice: _Dice, B: int) -> Capsules:
    r = dice.uniform(1.7, 3.2, B)
    x, y = np.array([[-1.0, 1, -1, 1], [-1, -1, 1, 1]])[:, :, None] * r
    return _cocci(dice, x, y, r)


def _rod(dice: _Dice, B: int) -> Capsules:
    r = dice.uniform(1.4, 2.8, B)
    half = np.minimum(r * dice.uniform(1.2, 4.0, B), 9)
    return _worm(np.stack([-half, half]), np.zeros((2, B)), r)


def _rod_chain(dice: _Dice, B: int) -> Capsules:
    number = dice.count(2, 4, B)
    r = dice.uniform(1.3, 2.2, B)
    pitch = np.maximum(dice.uniform(20, 26, B) / number, 4.5 * r)
    k = np.arange(4)[:, None] - (number - 1) / 2
    bend = dice.uniform(-0.25, 0.25, B)
    along_x, along_y = _direction(bend * k / 4 + dice.uniform(-0.02, 0.02, 4, B))
    x, y = k * pitch, math.pi / 4 * bend * k * k * pitch  # a parabola with the slope of the rods
    half = np.broadcast_to(pitch / 2 - r - 0.25, k.shape)  # leaves a gap of half a pixel
    return Capsules(x, y, along_x, along_y, half, np.where(k <= number / 2, r, _ABSENT))


def _vibrio(dice: _Dice, B: int) -> Capsules:
    r = dice.uniform(1.4, 2.4, B)
    arc = dice.uniform(0.25, 0.5, B)  # in turns
    radius = dice.uniform(10.0, 17.0, B) / (2 * math.pi * arc)
    c, s = _direction(arc * np.linspace(-0.5, 0.5, 8)[:, None])
    return _worm(radius * s, radius * (c - c.min(axis=0) / 2 - 0.5), r)


def _spirillum(dice: _Dice, B: int) -> Capsules:
    r = dice.uniform(0.9, 1.3, B)
    half = dice.uniform(8.5, 11.5, B)
    turns = np.minimum(dice.uniform(2, 3, B), half / 3.6)
    t = np.linspace(-1, 1, 21)[:, None]
    wave = _direction(turns * t / 2 + dice.uniform(0, 1, B))[1]
    return _worm(half * t, dice.uniform(1.4, 2.1, B) * wave, r)


def _filament(dice: _Dice, B: int) -> Capsules:
    r = dice.uniform(0.8, 1.4, B)
    half = dice.uniform(11.0, 16.0, B)
    t = np.linspace(-1, 1, 9)[:, None]
    bow, twist = dice.uniform(-3, 3, 2, B)
    return _worm(half * t, bow * (t * t - 0.5) + twist * (t * t * t - 0.6 * t), r)


_MORPHOLOGIES = (
    _coccus,
    _diplococcus,
    _chain,
    _cluster,
    _tetrad,
    _rod,
    _rod_chain,
    _vibrio,
    _spirillum,
    _filament,
)


def _cocci(dice: _Dice, x: np.ndarray, y: np.ndarray, r: np.ndarray) -> Capsules:
    """Round cells around (x, y), of slightly different sizes and slightly oval."""
    K, B = x.shape
    r = r * dice.uniform(0.9, 1.08, K, B)
    return Capsules(x, y, *_direction(dice.uniform(0, 1, K, B)), np.maximum(r, 0) * dice.uniform(0, 0.2, K, B), r)


def _worm(x: np.ndarray, y: np.ndarray, r: np.ndarray) -> Capsules:
    """One long cell of radius r along the points (x, y), arrays (K + 1, B)."""
    dx, dy = (x[1:] - x[:-1]) / 2, (y[1:] - y[:-1]) / 2
    half = np.sqrt(dx * dx + dy * dy)
    return Capsules(x[:-1] + dx, y[:-1] + dy, dx / half, dy / half, half, np.broadcast_to(r, half.shape))


def _direction(turns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(cos, sin) of an angle given in turns: a Taylor polynomial for a quarter of the angle, doubled twice."""
    a = (turns - np.rint(turns)) * (math.pi / 2)
    z = a * a
    c = 1 - z / 2 * (1 - z / 12 * (1 - z / 30 * (1 - z / 56 * (1 - z / 90))))
    s = a * (1 - z / 6 * (1 - z / 20 * (1 - z / 42 * (1 - z / 72))))
    for _ in range(2):
        c, s = c * c - s * s, 2 * c * s
    return c, s


def _pose(dice: _Dice, cells: Capsules) -> Capsules:
    """The bacterium turned and moved, and a neighbour that reaches in from the edge of some pictures."""
    B = cells.x.shape[1]
    c, s = _direction(dice.uniform(0, 1, B))
    middle_x, middle_y = dice.uniform(-_SPREAD, _SPREAD, 2, B)
    turned = Capsules(
        c * cells.x - s * cells.y + middle_x,
        s * cells.x + c * cells.y + middle_y,
        c * cells.along_x - s * cells.along_y,
        s * cells.along_x + c * cells.along_y,
        cells.half,
        cells.r,
    )
    out_x, out_y = _direction(dice.uniform(0, 1, 1, B))
    distance = dice.uniform(12, 16, 1, B)
    r = np.clip(cells.r[:1] * dice.uniform(0.8, 1.2, 1, B), 1.0, 3.0)
    neighbour = Capsules(
        distance * out_x,
        distance * out_y,
        *_direction(dice.uniform(0, 1, 1, B)),
        r * dice.uniform(0, 2, 1, B),
        np.where(dice.chance(0.3, 1, B), r, _ABSENT),
    )
    return Capsules(*map(np.concatenate, zip(turned, neighbour, strict=True)))


# The microscope. Arrays of pixels are (row, column, B), so that the loops of NumPy run along the pictures; the field is
# one pixel wider on each side than the picture, for the blur.

_FIELD = np.arange(SIZE + 2, dtype=np.float32)[:, None] - (SIZE + 1) / 2


def _photograph(dice: _Dice, cells: Capsules) -> np.ndarray:
    """Grey values, uint8 (28, 28, B)."""
    B = cells.x.shape[1]

    def uniform(low: float, high: float) -> np.ndarray:
        return dice.uniform(low, high, B).astype(np.float32)

    field = _phase_contrast(_outline_distance(cells), uniform(0.7, 1.4), uniform(0.2, 0.7), uniform(0.0, 0.35))
    field *= uniform(0.2, 0.4)
    for reach in (1.2, 1.2, 5.0):
        _add_debris(field, dice, reach)
    field += _illumination(dice, B)
    field = _blur(field, uniform(0.0, 1.0))
    np.clip(field, 0.01, 1, out=field)
    field += np.sqrt(field) * uniform(0.015, 0.05) * dice.bell(*field.shape)
    field *= 255
    field += 0.5
    return np.clip(field, 0, 255).astype(np.uint8)


def _outline_distance(cells: Capsules) -> np.ndarray:
    """Signed distance from each pixel to the outline of the nearest cell, negative inside: float32 (30, 30, B)."""
    nearest = np.float32(np.inf)
    for x, y, along_x, along_y, half, r in zip(*(part.astype(np.float32) for part in cells), strict=True):
        dx, dy = _FIELD[None] - x, _FIELD[:, None] - y
        beyond = dx * along_x + dy * along_y
        np.abs(beyond, out=beyond)
        beyond -= half
        np.maximum(beyond, 0, out=beyond)
        beyond *= beyond
        aside = dy * along_x - dx * along_y
        aside *= aside
        aside += beyond
        np.sqrt(aside, out=aside)
        aside -= r
        nearest = np.minimum(nearest, aside, out=aside)
    return nearest


def _phase_contrast(s: np.ndarray, softness: np.ndarray, halo: np.ndarray, shade_off: np.ndarray) -> np.ndarray:
    """Brightness against the ground at a distance s from the outline: dark cells, paler in the middle, and a halo."""
    inside = np.clip(0.5 - s / (2 * softness), 0, 1)
    inside *= inside * (3 - 2 * inside)
    ring = (s - 1.5) / 2
    ring *= ring
    ring = np.maximum(1 - ring, 0)
    ring *= ring * halo
    middle = np.clip((-1 - s) / 3, 0, 1) * shade_off
    return ring + middle - inside


def _add_debris(field: np.ndarray, dice: _Dice, reach: float) -> None:
    """A speck, dark or bright; a wide one is faint, as a particle out of focus is."""
    B = field.shape[2]
    x, y = dice.uniform(-14, 14, 2, B).astype(np.float32)
    width = dice.uniform(reach / 2, reach, B).astype(np.float32)
    strength = np.where(dice.chance(0.4, B), dice.uniform(-0.45, 0.3, B), 0) / math.sqrt(reach)
    dx, dy = (_FIELD[None] - x) / width, (_FIELD[:, None] - y) / width
    fall = 1 + dx * dx + dy * dy
    fall *= fall
    field += strength.astype(np.float32) / fall


def _illumination(dice: _Dice, B: int) -> np.ndarray:
    """The ground: a level, a slope and a brighter or darker middle."""
    level = dice.uniform(0.4, 0.65, B).astype(np.float32)
    slope_x, slope_y = dice.uniform(-0.008, 0.008, 2, B).astype(np.float32)
    bowl = dice.uniform(-0.0004, 0.0004, B).astype(np.float32)
    x, y = _FIELD[None], _FIELD[:, None]
    return (level + x * slope_x + x * x * bowl) + (y * slope_y + y * y * bowl)


def _blur(field: np.ndarray, amount: np.ndarray) -> np.ndarray:
    """A mixture of the field and its binomial average over 3 x 3 pixels; one pixel less on each side."""
    rows = field[:-2] + 2 * field[1:-1] + field[2:]
    smooth = rows[:, :-2] + 2 * rows[:, 1:-1] + rows[:, 2:]
    sharp = field[1:-1, 1:-1]
    return sharp + amount * (smooth / 16 - sharp)
