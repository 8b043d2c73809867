"""The wiring that all families share: embedding, blocks of attention and feed-forward layers, norm, head.

A family is a subclass that says which piece stands where:

    class Qwen2(Decoder):
        def attention(self, layer: int) -> Attends:
            return AttentionShape.of(self.config, biased=("q_proj", "k_proj", "v_proj"))
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from colonnade.engine.blockwise import BlockFloats, quantised
from colonnade.engine.kernels.ops import Geometry, Kernels, Ops, Value, Weight
from colonnade.engine.loader import Shape
from colonnade.engine.models import rope
from colonnade.engine.models.config import Config
from colonnade.engine.models.mlp import MlpShape
from colonnade.engine.models.norm import RmsNorm

EMBEDDING = "model.embed_tokens.weight"
HEAD = "lm_head.weight"


class Mixes(Protocol):
    """Attention with its weights."""

    def mix(self, ops: Ops, normed_TD: Value) -> Value: ...
    def project(self, ops: Ops, mixed: Value, residual: Value) -> Value: ...


class Attends(Protocol):
    """The shape of a layer's attention."""

    def expected(self, prefix: str) -> dict[str, Shape]: ...
    def geometry(self, config: Config, layers: int, pages: int, positions: int) -> Geometry: ...
    def bind(self, prefix: str, layer: int, weights: Mapping[str, Weight], kernels: Kernels) -> Mixes: ...


class Feeds(Protocol):
    """The shape of a layer's feed-forward part; bound, it maps (ops, normed, residual) to the sum."""

    def expected(self, prefix: str) -> dict[str, Shape]: ...
    def bind(
        self, prefix: str, weights: Mapping[str, Weight], kernels: Kernels
    ) -> Callable[[Ops, Value, Value], Value]: ...


class Decoder:
    """Reads a config (raises BadModel for what it cannot serve), then binds weights to kernels."""

    ignored: tuple[str, ...] = ("rotary_emb.inv_freq", HEAD)
    """Ends of names of tensors that checkpoints carry and nothing reads; the head counts only where it is tied."""
    feed_name = "mlp"
    """What checkpoints call the feed-forward part."""
    default_epsilon = 1e-6

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.config = Config(config)
        self.hidden = self.config.count("hidden_size")
        self.vocab_size = self.config.count("vocab_size")
        self.epsilon = self.config.number("rms_norm_eps", self.default_epsilon)
        self.tied = self.config.flag("tie_word_embeddings")
        rope.kind(config)
        self.quantised = quantised(config)
        self.layers = self.config.count("num_hidden_layers")
        self.shapes = [(self.attention(layer), self.feed(layer)) for layer in range(self.layers)]
        self.geometry(1, 1)

    def attention(self, layer: int) -> Attends:
        raise TypeError(f"{type(self).__name__} does not say what its attention is")

    def feed(self, layer: int) -> Feeds:
        return MlpShape.of(self.config)

    def expected(self) -> dict[str, Shape]:
        """Every tensor, by name."""
        shapes: dict[str, Shape] = {EMBEDDING: (self.vocab_size, self.hidden), "model.norm.weight": (self.hidden,)}
        if not self.tied:
            shapes[HEAD] = (self.vocab_size, self.hidden)
        for layer in range(self.layers):
            shapes |= self.block(layer)
        return shapes

    def block(self, layer: int) -> dict[str, Shape]:
        prefix, attention, feed = f"model.layers.{layer}", self.attention(layer), self.feed(layer)
        norms: dict[str, Shape] = {
            f"{prefix}.{name}.weight": (self.hidden,) for name in ("input_layernorm", "post_attention_layernorm")
        }
        return attention.expected(f"{prefix}.self_attn") | feed.expected(f"{prefix}.{self.feed_name}") | norms

    def optional(self) -> dict[str, Shape]:
        """Tensors that a checkpoint may have: checked where they are there, and kept aside."""
        return {}

    def geometry(self, pages: int, positions: int) -> Geometry:
        """A cache of `pages` tokens, and angles for `positions` of them in a row."""
        return self.shapes[0][0].geometry(self.config, self.layers, pages, positions)

    def bind(self, weights: Mapping[str, Weight], kernels: Kernels) -> Callable[[Ops], Value]:
        """The forward pass: logits [S, V] of the sampled tokens."""
        blocks = [_Block(self, layer, weights, kernels) for layer in range(self.layers)]
        norm = RmsNorm(weights["model.norm.weight"], self.epsilon, kernels)
        table = kernels.matrix([_table(weights[EMBEDDING])], exact=True)
        shared = self.tied and kernels.quantize == "none"
        head = table if shared else kernels.matrix([weights[EMBEDDING if self.tied else HEAD]])

        def forward(ops: Ops) -> Value:
            x_TD = ops.embed(table)
            for block in blocks[:-1]:
                x_TD = block.finish(ops, block.mix(ops, x_TD), x_TD)
            # Behind the last block's keys and values only the sampled tokens matter.
            last_SD = blocks[-1].finish(ops, ops.sampled(blocks[-1].mix(ops, x_TD)), ops.sampled(x_TD))
            hidden_SD = norm(ops, last_SD)
            ops.keep(hidden_SD)
            return ops.linear(hidden_SD, head)

        return forward


def _table(weight_VD: Weight) -> Weight:
    return weight_VD.floats() if isinstance(weight_VD, BlockFloats) else weight_VD


class _Block:
    def __init__(self, model: Decoder, layer: int, weights: Mapping[str, Weight], kernels: Kernels) -> None:
        prefix, (attention, feed) = f"model.layers.{layer}", model.shapes[layer]

        def norm(name: str) -> RmsNorm:
            return RmsNorm(weights[f"{prefix}.{name}.weight"], model.epsilon, kernels)

        self._attention_norm = norm("input_layernorm")
        self._attention = attention.bind(f"{prefix}.self_attn", layer, weights, kernels)
        self._feed_norm = norm("post_attention_layernorm")
        self._feed = feed.bind(f"{prefix}.{model.feed_name}", weights, kernels)

    def mix(self, ops: Ops, x_TD: Value) -> Value:
        return self._attention.mix(ops, self._attention_norm(ops, x_TD))

    def finish(self, ops: Ops, mixed: Value, x: Value) -> Value:
        x = self._attention.project(ops, mixed, x)
        return self._feed(ops, self._feed_norm(ops, x), x)
