"""Grouped-query self-attention: one matrix for queries, keys and values, one back to the hidden size."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from colonnade.engine.kernels.ops import Geometry, Kernels, Ops, Value, Weight
from colonnade.engine.loader import Shape
from colonnade.engine.models import rope
from colonnade.engine.models.config import Config
from colonnade.wire.errors import BadModel

_INPUTS = ("q_proj", "k_proj", "v_proj")
MOST_HEAD_DIM = 640
"""Of the native kernels."""


@dataclass(frozen=True, slots=True)
class AttentionShape:
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    biased: tuple[str, ...] = ()
    """The projections that have a bias."""
    norm: float | None = None
    """The epsilon of the normalisation of each head of queries and keys (Qwen3), if there is one."""
    window: int = 0
    """Tokens that a token sees at most, itself among them; 0 for all."""

    @classmethod
    def of(cls, config: Config, *, head_dim: int | None = None, **others: object) -> AttentionShape:
        """`head_dim`: what it is where config.json does not say; by default hidden_size / num_attention_heads."""
        hidden, heads = config.count("hidden_size"), config.count("num_attention_heads")
        kv_heads = config.count("num_key_value_heads", heads)
        head_dim = config.count("head_dim", head_dim or max(hidden // heads, 1))
        if heads % kv_heads or head_dim % 2 or head_dim > MOST_HEAD_DIM:
            raise BadModel(
                f"config.json: {heads} heads over {kv_heads} key-value heads of dimension {head_dim}",
                hint="accepted: num_attention_heads a multiple of num_key_value_heads, an even head_dim of at most "
                f"{MOST_HEAD_DIM}",
            )
        return cls(hidden, heads, kv_heads, head_dim, **others)  # type: ignore[arg-type]

    def expected(self, prefix: str) -> dict[str, Shape]:
        """Tensors by name."""
        queries, keys = self.heads * self.head_dim, self.kv_heads * self.head_dim
        rows = {"q_proj": queries, "k_proj": keys, "v_proj": keys, "o_proj": self.hidden}
        shapes: dict[str, Shape] = {}
        for name, count in rows.items():
            shapes[f"{prefix}.{name}.weight"] = (count, queries if name == "o_proj" else self.hidden)
            if name in self.biased:
                shapes[f"{prefix}.{name}.bias"] = (count,)
        for name in ("q_norm", "k_norm") if self.norm is not None else ():
            shapes[f"{prefix}.{name}.weight"] = (self.head_dim,)
        return shapes

    def geometry(self, config: Config, layers: int, pages: int, positions: int) -> Geometry:
        cosines, sines = rope.tables(config.entries, self.head_dim, positions)
        return Geometry(layers, self.heads, self.kv_heads, self.head_dim, pages, cosines, sines)

    def bind(self, prefix: str, layer: int, weights: Mapping[str, Weight], kernels: Kernels) -> Attention:
        return Attention(self, prefix, layer, weights, kernels)


class Attention:
    def __init__(
        self, shape: AttentionShape, prefix: str, layer: int, weights: Mapping[str, Weight], kernels: Kernels
    ) -> None:
        def matrix(*names: str) -> object:
            biases = [weights[f"{prefix}.{name}.bias"] for name in names if name in shape.biased]
            return kernels.matrix([weights[f"{prefix}.{name}.weight"] for name in names], biases or None)

        def vector(name: str) -> object:
            return None if shape.norm is None else kernels.vector(weights[f"{prefix}.{name}.weight"])

        self._shape = shape
        self._layer = layer
        self._qkv, self._o = matrix(*_INPUTS), matrix("o_proj")
        self._norms = vector("q_norm"), vector("k_norm")

    def mix(self, ops: Ops, normed_TD: Value) -> Value:
        """What the heads gather, [T, H C]; keys and values of the tokens are stored on the way."""
        qkv = ops.linear(normed_TD, self._qkv)
        if self._shape.norm is not None:
            qkv = ops.head_norm(qkv, *self._norms, self._shape.norm)
        return ops.attend(ops.rope_store(qkv, self._layer), self._layer, self._shape.window)

    def project(self, ops: Ops, mixed: Value, residual: Value) -> Value:
        return ops.linear(mixed, self._o, residual)
