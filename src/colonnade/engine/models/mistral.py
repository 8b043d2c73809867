"""Mistral 7B and its successors: Llama's layers, and in all of them a sliding window or none."""

from __future__ import annotations

from colonnade.engine.models.attention import AttentionShape
from colonnade.engine.models.config import Config
from colonnade.engine.models.decoder import Decoder


class Mistral(Decoder):
    def attention(self, layer: int) -> AttentionShape:
        return AttentionShape.of(self.config, window=window(self.config, 4096))


def window(config: Config, default: int) -> int:
    """`sliding_window`, where null is none and an absent entry the default (0 for none)."""
    if "sliding_window" in config.entries and config.entries["sliding_window"] is None:
        return 0
    return config.count("sliding_window", default) if default or "sliding_window" in config else 0
