"""Small random Llamas, made by transformers, as folders and as logits to compare with."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from colonnade.engine.folder import ModelFolder
from colonnade.engine.kernels.ops import Floats
from colonnade.engine.step import Admit, Chunk, Step
from colonnade.engine.worker import LoadedWorker, ModelWorker, load_worker
from colonnade.wire.messages import Sampling
from colonnade.wire.settings import EngineSettings

BASE = {
    "vocab_size": 96,
    "hidden_size": 48,
    "intermediate_size": 88,
    "num_hidden_layers": 2,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "max_position_embeddings": 256,
    "tie_word_embeddings": True,
    "initializer_range": 0.25,
    "eos_token_id": None,
    "bos_token_id": None,
}

PLACES: dict[str, dict[str, str]] = {"native": {"kernels": "native"}, "torch": {"kernels": "torch"}}
"""Where models are compared with the reference: on each device that torch sees."""
if torch.cuda.is_available():
    PLACES["torch on cuda"] = {"kernels": "torch", "device": "cuda"}

GREEDY = Sampling(temperature=0.0, max_tokens=1000)


@dataclass(frozen=True)
class Tiny:
    folder: Path
    model: LlamaForCausalLM

    def logits(self, tokens: list[int]) -> Floats:
        """[T, V], by transformers."""
        with torch.inference_mode():
            return self.model(torch.tensor([tokens])).logits[0].numpy()

    def generate(self, tokens: list[int], count: int) -> list[int]:
        """Greedy, by transformers."""
        ids = torch.tensor([tokens])
        out = self.model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=count, do_sample=False)
        return out[0, len(tokens) :].tolist()


def make(folder: Path, *, dtype: torch.dtype = torch.float32, **changes: Any) -> Tiny:
    """`dtype`: what the checkpoint stores; the reference computes in float32 with exactly those weights."""
    torch.manual_seed(20)
    model = LlamaForCausalLM(LlamaConfig(**(BASE | changes))).eval()
    with torch.no_grad():
        for name, values in model.named_parameters():
            if "norm" in name or "bias" in name:
                values.add_(0.2 * torch.randn_like(values))
    model.to(dtype).save_pretrained(folder)
    model.float()
    (folder / "tokenizer.json").write_text("{}", encoding="utf-8")
    return Tiny(folder, model)


def load(folder: Path, **settings: Any) -> LoadedWorker:
    defaults = replace(EngineSettings(), kernels="native", kv_tokens=2048, max_running=40, threads=1)
    return load_worker(ModelFolder.open(folder), replace(defaults, **settings))


def prompt(length: int, seed: int = 0, vocab: int = 96) -> list[int]:
    return np.random.default_rng(seed).integers(0, vocab, length).tolist()


def extend(
    worker: ModelWorker,
    slot: int,
    tokens: list[int],
    sampling: Sampling = GREEDY,
    chunk: int = 1000,
    first_page: int = 0,
) -> Any:
    """Runs a prompt through a slot in chunks, on pages from `first_page` on; what was drawn at its end."""
    admits = (Admit(slot, tokens, len(tokens), [], sampling, 0),)
    for start in range(0, len(tokens), chunk):
        end = min(start + chunk, len(tokens))
        pages = range(first_page + start, first_page + end)
        result = worker.run(Step(0, admits, (Chunk(slot, start, pages, end == len(tokens)),)))
        admits = ()
    return result.drawn[0]


def generate(worker: ModelWorker, slot: int, tokens: list[int], count: int, first_page: int = 0) -> list[int]:
    """Greedy tokens, one step each."""
    out = [extend(worker, slot, tokens, first_page=first_page).token]
    for position in range(len(tokens), len(tokens) + count - 1):
        result = worker.run(Step(0, (), (Chunk(slot, position, [first_page + position], True),)))
        out.append(result.drawn[0].token)
    return out
