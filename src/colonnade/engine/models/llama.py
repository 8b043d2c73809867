"""Llama 2 and 3, and all that came out under its name."""

from __future__ import annotations

from colonnade.engine.models.attention import AttentionShape
from colonnade.engine.models.decoder import Decoder
from colonnade.engine.models.mlp import MlpShape

_ALL = ("q_proj", "k_proj", "v_proj", "o_proj")


class Llama(Decoder):
    def attention(self, layer: int) -> AttentionShape:
        return AttentionShape.of(self.config, biased=_ALL if self.config.flag("attention_bias") else ())

    def feed(self, layer: int) -> MlpShape:
        return MlpShape.of(self.config, bias=self.config.flag("mlp_bias"))
