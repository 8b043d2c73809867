"""Every family gives the greedy tokens and log-probabilities of transformers, in float32, on random small models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import tiny_families
from tiny_families import LATENT
from tiny_llama import PLACES


def rope(kind: str, **others: Any) -> dict[str, Any]:
    return {"rope_parameters": {"rope_type": kind, "rope_theta": 10000.0, **others}}


YARN = {"factor": 4.0, "original_max_position_embeddings": 64}
LLAMA3 = {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 64}
LONG = {
    "short_factor": [1.0 + 0.1 * i for i in range(8)],
    "long_factor": [1.0 + 0.7 * i for i in range(8)],
}
QWEN_WINDOW = {"use_sliding_window": True, "sliding_window": 20, "max_window_layers": 1}
QWEN_MOE = {"num_experts": 9, "num_experts_per_tok": 3, "moe_intermediate_size": 20}
BOTH_SCALES = {"factor": 40.0, "original_max_position_embeddings": 32, "mscale": 1.0, "mscale_all_dim": 1.0}
LIMITED = {"topk_method": "group_limited_greedy", "routed_scaling_factor": 16.0}

MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "llama, dynamic rope": ("Llama", rope("dynamic", factor=4.0)),
    "llama, yarn": ("Llama", rope("yarn", **YARN)),
    "llama, yarn with all its entries": (
        "Llama",
        rope("yarn", **YARN, attention_factor=1.3, beta_fast=20, beta_slow=2, truncate=False),
    ),
    "llama, longrope within": ("Llama", rope("longrope", **LONG, original_max_position_embeddings=256)),
    "mistral, window of 4096": ("Mistral", {}),
    "mistral, no window": ("Mistral", {"sliding_window": None}),
    "mistral, window of 20": ("Mistral", {"sliding_window": 20}),
    "mistral, window of 64": ("Mistral", {"sliding_window": 64, "num_key_value_heads": 6, "head_dim": 20}),
    "mistral, window of 1": ("Mistral", {"sliding_window": 1}),
    "qwen2": ("Qwen2", {}),
    "qwen2, tied, in shards": ("Qwen2", {"tie_word_embeddings": True, "shards": "20KB"}),
    "qwen2, windows from layer 1": ("Qwen2", QWEN_WINDOW),
    "qwen2, windows by layer": (
        "Qwen2",
        QWEN_WINDOW | {"layer_types": ["sliding_attention", "full_attention", "sliding_attention"]},
    ),
    "qwen2, llama3 rope": ("Qwen2", rope("llama3", **LLAMA3)),
    "qwen3": ("Qwen3", {}),
    "qwen3, tied, yarn, bias": ("Qwen3", {"tie_word_embeddings": True, "attention_bias": True} | rope("yarn", **YARN)),
    "qwen3, head dimension of 20, windows": ("Qwen3", QWEN_WINDOW | {"head_dim": 20}),
    "mixtral": ("Mixtral", {"num_local_experts": 5}),
    "mixtral, window, one expert": (
        "Mixtral",
        {"num_local_experts": 4, "num_experts_per_tok": 1, "sliding_window": 30, "shards": "60KB"},
    ),
    "qwen3-moe": ("Qwen3Moe", QWEN_MOE),
    "qwen3-moe, normalised, tied, window": (
        "Qwen3Moe",
        QWEN_MOE
        | {"norm_topk_prob": True, "tie_word_embeddings": True, "use_sliding_window": True, "sliding_window": 9},
    ),
    "qwen3-moe, dense layers, yarn": ("Qwen3Moe", QWEN_MOE | {"mlp_only_layers": [1]} | rope("yarn", **YARN)),
    "qwen3-moe, every second layer": ("Qwen3Moe", QWEN_MOE | {"decoder_sparse_step": 2, "attention_bias": True}),
    "deepseek-v2, greedy": ("DeepseekV2", LATENT | {"routed_scaling_factor": 1.0}),
    "deepseek-v2, queries direct": ("DeepseekV2", LATENT | {"q_lora_rank": None, "first_k_dense_replace": 0}),
    "deepseek-v2, limited to groups": ("DeepseekV2", LATENT | LIMITED | {"n_shared_experts": 1}),
    "deepseek-v2, yarn": (
        "DeepseekV2",
        LATENT | LIMITED | rope("yarn", **BOTH_SCALES | {"mscale": 0.707, "mscale_all_dim": 0.707}),
    ),
    "deepseek-v3": ("DeepseekV3", LATENT),
    "deepseek-v3, yarn": ("DeepseekV3", LATENT | rope("yarn", **BOTH_SCALES)),
    "deepseek-v3, two different scales": (
        "DeepseekV3",
        LATENT | rope("yarn", **BOTH_SCALES | {"mscale": 0.6, "mscale_all_dim": 1.2}),
    ),
    "deepseek-v3, bias, not normalised": (
        "DeepseekV3",
        LATENT | {"attention_bias": True, "norm_topk_prob": False, "n_shared_experts": 2},
    ),
    "deepseek-v3, dense, in shards, tied": (
        "DeepseekV3",
        LATENT | {"first_k_dense_replace": 3, "tie_word_embeddings": True, "shards": "60KB"},
    ),
    "deepseek-v3, many heads": (
        "DeepseekV3",
        LATENT | {"num_attention_heads": 40, "num_key_value_heads": 40, "hidden_size": 80, "q_lora_rank": None},
    ),
}


@pytest.fixture(scope="module", params=list(MODELS))
def tiny(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tiny_families.Tiny:
    family, config = MODELS[request.param]
    if family in ("Mistral", "Qwen2"):
        config = {"head_dim": 8 if family == "Qwen2" else 16} | config
    return tiny_families.make(tmp_path_factory.mktemp("model"), family, **config)


@pytest.mark.parametrize("place", list(PLACES))
def test_transformers_agrees(tiny: tiny_families.Tiny, place: str) -> None:
    assert tiny_families.parity(tiny, **PLACES[place], lengths=(1, 65, 180)) < 1e-4


def test_longrope_beyond_its_first_context(tmp_path: Path) -> None:
    """transformers changes the factors once a sequence is long; here all of a long context has the long ones."""
    tiny = tiny_families.make(tmp_path, "Llama", **rope("longrope", **LONG, original_max_position_embeddings=64))
    assert tiny_families.parity(tiny, "native", lengths=(70, 180)) < 1e-4
    assert tiny_families.parity(tiny, "native", lengths=(30,), count=4, max_context=64) < 1e-4
