"""Each native stage against its torch reference, on both instruction sets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from colonnade.engine.kernels import _native
from colonnade.engine.kernels.native import NativeKernels
from colonnade.engine.kernels.ops import Batch, Floats, Geometry, Kernels, Ops, Value
from colonnade.engine.kernels.reference import TorchKernels
from colonnade.engine.models.rope import tables

Build = Callable[[Kernels], Callable[[Ops], Value]]


def floats(*shape: int, seed: int = 0) -> Floats:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def geometry(
    heads: int = 4, kv_heads: int = 2, head_dim: int = 16, pages: int = 1024, kv_dtype: str = "float32"
) -> Geometry:
    cosines, sines = tables({"rope_theta": 10000.0}, head_dim, 400)
    return Geometry(2, heads, kv_heads, head_dim, pages, cosines, sines, kv_dtype=kv_dtype)


def batch(spans: list[tuple[int, int, int]]) -> Batch:
    """All tokens of (slot, start, end), numbered as they come, all sampled; pages scattered."""
    slots = np.concatenate([np.full(end - start, slot, np.int32) for slot, start, end in spans])
    positions = np.concatenate([np.arange(start, end, dtype=np.int32) for _, start, end in spans])
    rows = np.arange(len(slots), dtype=np.int32)
    pages = np.random.default_rng(3).permutation(1024).astype(np.int32)[: 2 * 400].reshape(2, 400)
    return Batch(rows % 500, slots, positions, pages, rows)


def check(build: Build, instructions: str, batches: list[Batch], shape: Geometry | None = None) -> None:
    """1e-5 of the largest value; 1e-3 where keys are rounded, since one in the middle falls to either side."""
    shape = shape or geometry()
    near = 1e-5 if shape.kv_dtype == "float32" else 1e-3
    programs = [kernels.program(build(kernels), shape) for kernels in (NativeKernels(2, instructions), TorchKernels())]
    for step in batches:
        native, reference = (program.run(step) for program in programs)
        assert native.shape == reference.shape
        np.testing.assert_allclose(native, reference, rtol=near, atol=near * np.abs(reference).max())


@pytest.fixture(params=["avx2", "portable"])
def instructions(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.mark.parametrize(("width", "columns"), [(16, 16), (7, 5), (70, 33), (130, 300), (1000, 515)])
def test_linear(instructions: str, width: int, columns: int) -> None:
    def build(kernels: Kernels) -> Callable[[Ops], Value]:
        table = kernels.matrix([floats(500, columns)])
        plain = kernels.matrix([floats(width, columns, seed=1)])
        parts = [floats(width // 3, columns, seed=2), floats(width - width // 3, columns, seed=3)]
        biased = kernels.matrix(parts, [floats(len(part), seed=4) for part in parts])

        def forward(ops: Ops) -> Value:
            x = ops.embed(table)
            return ops.sampled(ops.linear(x, biased, ops.linear(x, plain)))

        return forward

    check(build, instructions, [batch([(0, 0, rows)]) for rows in (1, 2, 3, 4, 5, 6, 7, 12, 13, 33, 100)])


@pytest.mark.parametrize("width", [1, 8, 13, 48, 160])
def test_rms_norm(instructions: str, width: int) -> None:
    def build(kernels: Kernels) -> Callable[[Ops], Value]:
        table, weight = kernels.matrix([floats(500, width)]), kernels.vector(floats(width, seed=1))
        return lambda ops: ops.rms_norm(ops.sampled(ops.embed(table)), weight, 1e-5)

    check(build, instructions, [batch([(0, 0, 40)])])


@pytest.mark.parametrize("width", [1, 8, 13, 48, 160])
def test_swiglu(instructions: str, width: int) -> None:
    def build(kernels: Kernels) -> Callable[[Ops], Value]:
        table = kernels.matrix([floats(500, 2 * width) * 20])
        return lambda ops: ops.sampled(ops.swiglu(ops.embed(table)))

    check(build, instructions, [batch([(0, 0, 40)])])


def attention(kernels: Kernels, shape: Geometry) -> Callable[[Ops], Value]:
    width = (shape.heads + 2 * shape.kv_heads) * shape.head_dim
    table = kernels.matrix([floats(500, width)])
    inner = shape.heads * shape.head_dim
    between = kernels.matrix([floats(width, inner) / inner**0.5])

    def forward(ops: Ops) -> Value:
        first = ops.attend(ops.rope_store(ops.embed(table), 0), 0)
        second = ops.attend(ops.rope_store(ops.linear(first, between), 1), 1)
        return ops.sampled(second)

    return forward


@pytest.mark.parametrize(
    ("heads", "kv_heads", "head_dim"), [(1, 1, 16), (6, 2, 32), (5, 5, 20), (40, 1, 8), (4, 2, 80), (3, 1, 256)]
)
@pytest.mark.parametrize("kv_dtype", ["float32", "float16"])
def test_rope_and_attention(instructions: str, heads: int, kv_heads: int, head_dim: int, kv_dtype: str) -> None:
    shape = geometry(heads, kv_heads, head_dim, kv_dtype=kv_dtype)
    steps = [
        batch([(1, 0, 130)]),
        batch([(0, 0, 1), (1, 130, 135)]),
        batch([(1, 135, 136), (0, 1, 66)]),
        batch([(0, 66, 67), (1, 136, 137)]),
        batch([(0, 67, 300)]),
    ]
    check(lambda kernels: attention(kernels, shape), instructions, steps, shape)


def test_not_a_number_stays_one(instructions: str) -> None:
    """The sampler must see it."""
    poisoned = floats(500, 64)
    poisoned[3] = np.nan
    kernels = NativeKernels(1, instructions)
    table, weight = kernels.matrix([poisoned]), kernels.vector(floats(64))
    qkv, down = kernels.matrix([floats(128, 64)]), kernels.matrix([floats(10, 32)])

    def forward(ops: Ops) -> Value:
        x = ops.linear(ops.rms_norm(ops.embed(table), weight, 1e-5), qkv)
        return ops.sampled(ops.linear(ops.swiglu(ops.attend(ops.rope_store(x, 0), 0)), down))

    logits = kernels.program(forward, geometry()).run(batch([(0, 0, 6)]))
    assert np.isfinite(logits[:3]).all()
    assert np.isnan(logits[3:]).all()


@pytest.mark.parametrize(
    "change",
    [
        {"tokens": np.array([500], np.int32)},
        {"tokens": np.array([-1], np.int32)},
        {"slots": np.array([2], np.int32)},
        {"positions": np.array([400], np.int32)},
        {"sampled": np.array([1], np.int32)},
        {"pages": np.full((2, 400), 1024, np.int32)},
        {"slots": np.array([0, 1], np.int32)},
    ],
)
def test_what_lies_outside_its_range_is_refused(change: dict[str, Any]) -> None:
    kernels = NativeKernels(1)
    table = kernels.matrix([floats(500, 8)])
    program = kernels.program(lambda ops: ops.sampled(ops.embed(table)), geometry())
    good = batch([(0, 0, 1)])
    fields = {name: getattr(good, name) for name in ("tokens", "slots", "positions", "pages", "sampled")}
    with pytest.raises(ValueError, match=r"range|length"):
        program.run(Batch(**(fields | change)))


def test_unknown_instructions_are_refused() -> None:
    with pytest.raises(ValueError, match="portable"):
        _native.Program("neon", 1, 1, 1, 1, 16, 1, floats(1, 8), floats(1, 8))


@pytest.mark.parametrize("threads", [1, 2])
def test_probes_give_plausible_numbers(threads: int) -> None:
    assert 1e8 < _native.probe_bandwidth(8, threads) < 1e13
    assert 1e8 < _native.probe_flops(threads) < 1e13
