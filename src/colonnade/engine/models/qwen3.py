"""Qwen3: each head of queries and keys is normalised before it is turned."""

from __future__ import annotations

from colonnade.engine.models.attention import AttentionShape
from colonnade.engine.models.config import sliding_window
from colonnade.engine.models.decoder import Decoder

ALL = ("q_proj", "k_proj", "v_proj", "o_proj")


class Qwen3(Decoder):
    def attention(self, layer: int) -> AttentionShape:
        biased = ALL if self.config.flag("attention_bias") else ()
        window = sliding_window(self.config, layer)
        return AttentionShape.of(self.config, head_dim=128, biased=biased, norm=self.epsilon, window=window)
