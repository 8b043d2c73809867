"""DeepSeek-V3 and R1: latent attention, sigmoid scores with a correction in the choice of experts, groups, MTP layers.

Where transformers departs from DeepSeek's reference code (inference/model.py and modeling_deepseek.py), the latter is
followed; docs/models.md lists where.
"""

from __future__ import annotations

from colonnade.engine.kernels.ops import Routing
from colonnade.engine.loader import Shape
from colonnade.engine.models.decoder import Decoder, Feeds
from colonnade.engine.models.experts import ExpertsShape
from colonnade.engine.models.latent import LatentShape
from colonnade.engine.models.mlp import MlpShape


class DeepseekV3(Decoder):
    def attention(self, layer: int) -> LatentShape:
        return LatentShape.of(self.config)

    def feed(self, layer: int) -> Feeds:
        config = self.config
        sparse = layer >= config.whole("first_k_dense_replace", 0) and layer % config.count("moe_layer_freq", 1) == 0
        if not sparse or "n_routed_experts" not in config:
            return MlpShape.of(config, bias=config.flag("mlp_bias"))
        width = config.count("moe_intermediate_size")
        shared = width * config.whole("n_shared_experts", 0)
        return ExpertsShape.of(config, width, self.routing(), shared=shared, corrected=self.routing().sigmoid)

    def routing(self) -> Routing:
        config = self.config
        config.choice("scoring_func", ("sigmoid",), "sigmoid")
        config.choice("topk_method", ("noaux_tc",), "noaux_tc")
        return Routing(
            config.count("n_routed_experts"),
            config.count("num_experts_per_tok"),
            groups=config.count("n_group"),
            groups_chosen=config.count("topk_group"),
            sigmoid=True,
            paired=True,
            normalised=config.flag("norm_topk_prob", True),
            scale=config.number("routed_scaling_factor", 1.0),
        )

    def optional(self) -> dict[str, Shape]:
        """The layers behind the last, which predict further tokens (MTP): checked, kept aside, read by nothing yet."""
        shapes: dict[str, Shape] = {}
        for layer in range(self.layers, self.layers + self.predicting):
            prefix = f"model.layers.{layer}"
            shapes |= self.block(layer) | {
                f"{prefix}.embed_tokens.weight": (self.vocab_size, self.hidden),
                f"{prefix}.shared_head.head.weight": (self.vocab_size, self.hidden),
                f"{prefix}.eh_proj.weight": (self.hidden, 2 * self.hidden),
            }
            shapes |= {f"{prefix}.{name}.weight": (self.hidden,) for name in ("enorm", "hnorm", "shared_head.norm")}
        return shapes

    @property
    def predicting(self) -> int:
        """How many layers predict further tokens; the checkpoint may have left them out."""
        return self.config.whole("num_nextn_predict_layers", 0)
