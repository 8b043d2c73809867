"""The torch kernels keep everything on their device: on one without memory, whatever is left on the host would show."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from colonnade.engine.kernels.ops import Batch, Routing
from colonnade.engine.kernels.reference import TorchKernels, TorchProgram, rounded
from colonnade.engine.models.registry import model_class

DENSE: dict[str, Any] = {
    "vocab_size": 50,
    "hidden_size": 32,
    "intermediate_size": 40,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "rms_norm_eps": 1e-6,
}
LATENT = DENSE | {
    "num_key_value_heads": 4,
    "q_lora_rank": 12,
    "kv_lora_rank": 16,
    "qk_nope_head_dim": 8,
    "qk_rope_head_dim": 4,
    "v_head_dim": 8,
    "n_routed_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 8,
    "n_shared_experts": 1,
    "n_group": 2,
    "topk_group": 1,
    "routed_scaling_factor": 1.0,
    "first_k_dense_replace": 2,
    "norm_topk_prob": True,
}
STEP = Batch(
    np.arange(5, dtype=np.int32),
    np.array([0, 0, 0, 1, 1], np.int32),
    np.array([0, 1, 2, 0, 1], np.int32),
    np.arange(128, dtype=np.int32).reshape(2, 64),
    np.array([2, 4], np.int32),
)


class Meta(TorchProgram):
    """Gives the logits where they are."""

    def logits(self) -> torch.Tensor:
        with torch.inference_mode():
            return self.step(STEP)


@pytest.mark.parametrize(
    ("architecture", "config"),
    [
        ("Qwen3ForCausalLM", DENSE),
        ("MistralForCausalLM", DENSE | {"sliding_window": 2}),
        ("DeepseekV3ForCausalLM", LATENT),
    ],
)
def test_a_forward_pass_stays_on_the_device(architecture: str, config: dict[str, Any]) -> None:
    model, kernels = model_class(architecture)(config), TorchKernels("meta")
    weights = {name: np.zeros(shape, np.float32) for name, shape in model.expected().items()}
    logits_SV = Meta(model.bind(weights, kernels), model.geometry(128, 64), kernels.device).logits()
    assert (logits_SV.device.type, logits_SV.shape) == ("meta", (2, 50))


def test_the_choice_of_experts_and_rounding_stay_on_the_device() -> None:
    where = torch.device("meta")
    kernels = TorchKernels("meta")
    routing = Routing(8, 2, groups=4, groups_chosen=2, sigmoid=True, paired=True, normalised=True)
    bias = kernels.vector(np.zeros(8, np.float32))

    def forward(ops: Any) -> torch.Tensor:
        return ops.route(torch.zeros(5, 8, device=where), bias, routing)

    geometry = model_class("Qwen3ForCausalLM")(DENSE).geometry(128, 64)
    assert Meta(forward, geometry, where).logits().device == where
    assert rounded(torch.zeros(3, 200, device=where)).shape == (3, 200)
