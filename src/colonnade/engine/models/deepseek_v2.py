"""DeepSeek-V2, V2-Lite and Coder-V2: latent attention, and a softmax over experts, perhaps limited to groups."""

from __future__ import annotations

from colonnade.engine.kernels.ops import Routing
from colonnade.engine.models.deepseek_v3 import DeepseekV3


class DeepseekV2(DeepseekV3):
    def routing(self) -> Routing:
        """Weights are normalised or scaled, never both: modeling_deepseek.py of DeepSeek-V2, `MoEGate`."""
        config = self.config
        config.choice("scoring_func", ("softmax",), "softmax")
        limited = config.choice("topk_method", ("greedy", "group_limited_greedy"), "greedy") != "greedy"
        chosen = config.count("num_experts_per_tok")
        normalised = config.flag("norm_topk_prob") and chosen > 1
        return Routing(
            config.count("n_routed_experts"),
            chosen,
            groups=config.count("n_group") if limited else 1,
            groups_chosen=config.count("topk_group") if limited else 1,
            normalised=normalised,
            scale=1.0 if normalised else config.number("routed_scaling_factor", 1.0),
        )
