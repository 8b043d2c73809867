"""Qwen3-MoE: Qwen3's attention; a softmax over experts, and dense layers where the config asks for them."""

from __future__ import annotations

from colonnade.engine.kernels.ops import Routing
from colonnade.engine.models.attention import AttentionShape
from colonnade.engine.models.decoder import Decoder, Feeds
from colonnade.engine.models.experts import ExpertsShape
from colonnade.engine.models.mlp import MlpShape
from colonnade.engine.models.qwen3 import ALL


class Qwen3Moe(Decoder):
    def attention(self, layer: int) -> AttentionShape:
        config = self.config
        window = config.count("sliding_window") if config.flag("use_sliding_window") else 0
        biased = ALL if config.flag("attention_bias") else ()
        return AttentionShape.of(config, biased=biased, norm=self.epsilon, window=window)

    def feed(self, layer: int) -> Feeds:
        config = self.config
        dense = config.entries.get("mlp_only_layers") or []
        if layer in dense or (layer + 1) % config.count("decoder_sparse_step", 1):
            return MlpShape.of(config)
        experts = config.count("num_local_experts" if "num_local_experts" in config else "num_experts", 128)
        normalised = config.flag("norm_topk_prob")
        routing = Routing(experts, config.count("num_experts_per_tok", 8), normalised=normalised)
        return ExpertsShape.of(config, config.count("moe_intermediate_size"), routing)
