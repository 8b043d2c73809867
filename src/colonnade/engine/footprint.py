"""How much memory a model takes, from its shapes alone: for `doctor`, and before weights are read. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import prod
from typing import Any

from colonnade.engine.blockwise import BLOCK, blocks_of
from colonnade.engine.loader import Shape
from colonnade.wire.errors import SetupError
from colonnade.wire.units import rounded_bytes

OVERHEAD = 400_000_000
"""Bytes of everything else, at most: the interpreter, tables, a step's activations."""
EMBEDDING = "embed_tokens.weight"
WIDENED = ("mlp.gate.weight", "block_sparse_moe.gate.weight", "kv_b_proj.weight")
"""Ends of names of matrices that become float32 at load, however they are stored."""


@dataclass(frozen=True)
class Footprint:
    """Bytes. `weights`: as they are kept in memory; `token`: keys and values of one."""

    weights: int
    token: int

    @classmethod
    def of(
        cls,
        model: Any,
        kinds: Mapping[str, str],
        *,
        native: bool = True,
        quantize: str = "none",
        kv_dtype: str = "float32",
    ) -> Footprint:
        """`kinds`: how each tensor is stored; `native`: which kernels. What is only kept aside takes nothing."""
        total = 0
        for name, shape in model.expected().items():
            total += _kept(name, shape, kinds.get(name, "F32"), native, quantize)
            if quantize == "int8" and name.endswith(EMBEDDING) and getattr(model, "tied", False):
                total += _integers(shape)  # the head is a matrix of its own then
        return cls(total, replace(model.geometry(1, 1), kv_dtype=kv_dtype).token_bytes)

    def check_weights(self, free: int, device: str) -> None:
        """Raises SetupError where not even the weights fit."""
        if self.weights > free:
            raise SetupError(
                f"the weights take {self.weights} bytes in memory ({rounded_bytes(self.weights)}), {free} are free on "
                f"{device} ({rounded_bytes(free)})",
                hint=f"free {rounded_bytes(self.weights - free)}, take a smaller model, or quantize int8; "
                "`colonnade doctor MODEL` says what would fit",
                code="out_of_memory",
            )


def _kept(name: str, shape: Shape, kind: str, native: bool, quantize: str) -> int:
    if len(shape) != 2 or name.endswith(WIDENED):
        return 4 * prod(shape)
    if quantize == "int8" and not name.endswith(EMBEDDING):
        return _integers(shape)
    if native and kind == "F8_E4M3" and not name.endswith(EMBEDDING):
        return prod(shape) + 4 * prod(blocks_of(shape))
    return (2 if native and kind == "BF16" else 4) * prod(shape)


def _integers(shape: Shape) -> int:
    """One byte a number, and a scale for each group of a row."""
    return prod(shape) + 4 * shape[0] * -(-shape[1] // BLOCK)
