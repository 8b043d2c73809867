"""A token's logits have the same bits alone and in company, in chunks of any size, and on any number of threads."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_families
import torch
from tiny_families import LATENT

from colonnade.engine.folder import ModelFolder
from colonnade.engine.kernels.native import NativeKernels
from colonnade.engine.kernels.ops import Batch, Floats, Program
from colonnade.engine.loader import open_weights
from colonnade.engine.models.registry import model_class

SLOTS, CONTEXT = 12, 150
ODD_LATENT = LATENT | {"kv_lora_rank": 22}
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "window of 20": ("Mistral", {"sliding_window": 20, "head_dim": 20}),
    "window of 70": ("Mistral", {"sliding_window": 70, "num_key_value_heads": 1}),
    "windows by layer, normalised heads": (
        "Qwen3",
        {"use_sliding_window": True, "sliding_window": 65, "max_window_layers": 1, "head_dim": 20},
    ),
    "experts": ("Mixtral", {"num_local_experts": 5}),
    "many experts": (
        "Qwen3Moe",
        {"num_experts": 33, "num_experts_per_tok": 4, "moe_intermediate_size": 40, "hidden_size": 136},
    ),
    "latent attention": ("DeepseekV3", ODD_LATENT),
    "latent attention of many heads": (
        "DeepseekV2",
        ODD_LATENT | {"num_attention_heads": 40, "num_key_value_heads": 40, "hidden_size": 80, "kv_lora_rank": 64},
    ),
}


STORAGES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "int8": torch.bfloat16, "kv": torch.float32}
"""What weights are in memory (kv: keys and values in float16), and what the checkpoint stores."""
CASES = [
    *((name, "float32") for name in MODELS),
    *((name, storage) for name in ("experts", "latent attention") for storage in ("bfloat16", "int8")),
    *((name, "kv") for name in ("window of 20", "latent attention")),
]


@pytest.fixture(scope="module", params=CASES, ids=" in ".join)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    (family, config), storage = MODELS[request.param[0]], request.param[1]
    return tiny_families.make(tmp_path_factory.mktemp(storage), family, dtype=STORAGES[storage], **config).folder


@pytest.fixture(scope="module", params=["avx2", "portable"])
def instructions(request: pytest.FixtureRequest) -> str:
    return request.param


def program(folder: Path, instructions: str, threads: int) -> Program:
    opened = ModelFolder.open(folder)
    model = model_class(opened.architecture)(opened.config)
    weights = open_weights(opened.weight_files, model.expected(), model.ignored, model.optional())
    kernels = NativeKernels(threads, instructions, "int8" if folder.name.startswith("int8") else "none")
    kv_dtype = "float16" if folder.name.startswith("kv") else "float32"
    shape = replace(model.geometry(SLOTS * CONTEXT, CONTEXT), kv_dtype=kv_dtype)
    return kernels.program(model.bind(weights, kernels), shape)


PAGES = np.random.default_rng(1).permutation(SLOTS * CONTEXT).astype(np.int32).reshape(SLOTS, CONTEXT)
TOKENS = np.random.default_rng(2).integers(0, tiny_families.VOCABULARY, (SLOTS, CONTEXT)).astype(np.int32)


def compute(program: Program, spans: list[tuple[int, int, int]]) -> Floats:
    """Logits of every token of the spans (slot, start, end), computed in one step."""
    slots = np.concatenate([np.full(end - start, slot, np.int32) for slot, start, end in spans])
    positions = np.concatenate([np.arange(start, end, dtype=np.int32) for _, start, end in spans])
    rows = np.arange(len(slots), dtype=np.int32)
    return program.run(Batch(TOKENS[slots, positions], slots, positions, PAGES, rows))


@pytest.fixture(scope="module")
def alone(folder: Path, instructions: str) -> Floats:
    """Logits [CONTEXT, V] of slot 0, one token a step, on one thread."""
    lonely = program(folder, instructions, 1)
    return np.concatenate([compute(lonely, [(0, at, at + 1)]) for at in range(CONTEXT)])


@pytest.mark.parametrize("threads", [1, 2])
def test_chunks_leave_no_trace(folder: Path, instructions: str, alone: Floats, threads: int) -> None:
    cut = program(folder, instructions, threads)
    for chunk in (2, 7, 33, 64, CONTEXT):
        spans = [(0, start, min(start + chunk, CONTEXT)) for start in range(0, CONTEXT, chunk)]
        assert np.array_equal(np.concatenate([compute(cut, [span]) for span in spans]), alone)


@pytest.mark.parametrize("threads", [1, 2])
def test_company_leaves_no_trace(folder: Path, instructions: str, alone: Floats, threads: int) -> None:
    crowd = program(folder, instructions, threads)
    compute(crowd, [(slot, 0, 40 + slot) for slot in range(1, SLOTS)])
    compute(crowd, [(0, 0, 100)])
    for company in range(SLOTS):
        others = [(slot, 40 + slot, 41 + slot + slot % 3) for slot in range(1, company + 1)]
        mine = (0, 100 + company, 101 + company)
        logits = compute(crowd, [*others[: company // 2], mine, *others[company // 2 :]])
        row = sum(end - start for _, start, end in others[: company // 2])
        assert np.array_equal(logits[row], alone[100 + company])
