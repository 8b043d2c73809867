"""Matrices of 16-bit floats as checkpoints store them, widened where they are used. No torch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class ShortFloats:
    """A matrix [N, K]: bits as stored, of bfloat16 or of float16."""

    bits: NDArray[np.uint16]
    brief: bool
    """bfloat16: the upper half of a float32."""

    @property
    def shape(self) -> tuple[int, ...]:
        return self.bits.shape

    def __len__(self) -> int:
        return len(self.bits)

    def rows(self, first: int, last: int) -> ShortFloats:
        return ShortFloats(self.bits[first:last], self.brief)

    def floats(self) -> Floats:
        """Exact: every bfloat16 and float16 is a float32."""
        if self.brief:
            return (self.bits.astype(np.uint32) << 16).view(np.float32)
        return self.bits.view(np.float16).astype(np.float32)
