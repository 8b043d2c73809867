"""Multi-head latent attention (DeepSeek-V2, arXiv 2405.04434, section 2.1), in its absorbed form for every token.

The cache holds one row a token, whatever the number of heads: the normalised latent, and one key that is turned by
position. A head's keys and values are linear in the latent, so their matrices move over to the query and to the output:

    score = q_plain · (W_K latent) + q_turned · key  =  (q_plain W_K) · latent + q_turned · key
    out   = sum of weight x (W_V latent)             =  W_V (sum of weight x latent)

Prefill and decode take this one form, so that a token's bits do not depend on which of them computed it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from colonnade.engine.blockwise import widened
from colonnade.engine.kernels.ops import Geometry, Kernels, Ops, Value, Weight
from colonnade.engine.loader import Shape
from colonnade.engine.models import rope
from colonnade.engine.models.attention import MOST_HEAD_DIM
from colonnade.engine.models.config import Config
from colonnade.engine.models.norm import RmsNorm
from colonnade.wire.errors import BadModel

EPSILON = 1e-6
"""Of the norms of the latents: DeepSeek's code takes its class's default there, whatever rms_norm_eps says."""


@dataclass(frozen=True, slots=True)
class LatentShape:
    hidden: int
    heads: int
    query_rank: int
    """0: queries come from the hidden state directly (V2-Lite)."""
    rank: int
    plain: int
    turned: int
    value: int
    bias: bool

    @classmethod
    def of(cls, config: Config) -> LatentShape:
        if not config.flag("rope_interleave", True):
            raise config.refusal("rope_interleave", "true: neighbouring dimensions are a pair, as DeepSeek publishes")
        shape = cls(
            hidden=config.count("hidden_size"),
            heads=config.count("num_attention_heads"),
            query_rank=config.whole("q_lora_rank", 0),
            rank=config.count("kv_lora_rank"),
            plain=config.count("qk_nope_head_dim"),
            turned=config.count("qk_rope_head_dim"),
            value=config.count("v_head_dim"),
            bias=config.flag("attention_bias"),
        )
        if shape.turned % 2 or (shape.rank + shape.turned) % 2 or shape.rank + shape.turned > MOST_HEAD_DIM:
            raise BadModel(
                f"config.json: a latent of {shape.rank} and a turned key of {shape.turned}",
                hint=f"accepted: even kv_lora_rank and qk_rope_head_dim, together at most {MOST_HEAD_DIM}",
            )
        return shape

    def expected(self, prefix: str) -> dict[str, Shape]:
        """Tensors by name."""
        queries = self.heads * (self.plain + self.turned)
        matrices: dict[str, Shape] = {
            "kv_a_proj_with_mqa": (self.rank + self.turned, self.hidden),
            "kv_b_proj": (self.heads * (self.plain + self.value), self.rank),
            "o_proj": (self.hidden, self.heads * self.value),
        }
        shapes: dict[str, Shape] = {f"{prefix}.kv_a_layernorm.weight": (self.rank,)}
        if self.query_rank:
            matrices |= {"q_a_proj": (self.query_rank, self.hidden), "q_b_proj": (queries, self.query_rank)}
            shapes[f"{prefix}.q_a_layernorm.weight"] = (self.query_rank,)
        else:
            matrices["q_proj"] = (queries, self.hidden)
        for name, shape in matrices.items():
            shapes[f"{prefix}.{name}.weight"] = shape
            if self.bias and name in ("q_a_proj", "kv_a_proj_with_mqa", "o_proj"):
                shapes[f"{prefix}.{name}.bias"] = shape[:1]
        return shapes

    def geometry(self, config: Config, layers: int, pages: int, positions: int) -> Geometry:
        cosines, sines = rope.tables(config.entries, self.turned, positions, _amplitude(config))
        scale = (self.plain + self.turned) ** -0.5 * _entropy(config) ** 2
        return Geometry(layers, self.heads, 1, self.rank + self.turned, pages, cosines, sines, scale, self.rank)

    def bind(self, prefix: str, layer: int, weights: Mapping[str, Weight], kernels: Kernels) -> LatentAttention:
        return LatentAttention(self, prefix, layer, weights, kernels)


class LatentAttention:
    def __init__(
        self, shape: LatentShape, prefix: str, layer: int, weights: Mapping[str, Weight], kernels: Kernels
    ) -> None:
        def matrix(name: str) -> object:
            bias = f"{prefix}.{name}.bias"
            return kernels.matrix([weights[f"{prefix}.{name}.weight"]], [weights[bias]] if bias in weights else None)

        def norm(name: str) -> RmsNorm:
            return RmsNorm(weights[f"{prefix}.{name}.weight"], EPSILON, kernels)

        self._shape = shape
        self._layer = layer
        self._compress, self._norm, self._o = matrix("kv_a_proj_with_mqa"), norm("kv_a_layernorm"), matrix("o_proj")
        self._query = matrix("q_b_proj" if shape.query_rank else "q_proj")
        self._query_first = (matrix("q_a_proj"), norm("q_a_layernorm")) if shape.query_rank else None
        expand_HNL = widened(weights[f"{prefix}.kv_b_proj.weight"]).reshape(shape.heads, -1, shape.rank)
        keys_HCL, values_HCL = np.split(expand_HNL, [shape.plain], axis=1)
        self._keys = [kernels.matrix([head_CL.T], exact=True) for head_CL in keys_HCL]
        self._values = [kernels.matrix([head_CL], exact=True) for head_CL in values_HCL]

    def mix(self, ops: Ops, normed_TD: Value) -> Value:
        """What the heads gather, [T, H x value]; the tokens' rows are stored on the way."""
        compressed = ops.linear(normed_TD, self._compress)
        latent_TL = self._norm(ops, ops.columns(compressed, 0, self._shape.rank))
        q = ops.linear(self._asked(ops, normed_TD), self._query)
        queries = ops.latent_store(ops.per_head(q, self._keys), q, latent_TL, compressed, self._layer)
        return ops.per_head(ops.attend(queries, self._layer), self._values)

    def _asked(self, ops: Ops, normed_TD: Value) -> Value:
        if self._query_first is None:
            return normed_TD
        matrix, norm = self._query_first
        return norm(ops, ops.linear(normed_TD, matrix))

    def project(self, ops: Ops, mixed: Value, residual: Value) -> Value:
        return ops.linear(mixed, self._o, residual)


def _entropy(config: Config) -> float:
    """YaRN's first scale: of the scores, squared, by `mscale_all_dim`."""
    scaling = rope.parameters(config.entries)
    if not scaling.get("mscale_all_dim") or rope.kind(config.entries) == "default":
        return 1.0
    return rope.yarn_scale(rope.number(scaling, "factor"), rope.number(scaling, "mscale_all_dim"))


def _amplitude(config: Config) -> float | None:
    """YaRN's second scale: of cosines and sines. 1 where `mscale` equals `mscale_all_dim`, as published.

    modeling_deepseek.py takes 1 and 0 where they are not given; transformers disregards one without the other.
    """
    scaling = rope.parameters(config.entries)
    if rope.kind(config.entries) != "yarn" or scaling.get("attention_factor") is not None:
        return None
    factor, above, below = (
        rope.number(scaling, "factor"),
        scaling.get("mscale", 1.0),
        scaling.get("mscale_all_dim", 0.0),
    )
    return rope.yarn_scale(factor, above) / rope.yarn_scale(factor, below)
