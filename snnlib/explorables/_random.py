"""The random numbers of the figures' scripts, again in NumPy, so that a picture shows what its figure does."""

from __future__ import annotations

import numpy as np


def uniforms(seed: int, count: int) -> np.ndarray:
    """The first `count` numbers in (0, 1) of mulberry32 (T. Ettinger), as `random(seed).uniform` of numerics.js."""
    state = np.uint32(seed) + np.arange(1, count + 1, dtype=np.uint32) * np.uint32(0x6D2B79F5)
    t = (state ^ (state >> 15)) * (state | 1)
    t ^= t + (t ^ (t >> 7)) * (t | 61)
    return ((t ^ (t >> 14)) + 0.5) / 2**32


def normals(seed: int, count: int) -> np.ndarray:
    """The first `count` standard normal numbers, by the formula of Box and Muller, as `random(seed).normal`."""
    u, v = uniforms(seed, 2 * count).reshape(-1, 2).T
    return np.sqrt(-2 * np.log(u)) * np.cos(2 * np.pi * v)
