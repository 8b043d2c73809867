"""Qwen2 and Qwen2.5: a bias on queries, keys and values, and sliding windows from some layer on."""

from __future__ import annotations

from colonnade.engine.models.attention import AttentionShape
from colonnade.engine.models.config import sliding_window
from colonnade.engine.models.decoder import Decoder


class Qwen2(Decoder):
    def attention(self, layer: int) -> AttentionShape:
        window = sliding_window(self.config, layer)
        return AttentionShape.of(self.config, biased=("q_proj", "k_proj", "v_proj"), window=window)
