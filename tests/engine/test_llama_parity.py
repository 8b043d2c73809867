"""Greedy tokens and log-probabilities equal those of transformers, in float32, on random models of many shapes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_llama
import torch

from colonnade.wire.messages import Sampling

SHAPES: dict[str, dict[str, Any]] = {
    "grouped, tied": {},
    "untied": {"tie_word_embeddings": False},
    "one kv head": {"num_key_value_heads": 1},
    "no grouping": {"num_key_value_heads": 6},
    "odd heads": {"num_attention_heads": 5, "num_key_value_heads": 5, "head_dim": 24, "hidden_size": 40},
    "head dimension of 20": {"head_dim": 20, "num_attention_heads": 3, "num_key_value_heads": 1},
    "many heads share": {"num_attention_heads": 34, "num_key_value_heads": 1, "hidden_size": 68},
    "attention bias": {"attention_bias": True},
    "mlp bias": {"mlp_bias": True},
    "odd widths": {"vocab_size": 83, "hidden_size": 44, "intermediate_size": 61, "num_attention_heads": 4},
    "linear rope": {"rope_parameters": {"rope_type": "linear", "factor": 4.0, "rope_theta": 10000.0}},
    "llama3 rope": {
        "rope_parameters": {
            "rope_type": "llama3",
            "rope_theta": 500000.0,
            "factor": 8.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 64,
        }
    },
}


@pytest.fixture(scope="module", params=list(SHAPES))
def tiny(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tiny_llama.Tiny:
    return tiny_llama.make(tmp_path_factory.mktemp("llama"), **SHAPES[request.param])


@pytest.mark.parametrize("place", list(tiny_llama.PLACES))
def test_greedy_tokens_equal_transformers(tiny: tiny_llama.Tiny, place: str) -> None:
    worker = tiny_llama.load(tiny.folder, **tiny_llama.PLACES[place]).worker
    prompt = tiny_llama.prompt(70, vocab=83)
    assert tiny_llama.generate(worker, 0, prompt, 24) == tiny.generate(prompt, 24)


@pytest.mark.parametrize("place", list(tiny_llama.PLACES))
@pytest.mark.parametrize("length", [1, 65, 200])
def test_log_probabilities_equal_transformers(tiny: tiny_llama.Tiny, place: str, length: int) -> None:
    worker = tiny_llama.load(tiny.folder, **tiny_llama.PLACES[place]).worker
    prompt = tiny_llama.prompt(length, vocab=83)
    expected = torch.log_softmax(torch.tensor(tiny.logits(prompt)[-1]).double(), -1).numpy()
    drawn = tiny_llama.extend(worker, 0, prompt, Sampling(temperature=0.0, logprobs=20))
    assert drawn.logprob is not None
    assert drawn.logprob.logprob == pytest.approx(expected[drawn.token], abs=1e-4)
    assert len(drawn.logprob.top) == 20
    for token, value in drawn.logprob.top:
        assert value == pytest.approx(expected[token], abs=1e-4)


def test_half_precision_weights_are_widened_exactly(tmp_path: Path) -> None:
    tiny = tiny_llama.make(tmp_path)
    tiny.model.to(torch.bfloat16).save_pretrained(tmp_path)
    expected = tiny.model.float()
    prompt = tiny_llama.prompt(30)
    with torch.inference_mode():
        token = int(expected(torch.tensor([prompt])).logits[0, -1].argmax())
    assert tiny_llama.extend(tiny_llama.load(tmp_path).worker, 0, prompt).token == token


def test_positions_near_the_end_of_a_long_context(tmp_path: Path) -> None:
    tiny = tiny_llama.make(tmp_path, max_position_embeddings=4096, num_hidden_layers=1)
    worker = tiny_llama.load(tmp_path, kv_tokens=4096).worker
    prompt = tiny_llama.prompt(4000)
    drawn = tiny_llama.extend(worker, 0, prompt, Sampling(temperature=0.0, logprobs=5), chunk=512)
    expected = torch.log_softmax(torch.tensor(tiny.logits(prompt)[-1]).double(), -1).numpy()
    assert drawn.logprob is not None
    np.testing.assert_allclose(
        [value for _, value in drawn.logprob.top], [expected[t] for t, _ in drawn.logprob.top], atol=1e-4
    )
