"""Weights as 8-bit integers with a scale for each group of columns, and what is multiplied with them. No torch.

This is the definition; `native/matrix.h` and `native/rounded.inl` do the same to the bit.

    weight[n, k] = codes[n, k] * scales[n, k // GROUP]      codes in [-127, 127], the largest of a group is +-127
    input[t, k]  = codes[t, k] * scales[t, k // GROUP]      codes in [-32767, 32767]

A product is summed exactly, in integers, within a group; the groups' sums, times both scales, are added up in float32
by rising column. So the rounding of a token depends on that token alone, and every batch, cut and instruction set gives
the same bits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

GROUP = 128
"""Columns that share a scale."""
LABEL = f"int8-g{GROUP}"
"""What fingerprints and facts call it."""

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class IntegerRows:
    """Codes [N, G * GROUP], zero from K on, and scales [N, G]."""

    codes: NDArray[np.int16]
    scales: Floats

    @classmethod
    def of_weight(cls, weight_NK: Floats) -> IntegerRows:
        groups, largest, bad = _grouped(weight_NK)
        scales = largest / np.float32(127)
        return cls._made(groups / np.where(scales > 0, scales, np.float32(1))[..., None], scales, bad)

    @classmethod
    def of_input(cls, x_TK: Floats) -> IntegerRows:
        groups, largest, bad = _grouped(x_TK)
        inverse = np.zeros_like(largest)
        np.divide(np.float32(32767), largest, where=largest > np.float32(1e-30), out=inverse)
        return cls._made(groups * inverse[..., None], largest * (np.float32(1) / np.float32(32767)), bad)

    @classmethod
    def _made(cls, exact: NDArray[Any], scales: NDArray[Any], bad: NDArray[np.bool_]) -> IntegerRows:
        codes = np.rint(exact).astype(np.int16).reshape(len(exact), exact.shape[1] * GROUP)
        return cls(codes, np.where(bad, np.float32(np.nan), scales))

    def floats(self, columns: int) -> Floats:
        """[N, K]: the numbers that the codes stand for."""
        return (self.codes * np.repeat(self.scales, GROUP, 1)).astype(np.float32)[:, :columns]


def product(x: IntegerRows, weight: IntegerRows) -> Floats:
    """[T, N]."""
    out = np.zeros((len(x.codes), len(weight.codes)), np.float32)
    for group in range(weight.scales.shape[1]):
        columns = slice(group * GROUP, (group + 1) * GROUP)
        sums = x.codes[:, columns].astype(np.float64) @ weight.codes[:, columns].astype(np.float64).T
        out += sums.astype(np.float32) * (weight.scales[:, group] * x.scales[:, group, None])
    return out


def _grouped(rows: Floats) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    """[N, G, GROUP], the largest magnitude of each group, and whether it holds what is not finite: it is all 0 then."""
    count = -(-rows.shape[1] // GROUP)
    groups = np.pad(rows, ((0, 0), (0, -rows.shape[1] % GROUP))).reshape(len(rows), count, GROUP)
    bad = np.isin(np.isfinite(groups).all(-1), [False])
    groups[bad] = 0
    return groups, np.abs(groups).max(-1), bad
