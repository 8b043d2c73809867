"""How near the kernels come to what the machine can do: `python proofs/kernels.py [ROUNDS] [THREADS]`.

Linear layers of Qwen3-0.6B's shapes, weights in float32, bfloat16 and int8, at batch 1, 4 and 16. Each pass reads
every layer of a set of more than 160 MB, so that no cache holds it. Attention over 2,048 tokens at batch 16, keys and
values in float32 and float16, beside torch's gather and scaled_dot_product_attention on the same pages. Everything in
turn, ROUNDS times; medians. The bandwidth of the machine is probed in each round as well.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from torch.nn import functional

from colonnade.bench.probe import MEGABYTES, measure
from colonnade.engine.kernels import _native
from colonnade.engine.kernels.native import NativeKernels
from colonnade.engine.kernels.ops import Batch, Geometry, Ops, Program, Value
from colonnade.engine.models.rope import tables
from colonnade.engine.shortfloats import ShortFloats

LAYER = {"qkv": (4096, 1024), "o": (1024, 2048), "gate_up": (6144, 1024), "down": (1024, 3072)}
"""Rows and columns of the matrices of one layer."""
SET_BYTES = 170e6
BATCHES = (1, 4, 16)
CONTEXT, SLOTS = 2048, 16
HEADS, KV_HEADS, HEAD_DIM = 16, 8, 128
STORAGES = {"float32": 4.0, "bfloat16": 2.0, "int8": 1.0 + 4 / 128}
"""Bytes of a weight, scales included."""


@dataclass
class Case:
    """Something timed: a call of `work` moves `moved` bytes and takes `operations`."""

    name: str
    work: Callable[[], object]
    moved: float
    operations: float
    seconds: list[float] = field(default_factory=list[float])

    def once(self) -> None:
        began = time.perf_counter()
        self.work()
        self.seconds.append(time.perf_counter() - began)

    def median(self) -> float:
        return statistics.median(self.seconds)


def batch(slots: int, length: int) -> Batch:
    """The last token of each of so many slots that hold `length` tokens, on scattered pages."""
    rows = np.arange(slots, dtype=np.int32)
    pages = np.random.default_rng(1).permutation(SLOTS * CONTEXT).astype(np.int32).reshape(SLOTS, CONTEXT)
    return Batch(rows, rows, np.full(slots, length - 1, np.int32), pages, rows)


def geometry(kv_dtype: str = "float32", layers: int = 1) -> Geometry:
    cosines, sines = tables({}, HEAD_DIM, CONTEXT)
    return Geometry(layers, HEADS, KV_HEADS, HEAD_DIM, SLOTS * CONTEXT, cosines, sines, kv_dtype=kv_dtype)


def layers(storage: str, threads: int) -> tuple[Program, int]:
    """A program that multiplies with each matrix of the set once, and the number of its weights."""
    weights = sum(rows * columns for rows, columns in LAYER.values())
    count = int(np.ceil(SET_BYTES / (weights * STORAGES[storage])))
    kernels, draw = NativeKernels(threads, quantize="int8" if storage == "int8" else "none"), np.random.default_rng(0)
    sets = [
        {name: kernels.matrix([_stored(draw, storage, shape)]) for name, shape in LAYER.items()} for _ in range(count)
    ]
    inputs = {columns: draw.standard_normal((SLOTS, columns)).astype(np.float32) for _, columns in LAYER.values()}
    tables_by_width = {columns: kernels.matrix([values], exact=True) for columns, values in inputs.items()}

    def forward(ops: Ops) -> Value:
        x = {columns: ops.sampled(ops.embed(table)) for columns, table in tables_by_width.items()}
        results = [ops.linear(x[LAYER[name][1]], matrix) for each in sets for name, matrix in each.items()]
        return results[-1]

    return kernels.program(forward, geometry()), weights * count


def _stored(draw: np.random.Generator, storage: str, shape: tuple[int, int]) -> np.ndarray | ShortFloats:
    values = draw.standard_normal(shape, dtype=np.float32)
    return (
        ShortFloats((values.view(np.uint32) >> 16).astype(np.uint16), brief=True) if storage == "bfloat16" else values
    )


def linear_cases(threads: int) -> Iterator[Case]:
    for storage, width in STORAGES.items():
        program, weights = layers(storage, threads)
        for size in BATCHES:
            step = batch(size, 1)
            yield Case(
                f"{storage} linear, batch {size}",
                lambda program=program, step=step: program.run(step),
                weights * width,
                2.0 * weights * size,
            )


def attention_cases(threads: int) -> Iterator[Case]:
    wide, kept = (HEADS + 2 * KV_HEADS) * HEAD_DIM, KV_HEADS * HEAD_DIM * CONTEXT * SLOTS * 2
    values = np.random.default_rng(2).standard_normal((SLOTS, wide)).astype(np.float32)
    operations = 4.0 * HEADS * HEAD_DIM * CONTEXT * SLOTS
    for kv_dtype, size in (("float32", 4), ("float16", 2)):
        kernels = NativeKernels(threads)
        table = kernels.matrix([values], exact=True)
        program = kernels.program(_attention(table), geometry(kv_dtype))
        _fill(program)
        step = batch(SLOTS, CONTEXT)
        yield Case(
            f"attention, {kv_dtype}", lambda program=program, step=step: program.run(step), kept * size, operations
        )
    yield Case("attention, torch gather + SDPA", _torch_attention(threads), kept * 4, operations)


def _attention(table: object) -> Callable[[Ops], Value]:
    return lambda ops: ops.sampled(ops.attend(ops.rope_store(ops.embed(table), 0), 0))


def _fill(program: Program) -> None:
    """Keys and values into every page, each as the first token of a slot of its own, which sees nothing but itself."""
    rows = np.arange(512, dtype=np.int32)
    for first in range(0, SLOTS * CONTEXT, len(rows)):
        pages = (rows + first).reshape(-1, 1)
        program.run(Batch(rows % SLOTS, rows, np.zeros_like(rows), pages, rows[-1:]))


def _torch_attention(threads: int) -> Callable[[], object]:
    torch.set_num_threads(threads)
    pool = torch.randn(2, SLOTS * CONTEXT, KV_HEADS, HEAD_DIM)
    pages = torch.tensor(batch(SLOTS, CONTEXT).pages, dtype=torch.long).flatten()
    queries = torch.randn(SLOTS, HEADS, 1, HEAD_DIM)

    @torch.inference_mode()
    def work() -> object:
        keys, values = (
            part.index_select(0, pages).view(SLOTS, CONTEXT, KV_HEADS, HEAD_DIM).transpose(1, 2) for part in pool
        )
        return functional.scaled_dot_product_attention(queries, keys, values, enable_gqa=True)

    return work


def main(rounds: int = 7, threads: int = 1) -> None:
    cases = [*linear_cases(threads), *attention_cases(threads)]
    bandwidths: list[float] = []
    for _ in range(rounds):
        bandwidths.append(_native.probe_bandwidth(MEGABYTES, threads))
        for case in cases:
            case.once()
    ceiling = statistics.median(bandwidths)
    flops = measure((threads,)).probes[0].gflops
    print(f"{threads} threads, {rounds} rounds; probe: {ceiling / 1e9:.1f} GB/s, {flops:.0f} GFLOP/s (float32)")
    print("| what | ms | GB/s | of the probe | G operations/s |\n|---|---|---|---|---|")
    for case in cases:
        speed = case.moved / case.median()
        print(
            f"| {case.name} | {case.median() * 1e3:.2f} | {speed / 1e9:.1f} | {speed / ceiling:.0%} "
            f"| {case.operations / case.median() / 1e9:.0f} |"
        )
    _verdicts({case.name: case.median() for case in cases}, {case.name: case.moved for case in cases}, ceiling)


def _verdicts(seconds: dict[str, float], moved: dict[str, float], ceiling: float) -> None:
    for storage, target in (("int8", 0.85), ("float32", 0.8)):
        share = moved[f"{storage} linear, batch 1"] / seconds[f"{storage} linear, batch 1"] / ceiling
        print(f"{storage}: {share:.0%} of the bandwidth at batch 1, wanted {target:.0%}")
        times = seconds[f"{storage} linear, batch 4"] / seconds[f"{storage} linear, batch 1"]
        print(f"{storage}: batch 4 costs {times:.2f}x of batch 1, wanted 1.4x at most")
    for kv_dtype in ("float32", "float16"):
        ratio = seconds["attention, torch gather + SDPA"] / seconds[f"attention, {kv_dtype}"]
        print(f"attention, {kv_dtype}: {ratio:.1f}x of torch, wanted 5x with float16")


if __name__ == "__main__":
    main(*(int(argument) for argument in sys.argv[1:]))
