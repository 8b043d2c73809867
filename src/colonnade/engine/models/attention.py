"""Grouped-query self-attention: one matrix for queries, keys and values, one back to the hidden size."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from colonnade.engine.kernels.ops import Floats, Kernels, Ops, Value
from colonnade.engine.loader import Shape


@dataclass(frozen=True, slots=True)
class AttentionShape:
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    bias: bool

    def expected(self, prefix: str) -> dict[str, Shape]:
        """Tensors by name."""
        queries, keys = self.heads * self.head_dim, self.kv_heads * self.head_dim
        rows = {"q_proj": queries, "k_proj": keys, "v_proj": keys, "o_proj": self.hidden}
        shapes: dict[str, Shape] = {}
        for name, count in rows.items():
            shapes[f"{prefix}.{name}.weight"] = (count, queries if name == "o_proj" else self.hidden)
            if self.bias:
                shapes[f"{prefix}.{name}.bias"] = (count,)
        return shapes


class Attention:
    def __init__(
        self, shape: AttentionShape, prefix: str, layer: int, weights: Mapping[str, Floats], kernels: Kernels
    ) -> None:
        def parts(*names: str, kind: str = "weight") -> list[Floats]:
            return [weights[f"{prefix}.{name}.{kind}"] for name in names]

        inputs = ("q_proj", "k_proj", "v_proj")
        self._layer = layer
        self._qkv = kernels.matrix(parts(*inputs), parts(*inputs, kind="bias") if shape.bias else None)
        self._o = kernels.matrix(parts("o_proj"), parts("o_proj", kind="bias") if shape.bias else None)

    def mix(self, ops: Ops, normed_TD: Value) -> Value:
        """What the heads gather, [T, H C]; keys and values of the tokens are stored on the way."""
        q = ops.rope_store(ops.linear(normed_TD, self._qkv), self._layer)
        return ops.attend(q, self._layer)

    def project(self, ops: Ops, mixed: Value, residual: Value) -> Value:
        return ops.linear(mixed, self._o, residual)
