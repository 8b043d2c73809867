"""Mixtral: Mistral's attention, and a softmax over experts of which the best two count."""

from __future__ import annotations

from colonnade.engine.kernels.ops import Routing
from colonnade.engine.models.attention import AttentionShape
from colonnade.engine.models.decoder import Decoder
from colonnade.engine.models.experts import ExpertsShape
from colonnade.engine.models.mistral import window


class Mixtral(Decoder):
    feed_name = "block_sparse_moe"
    default_epsilon = 1e-5

    def attention(self, layer: int) -> AttentionShape:
        return AttentionShape.of(self.config, window=window(self.config, 0))

    def feed(self, layer: int) -> ExpertsShape:
        chosen = self.config.count("num_experts_per_tok", 2)
        routing = Routing(self.config.count("num_local_experts", 8), chosen, normalised=True)
        return ExpertsShape.of(self.config, self.config.count("intermediate_size"), routing, names=("w1", "w3", "w2"))
