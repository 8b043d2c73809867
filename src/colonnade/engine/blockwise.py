"""Weights in 8-bit floats with a scale for each block, as DeepSeek-V3 is published. No torch.

A number is E4M3 (arXiv 2209.05433): sign, 4 bits of exponent (bias 7), 3 of mantissa; no infinities, and 0x7f and 0xff
are not a number. It is multiplied with the scale of its block, `weight_scale_inv`, in spite of the name. Blocks at the
edges are cut off. Scales are float32, or powers of two as 8-bit exponents (ue8m0).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from colonnade.engine.shortfloats import ShortFloats
from colonnade.wire.errors import BadModel

BLOCK = 128
"""Rows and columns of a block."""
LARGEST = 448.0
"""Of E4M3."""
SCALE = "_scale_inv"
"""What stands behind a weight's name in its scales' name."""

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class BlockFloats:
    """A matrix [N, K]: its numbers as stored, and scales [blocks of N, blocks of K]."""

    codes: NDArray[np.uint8]
    scales: Floats

    @property
    def shape(self) -> tuple[int, ...]:
        return self.codes.shape

    def __len__(self) -> int:
        return len(self.codes)

    def floats(self) -> Floats:
        """The numbers times their scales: each product rounded once to float32, as the kernels do it."""
        rows, columns = self.shape
        wide = np.repeat(np.repeat(self.scales, BLOCK, 0)[:rows], BLOCK, 1)[:, :columns]
        return _E4M3[self.codes] * wide


def widened(weight: Floats | BlockFloats | ShortFloats) -> Floats:
    return weight if isinstance(weight, np.ndarray) else weight.floats()


def blocks_of(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of the scales of a weight of this shape."""
    return tuple(-(-size // BLOCK) for size in shape)


def exponents(stored: NDArray[np.uint8]) -> Floats:
    """ue8m0: a byte b is 2 to the power of b - 127; 255 is not a number."""
    powers = np.ldexp(np.float64(1), stored.astype(np.int32) - 127)
    return np.where(stored == 255, np.nan, powers).astype(np.float32)


def quantised(config: Mapping[str, Any]) -> bool:
    """Whether weights may be 8-bit. Raises BadModel for another `quantization_config` than this module reads."""
    entries = config.get("quantization_config")
    if not entries:
        return False
    accepted = {
        "quant_method": ("fp8",),
        "fmt": (None, "e4m3"),
        "activation_scheme": (None, "dynamic"),
        "scale_fmt": (None, "float", "ue8m0"),
        "weight_block_size": ([BLOCK, BLOCK],),
    }
    for key, values in accepted.items():
        if entries.get(key) not in values:
            known = ", ".join(str(value) for value in values if value is not None)
            raise BadModel(
                f"config.json: {key} of quantization_config is {entries.get(key)!r}", hint=f"accepted: {known}"
            )
    return True


def _values() -> Floats:
    """The value of each byte."""
    codes = np.arange(256)
    exponent, mantissa = codes >> 3 & 15, codes & 7
    size = np.where(exponent > 0, np.ldexp(1 + mantissa / 8, exponent - 7), np.ldexp(mantissa / 8, -6))
    signed = np.where(codes >> 7, -size, size)
    return np.where((codes & 127) == 127, np.nan, signed).astype(np.float32)


_E4M3 = _values()
