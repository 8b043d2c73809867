"""Configs that no family can serve are refused before a weight is read, with the key and what is accepted."""

from __future__ import annotations

from typing import Any

import pytest

from colonnade.engine.models.config import Config, sliding_window
from colonnade.engine.models.llama import Llama
from colonnade.engine.models.mistral import Mistral, window
from colonnade.engine.models.qwen2 import Qwen2
from colonnade.engine.models.qwen3 import Qwen3
from colonnade.wire.errors import BadModel

BASE: dict[str, Any] = {
    "hidden_size": 32,
    "vocab_size": 10,
    "intermediate_size": 40,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
}
WINDOWS = {"use_sliding_window": True, "sliding_window": 5}

BAD: dict[str, tuple[type, dict[str, Any], str, str]] = {
    "activation": (Llama, {"hidden_act": "gelu"}, "hidden_act is 'gelu'", "silu"),
    "no number": (Llama, {"hidden_size": "32"}, "hidden_size is '32'", "whole number"),
    "epsilon": (Llama, {"rms_norm_eps": "x"}, "rms_norm_eps is 'x'", "a number"),
    "flag": (Llama, {"attention_bias": 1}, "attention_bias is 1", "true or false"),
    "heads": (Llama, {"num_key_value_heads": 3}, "4 heads over 3", "multiple"),
    "odd head": (Llama, {"head_dim": 7}, "of dimension 7", "even"),
    "wide head": (Llama, {"head_dim": 1024}, "of dimension 1024", "at most 640"),
    "rope type": (Llama, {"rope_scaling": {"type": "mrope"}}, "'mrope'", "default, linear, dynamic, llama3"),
    "rope without factor": (Llama, {"rope_scaling": {"type": "linear", "factor": None}}, "factor of the rope", ""),
    "rope factor": (Llama, {"rope_scaling": {"type": "linear", "factor": -2}}, "is -2", "above 0"),
    "rope by layer type": (
        Qwen3,
        {"rope_parameters": {"full_attention": {"rope_type": "default"}}},
        "by layer type",
        "one for all layers",
    ),
    "partial rotary": (Llama, {"partial_rotary_factor": 0.5}, "partial_rotary_factor", "1.0"),
    "partial rotary within": (Qwen2, {"rope_parameters": {"partial_rotary_factor": 0.5}}, "partial_rotary", "1.0"),
    "longrope": (
        Llama,
        {"rope_scaling": {"type": "longrope", "short_factor": [1.0], "long_factor": [1.0]}},
        "short_factor of the rope scaling has 1 numbers",
        "accepted: 4",
    ),
    "layer types": (Qwen2, WINDOWS | {"layer_types": ["chunked_attention"] * 2}, "layer_types", "sliding_attention"),
    "too few layer types": (Qwen3, WINDOWS | {"layer_types": ["full_attention"]}, "layer_types", "for each layer"),
}


@pytest.mark.parametrize("case", list(BAD))
def test_refused(case: str) -> None:
    family, changes, message, hint = BAD[case]
    with pytest.raises(BadModel) as caught:
        family(BASE | changes)
    assert message in caught.value.message
    assert hint in caught.value.hint


def test_a_missing_factor_is_the_ratio_of_the_contexts() -> None:
    rope = {"type": "yarn", "original_max_position_embeddings": 16}
    ratio = Qwen2(BASE | {"rope_scaling": rope}).geometry(1, 40)
    given = Qwen2(BASE | {"rope_scaling": rope | {"factor": 4.0}}).geometry(1, 40)
    assert (ratio.cosines == given.cosines).all()
    assert (ratio.cosines != Qwen2(BASE).geometry(1, 40).cosines).any()


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({}, [0, 0]),
        ({"sliding_window": 5}, [0, 0]),
        (WINDOWS, [0, 0]),
        (WINDOWS | {"max_window_layers": 0}, [5, 5]),
        (WINDOWS | {"max_window_layers": 1}, [0, 5]),
        (WINDOWS | {"layer_types": ["sliding_attention", "full_attention"]}, [5, 0]),
    ],
)
def test_windows_of_qwen(config: dict[str, Any], expected: list[int]) -> None:
    assert [sliding_window(Config(config), layer) for layer in range(2)] == expected


def test_windows_of_mistral() -> None:
    """As in transformers: absent is Mistral 7B's first window, and Mixtral's none; null is none."""
    assert Mistral(BASE).attention(0).window == 4096
    assert [window(Config(entry), 0) for entry in ({}, {"sliding_window": None}, {"sliding_window": 7})] == [0, 0, 7]


def test_head_dimensions_that_are_left_out() -> None:
    assert Qwen2(BASE).attention(0).head_dim == 8
    assert Qwen3(BASE).attention(0).head_dim == 128
