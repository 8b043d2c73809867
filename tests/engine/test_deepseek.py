"""DeepSeek: published sizes, the router, MTP weights, and where transformers departs from the reference code."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_families
import tiny_llama
import torch
from safetensors.torch import load_file, save_file
from test_family_parity import BOTH_SCALES, rope
from test_kernels import batch, floats, geometry
from tiny_families import LATENT

from colonnade.engine.kernels.native import NativeKernels
from colonnade.engine.kernels.ops import Floats, Routing
from colonnade.engine.models.deepseek_v2 import DeepseekV2
from colonnade.engine.models.deepseek_v3 import DeepseekV3
from colonnade.engine.models.mlp import MlpShape
from colonnade.wire.errors import BadModel
from colonnade.wire.messages import Sampling

V3: dict[str, Any] = {
    "hidden_size": 7168,
    "vocab_size": 129280,
    "intermediate_size": 18432,
    "moe_intermediate_size": 2048,
    "num_hidden_layers": 61,
    "num_attention_heads": 128,
    "num_key_value_heads": 128,
    "n_shared_experts": 1,
    "n_routed_experts": 256,
    "num_experts_per_tok": 8,
    "n_group": 8,
    "topk_group": 4,
    "routed_scaling_factor": 2.5,
    "first_k_dense_replace": 3,
    "moe_layer_freq": 1,
    "num_nextn_predict_layers": 1,
    "kv_lora_rank": 512,
    "q_lora_rank": 1536,
    "qk_nope_head_dim": 128,
    "qk_rope_head_dim": 64,
    "v_head_dim": 128,
    "max_position_embeddings": 163840,
    "rope_theta": 10000,
    "rope_scaling": BOTH_SCALES | {"type": "yarn", "original_max_position_embeddings": 4096, "beta_fast": 32},
    "scoring_func": "sigmoid",
    "topk_method": "noaux_tc",
    "norm_topk_prob": True,
}


def test_published_sizes() -> None:
    model = DeepseekV3(V3)
    shape = model.geometry(1, 8)
    assert (shape.kv_heads, shape.head_dim, shape.value_dim) == (1, 512 + 64, 512)
    assert shape.token_bytes == 4 * 61 * 576
    assert shape.score_scale == pytest.approx(192**-0.5 * (0.1 * math.log(40) + 1) ** 2)
    assert shape.cosines[0].tolist() == [1.0] * 32
    expected = model.expected()
    assert expected["model.layers.60.self_attn.kv_b_proj.weight"] == (32768, 512)
    assert expected["model.layers.3.mlp.experts.255.down_proj.weight"] == (7168, 2048)
    assert "model.layers.2.mlp.gate_proj.weight" in expected
    assert model.optional()["model.layers.61.eh_proj.weight"] == (7168, 2 * 7168)
    assert "model.layers.61.mlp.gate.e_score_correction_bias" in model.optional()


def gate(logits: Floats, bias: Floats, groups: int, groups_chosen: int, chosen: int) -> dict[int, float]:
    """The definition of V3's gate, in float64: arXiv 2412.19437, equations 13 to 16, and its limit to groups."""
    scores = 1 / (1 + np.exp(-logits.astype(np.float64)))
    wanted = (scores + bias).reshape(groups, -1)
    worth = np.sort(wanted, -1)[:, -2:].sum(-1)
    wanted[np.argsort(-worth)[groups_chosen:]] = -np.inf
    best = np.argsort(-wanted.reshape(-1))[:chosen]
    return {int(expert): 2.5 * scores[expert] / scores[best].sum() for expert in best}


def test_the_router_is_the_definition() -> None:
    kernels = NativeKernels(1)
    logits, bias = floats(500, 64), floats(64, seed=1) / 3 - 1
    table, vector = kernels.matrix([logits]), kernels.vector(bias)
    routing = Routing(64, 6, 8, 3, sigmoid=True, paired=True, normalised=True, scale=2.5)
    step = batch([(0, 0, 300)])
    rows = kernels.program(lambda ops: ops.sampled(ops.route(ops.embed(table), vector, routing)), geometry()).run(step)
    for token, row in zip(step.tokens, rows, strict=True):
        expected = gate(logits[token], bias, 8, 3, 6)
        assert row[:6].astype(int).tolist() == sorted(expected)
        np.testing.assert_allclose(row[6:], [expected[expert] for expert in sorted(expected)], rtol=1e-5)


def test_normalised_weights_of_v2_are_not_scaled(tmp_path: Path) -> None:
    """transformers scales and never normalises. No published V2 normalises."""
    config = LATENT | {"n_shared_experts": 1, "routed_scaling_factor": 16.0}
    tiny = tiny_families.make(tmp_path, "DeepseekV2", **config | {"norm_topk_prob": True})
    routing = DeepseekV2(json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))).routing()
    assert (routing.normalised, routing.scale) == (True, 1.0)
    drawn = tiny_llama.extend(tiny_llama.load(tmp_path).worker, 0, [1, 2, 3], Sampling(temperature=0.0, logprobs=5))
    theirs = tiny.logprobs([1, 2, 3])[-1]
    assert max(abs(value - theirs[token]) for token, value in drawn.logprob.top) > 1e-2


