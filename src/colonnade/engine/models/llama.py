"""Llama: the wiring, and what its config.json may say."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from colonnade.engine.kernels.ops import Floats, Geometry, Kernels, Ops, Value
from colonnade.engine.loader import Shape
from colonnade.engine.models import rope
from colonnade.engine.models.attention import Attention, AttentionShape
from colonnade.engine.models.mlp import Mlp, MlpShape
from colonnade.engine.models.norm import RmsNorm
from colonnade.wire.errors import BadModel

_EMBEDDING = "model.embed_tokens.weight"
_HEAD = "lm_head.weight"


class Llama:
    """Reads a config (raises BadModel for what it cannot serve), then binds weights to kernels."""

    ignored = ("rotary_emb.inv_freq", _HEAD)
    """Tensors that old checkpoints carry and that nothing reads; the head counts only where it is tied."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self._config = config
        self.layers = self._count("num_hidden_layers")
        self.hidden = self._count("hidden_size")
        self.vocab_size = self._count("vocab_size")
        self.epsilon = float(config.get("rms_norm_eps", 1e-6))
        self.tied = bool(config.get("tie_word_embeddings", False))
        self.attention = self._attention_shape()
        self.mlp = MlpShape(self.hidden, self._count("intermediate_size"), bool(config.get("mlp_bias", False)))
        if config.get("hidden_act", "silu") != "silu":
            raise BadModel(f"config.json: hidden_act is {config['hidden_act']!r}", hint="accepted: silu")
        if config.get("quantization_config"):
            raise BadModel("config.json: quantization_config is set", hint="accepted: float32, float16, bfloat16")
        rope.frequencies(config, self.attention.head_dim)

    def _count(self, key: str) -> int:
        value = self._config.get(key)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise BadModel(f"config.json: {key} is {value!r}", hint="accepted: a whole number above 0")
        return value

    def _attention_shape(self) -> AttentionShape:
        heads = self._count("num_attention_heads")
        kv_heads = heads if self._config.get("num_key_value_heads") is None else self._count("num_key_value_heads")
        head_dim = self.hidden // heads if self._config.get("head_dim") is None else self._count("head_dim")
        if heads % kv_heads or head_dim % 2:
            raise BadModel(
                f"config.json: {heads} heads over {kv_heads} key-value heads of dimension {head_dim}",
                hint="accepted: num_attention_heads a multiple of num_key_value_heads, an even head_dim",
            )
        return AttentionShape(self.hidden, heads, kv_heads, head_dim, bool(self._config.get("attention_bias", False)))

    def expected(self) -> dict[str, Shape]:
        """Every tensor, by name."""
        shapes: dict[str, Shape] = {_EMBEDDING: (self.vocab_size, self.hidden), "model.norm.weight": (self.hidden,)}
        if not self.tied:
            shapes[_HEAD] = (self.vocab_size, self.hidden)
        for layer in range(self.layers):
            prefix = f"model.layers.{layer}"
            shapes |= self.attention.expected(f"{prefix}.self_attn") | self.mlp.expected(f"{prefix}.mlp")
            shapes[f"{prefix}.input_layernorm.weight"] = (self.hidden,)
            shapes[f"{prefix}.post_attention_layernorm.weight"] = (self.hidden,)
        return shapes

    def geometry(self, pages: int, positions: int) -> Geometry:
        """A cache of `pages` tokens, and angles for `positions` of them in a row."""
        shape = self.attention
        cosines, sines = rope.tables(self._config, shape.head_dim, positions)
        return Geometry(self.layers, shape.heads, shape.kv_heads, shape.head_dim, pages, cosines, sines)

    def bind(self, weights: Mapping[str, Floats], kernels: Kernels) -> Callable[[Ops], Value]:
        """The forward pass: logits [S, V] of the sampled tokens."""
        blocks = [_Block(self, layer, weights, kernels) for layer in range(self.layers)]
        norm = RmsNorm(weights["model.norm.weight"], self.epsilon, kernels)
        table = kernels.matrix([weights[_EMBEDDING]])
        head = table if self.tied else kernels.matrix([weights[_HEAD]])

        def forward(ops: Ops) -> Value:
            x_TD = ops.embed(table)
            for block in blocks[:-1]:
                x_TD = block.finish(ops, block.mix(ops, x_TD), x_TD)
            # Behind the last block's keys and values only the sampled tokens matter.
            last_SD = blocks[-1].finish(ops, ops.sampled(blocks[-1].mix(ops, x_TD)), ops.sampled(x_TD))
            return ops.linear(norm(ops, last_SD), head)

        return forward


class _Block:
    def __init__(self, model: Llama, layer: int, weights: Mapping[str, Floats], kernels: Kernels) -> None:
        prefix = f"model.layers.{layer}"

        def norm(name: str) -> RmsNorm:
            return RmsNorm(weights[f"{prefix}.{name}.weight"], model.epsilon, kernels)

        self._attention_norm = norm("input_layernorm")
        self._attention = Attention(model.attention, f"{prefix}.self_attn", layer, weights, kernels)
        self._mlp_norm = norm("post_attention_layernorm")
        self._mlp = Mlp(model.mlp, f"{prefix}.mlp", weights, kernels)

    def mix(self, ops: Ops, x_TD: Value) -> Value:
        return self._attention.mix(ops, self._attention_norm(ops, x_TD))

    def finish(self, ops: Ops, mixed: Value, x: Value) -> Value:
        x = self._attention.project(ops, mixed, x)
        return self._mlp(ops, self._mlp_norm(ops, x), x)
