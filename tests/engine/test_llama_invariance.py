"""A token's logits have the same bits alone and in company, in one chunk and in many, on one thread and on two."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tiny_llama
import torch

from colonnade.engine.folder import ModelFolder
from colonnade.engine.kernels.native import NativeKernels
from colonnade.engine.kernels.ops import Batch, Floats, Program
from colonnade.engine.loader import open_weights
from colonnade.engine.models.llama import Llama

SLOTS, CONTEXT = 36, 220


STORAGES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "int8": torch.float16, "kv": torch.float32}
"""What weights are in memory (kv: keys and values in float16), and what the checkpoint stores."""


@pytest.fixture(scope="module", params=STORAGES)
def storage(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def folder(storage: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, shape = tmp_path_factory.mktemp(storage), {"hidden_size": 306, "vocab_size": 200}
    return tiny_llama.make(folder, dtype=STORAGES[storage], attention_bias=True, **shape).folder


def program(folder: Path, instructions: str, threads: int) -> Program:
    opened = ModelFolder.open(folder)
    model = Llama(opened.config)
    kernels = NativeKernels(threads, instructions, "int8" if folder.name.startswith("int8") else "none")
    forward = model.bind(open_weights(opened.weight_files, model.expected()), kernels)
    kv_dtype = "float16" if folder.name.startswith("kv") else "float32"
    return kernels.program(forward, replace(model.geometry(SLOTS * CONTEXT, CONTEXT), kv_dtype=kv_dtype))


def pages() -> np.ndarray:
    """Scattered: neighbours in a slot are not neighbours in memory."""
    return np.random.default_rng(1).permutation(SLOTS * CONTEXT).astype(np.int32).reshape(SLOTS, CONTEXT)


def compute(program: Program, spans: list[tuple[int, int, int]], tokens: np.ndarray) -> Floats:
    """Logits of every token of the spans (slot, start, end), computed in one step."""
    slots = np.concatenate([np.full(end - start, slot, np.int32) for slot, start, end in spans])
    positions = np.concatenate([np.arange(start, end, dtype=np.int32) for _, start, end in spans])
    rows = np.arange(len(slots), dtype=np.int32)
    return program.run(Batch(tokens[slots, positions], slots, positions, pages(), rows))


@pytest.fixture(scope="module", params=["avx2", "portable"])
def instructions(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def tokens() -> np.ndarray:
    return np.random.default_rng(2).integers(0, 200, (SLOTS, CONTEXT)).astype(np.int32)


@pytest.fixture(scope="module")
def alone(folder: Path, instructions: str, tokens: np.ndarray) -> Floats:
    """Logits [CONTEXT, V] of slot 0, one token a step, on one thread."""
    lonely = program(folder, instructions, 1)
    return np.concatenate([compute(lonely, [(0, at, at + 1)], tokens) for at in range(CONTEXT)])


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("chunk", [2, 3, 5, 7, 10, 11, 33, 64, 100, CONTEXT])
def test_chunks_leave_no_trace(
    folder: Path, instructions: str, tokens: np.ndarray, alone: Floats, threads: int, chunk: int
) -> None:
    cut = program(folder, instructions, threads)
    spans = [(0, start, min(start + chunk, CONTEXT)) for start in range(0, CONTEXT, chunk)]
    assert np.array_equal(np.concatenate([compute(cut, [span], tokens) for span in spans]), alone)


@pytest.mark.parametrize("threads", [1, 2])
def test_company_leaves_no_trace(
    folder: Path, instructions: str, tokens: np.ndarray, alone: Floats, threads: int
) -> None:
    crowd = program(folder, instructions, threads)
    compute(crowd, [(slot, 0, 40 + slot) for slot in range(1, 34)], tokens)
    compute(crowd, [(0, 0, 30)], tokens)
    for company in range(33):
        others = [(slot, 40 + slot, 41 + slot + slot % 3) for slot in range(1, company + 1)]
        mine = (0, 30 + company, 31 + company)
        logits = compute(crowd, [*others[: company // 2], mine, *others[company // 2 :]], tokens)
        row = sum(end - start for _, start, end in others[: company // 2])
        assert np.array_equal(logits[row], alone[30 + company])


def test_memory_of_others_leaves_no_trace(folder: Path, instructions: str, tokens: np.ndarray, alone: Floats) -> None:
    """Pages hold what a former request left there."""
    used = program(folder, instructions, 1)
    compute(used, [(slot, 0, CONTEXT) for slot in range(SLOTS)], tokens[::-1])
    assert np.array_equal(compute(used, [(0, 0, CONTEXT)], tokens), alone)
