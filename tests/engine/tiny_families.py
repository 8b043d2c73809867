"""Small random models of every family, made by transformers, as folders and as logits to compare with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tiny_llama
import torch
import transformers

from colonnade.wire.messages import Sampling

VOCABULARY = 96
DENSE = {
    "vocab_size": VOCABULARY,
    "hidden_size": 48,
    "intermediate_size": 72,
    "num_hidden_layers": 3,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "max_position_embeddings": 256,
    "initializer_range": 0.25,
    "eos_token_id": None,
    "bos_token_id": None,
    "pad_token_id": None,
}


@dataclass(frozen=True)
class Tiny:
    folder: Path
    model: Any

    def logprobs(self, tokens: list[int]) -> np.ndarray:
        """[T, V] in float64, by transformers, in one pass without a cache."""
        with torch.inference_mode():
            logits = self.model(torch.tensor([tokens]), use_cache=False).logits[0]
        return torch.log_softmax(logits.double(), -1).numpy()


def make(folder: Path, family: str, shards: str = "5GB", **config: Any) -> Tiny:
    """`family`: the prefix of transformers' classes, as in Qwen2. Norms and biases are made to matter."""
    torch.manual_seed(20)
    config = DENSE | config
    made = getattr(transformers, f"{family}Config")(**{key: value for key, value in config.items() if value is not ...})
    model = getattr(transformers, f"{family}ForCausalLM")(made).eval()
    with torch.no_grad():
        for name, values in [*model.named_parameters(), *model.named_buffers()]:
            if "norm" in name or "bias" in name:
                values.add_(0.2 * torch.randn_like(values))
            elif name.endswith("gate.weight"):
                values.copy_(0.5 * torch.randn_like(values))
    model.save_pretrained(folder, max_shard_size=shards)
    (folder / "tokenizer.json").write_text("{}", encoding="utf-8")
    return Tiny(folder, model)


def parity(tiny: Tiny, kernels: str, lengths: tuple[int, ...] = (70,), count: int = 16, **settings: Any) -> float:
    """Greedy tokens equal where the reference's margin exceeds 1e-3; the largest difference of a log-probability.

    The tokens are ours, fed back; each is judged by the reference's whole sequence.
    """
    worker = tiny_llama.load(tiny.folder, kernels=kernels, **settings).worker
    worst = 0.0
    for slot, length in enumerate(lengths):
        prompt, first_page = tiny_llama.prompt(length, seed=length, vocab=VOCABULARY), 300 * slot
        drawn = tiny_llama.extend(
            worker, slot, prompt, Sampling(temperature=0.0, logprobs=20), chunk=37, first_page=first_page
        )
        tokens = tiny_llama.generate(worker, slot, prompt, count, first_page)
        expected = tiny.logprobs(prompt + tokens)
        _judge(tokens, expected[length - 1 : -1])
        worst = max(worst, *(abs(value - expected[length - 1, token]) for token, value in drawn.logprob.top))
    return worst


def _judge(tokens: list[int], expected_TV: np.ndarray) -> None:
    for token, row_V in zip(tokens, expected_TV, strict=True):
        margin = row_V.max() - row_V[token]
        assert margin <= 1e-3, f"token {token} is {margin} below {row_V.argmax()}"