@pytest.mark.parametrize(
    ("scales", "amplitude", "entropy"),
    [
        ({}, 0.1 * math.log(40) + 1, 1.0),
        ({"mscale": 0.5}, 0.05 * math.log(40) + 1, 1.0),
        ({"mscale_all_dim": 1.0}, 1.0, (0.1 * math.log(40) + 1) ** 2),
        ({"mscale_all_dim": 0.5}, (0.1 * math.log(40) + 1) / (0.05 * math.log(40) + 1), (0.05 * math.log(40) + 1) ** 2),
        ({"mscale": 0.7, "mscale_all_dim": 0.7}, 1.0, (0.07 * math.log(40) + 1) ** 2),
    ],
)
def test_the_two_scales_of_yarn(scales: dict[str, float], amplitude: float, entropy: float) -> None:
    """transformers takes one scale without the other for none: its amplitude is then 0.1 ln(factor) + 1."""
    scaling = {"type": "yarn", "factor": 40.0, "original_max_position_embeddings": 4096} | scales
    shape = DeepseekV3(V3 | {"rope_scaling": scaling}).geometry(1, 2)
    assert shape.cosines[0, 0] == pytest.approx(amplitude)
    assert shape.score_scale == pytest.approx(192**-0.5 * entropy)


def test_latents_are_normalised_with_the_default_epsilon(tmp_path: Path) -> None:
    tiny = tiny_families.make(tmp_path, "DeepseekV3", **LATENT | {"rms_norm_eps": 0.3})
    assert tiny_families.parity(tiny, "native") < 1e-4


def test_experts_in_every_second_layer() -> None:
    """transformers does not read moe_layer_freq."""
    model = DeepseekV3(V3 | {"moe_layer_freq": 2})
    assert [isinstance(model.feed(layer), MlpShape) for layer in (2, 3, 4, 5)] == [True, True, False, True]


def add_predicting_layer(folder: Path, change: dict[str, Any]) -> None:
    model = DeepseekV3(json.loads((folder / "config.json").read_text(encoding="utf-8")))
    more = {name: torch.randn(change.get(name, shape)) for name, shape in model.optional().items()}
    save_file(load_file(folder / "model.safetensors") | more, folder / "model.safetensors", {"format": "pt"})


def test_layers_that_predict_further_tokens_are_kept_aside(tmp_path: Path) -> None:
    tiny = tiny_families.make(tmp_path, "DeepseekV3", **LATENT)
    add_predicting_layer(tmp_path, {})
    assert tiny_families.parity(tiny, "native") < 1e-4
    add_predicting_layer(tmp_path, {"model.layers.3.eh_proj.weight": (48, 95)})
    with pytest.raises(BadModel, match=r"model\.layers\.3\.eh_proj\.weight has shape \[48, 95\]"):
        tiny_llama.load(tmp_path)


@pytest.mark.parametrize(
    ("changes", "message", "hint"),
    [
        ({"scoring_func": "softmax"}, "scoring_func is 'softmax'", "sigmoid"),
        ({"topk_method": "greedy"}, "topk_method is 'greedy'", "noaux_tc"),
        ({"n_group": 7}, "4 of 7 groups of 256", "divides"),
        ({"topk_group": 9}, "9 of 8 groups", "at most n_group"),
        ({"num_experts_per_tok": 200}, "200 experts of 4 groups of 32", "at most"),
        ({"n_group": 256, "topk_group": 200}, "groups of 1", "two or more"),
        ({"rope_interleave": False}, "rope_interleave is False", "true"),
        ({"kv_lora_rank": 600}, "a latent of 600", "at most 640"),
        ({"first_k_dense_replace": -1}, "first_k_dense_replace is -1", "whole number"),
    ],
)
def test_refused(changes: dict[str, Any], message: str, hint: str) -> None:
    with pytest.raises(BadModel) as caught:
        DeepseekV3(V3 | changes)
    assert message in caught.value.message
    assert hint in caught.value.hint


def test_v2_refuses_the_gate_of_v3() -> None:
    with pytest.raises(BadModel, match="scoring_func is 'sigmoid'"):
        DeepseekV2(V3)


def test_latent_attention_over_many_tiles(tmp_path: Path) -> None:
    config = LATENT | {"max_position_embeddings": 1024, "num_hidden_layers": 2} | rope("yarn", **BOTH_SCALES)
    tiny = tiny_families.make(tmp_path, "DeepseekV3", **config)
    assert tiny_families.parity(tiny, "native", lengths=(900,), count=2) < 1e-4
