"""The noise is uniform, and independent along each of its three coordinates."""

from __future__ import annotations

import numpy as np
import pytest

from colonnade.engine.noise import ACCEPT, uniform

COUNT = 20_000
BINS = 64
# A chi-square with 63 degrees of freedom stays within these in all but 1 of 10^5 cases; the seeds are fixed.
LOW, HIGH = 25.0, 122.0


def chi_square(counts: np.ndarray) -> float:
    expected = counts.sum() / counts.size
    return float(((counts - expected) ** 2 / expected).sum())


ALONG = {
    "position": lambda i: uniform(7, 0, i),
    "seed": lambda i: uniform(i, 0, 5),
    "choice": lambda i: uniform(7, i, 5),
    "high bits of the seed": lambda i: uniform(i << 44, 0, 5),
    "position, for accepting": lambda i: uniform(7, 0, i, ACCEPT),
    "streams": lambda i: uniform(7, 0, i // 3, i % 3),
}


@pytest.mark.parametrize("axis", list(ALONG))
def test_uniform_along(axis: str) -> None:
    numbers = np.array([ALONG[axis](i) for i in range(COUNT)])
    assert ((numbers >= 0) & (numbers < 1)).all()
    assert LOW < chi_square(np.bincount((numbers * BINS).astype(int), minlength=BINS)) < HIGH


@pytest.mark.parametrize("axis", list(ALONG))
def test_neighbours_are_independent_along(axis: str) -> None:
    numbers = np.array([ALONG[axis](i) for i in range(COUNT)])
    side = int(BINS**0.5)
    pairs = (numbers[:-1] * side).astype(int) * side + (numbers[1:] * side).astype(int)
    assert LOW < chi_square(np.bincount(pairs, minlength=BINS)) < HIGH


def test_coordinates_do_not_mix() -> None:
    """No (seed, choice, position) of a small cube draws what another one draws."""
    cube = [uniform(s, c, p) for s in range(16) for c in range(16) for p in range(16)]
    assert len(set(cube)) == len(cube)


def test_known_values() -> None:
    """Frozen: a change here changes every sampled answer."""
    assert [uniform(0, 0, 0), uniform(1, 2, 3), uniform(2**63 - 1, 0, 100)] == pytest.approx(KNOWN, abs=0)


KNOWN = [0.1296456182997474, 0.1300857085561754, 0.2508995150525233]


def test_arguments_count_modulo_two_to_the_64() -> None:
    assert uniform(-1, 0, 0) == uniform(2**64 - 1, 0, 0)
