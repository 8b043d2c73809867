"""Weights as 8-bit integers: one rounding, exact sums, the same bits everywhere, and close to what was stored."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from test_kernels import batch, floats, geometry

from colonnade.engine.integers import GROUP, IntegerRows, product
from colonnade.engine.kernels import _native
from colonnade.engine.kernels.native import NativeKernels
from colonnade.engine.kernels.ops import Floats, Kernels, Ops, Value
from colonnade.engine.kernels.reference import TorchKernels
from colonnade.engine.shortfloats import ShortFloats

ROWS = (1, 2, 3, 4, 5, 6, 7, 12, 13, 33, 70)


def linear(weight_NK: Floats, table_VK: Floats) -> Callable[[Kernels], Callable[[Ops], Value]]:
    def build(kernels: Kernels) -> Callable[[Ops], Value]:
        table, halves = kernels.matrix([table_VK], exact=True), np.array_split(weight_NK, 2)
        matrix = kernels.matrix(halves, [floats(len(half), seed=4) for half in halves])
        again = kernels.matrix([weight_NK])

        def forward(ops: Ops) -> Value:
            x = ops.embed(table)
            return ops.sampled(ops.linear(x, matrix, ops.linear(x, again)))

        return forward

    return build


@pytest.mark.parametrize(("width", "columns"), [(16, 16), (7, 5), (70, 33), (130, 300), (300, 1155)])
def test_every_path_gives_the_bits_of_the_definition(width: int, columns: int) -> None:
    build = linear(floats(width, columns, seed=1), floats(500, columns))
    kernels = [NativeKernels(2, "avx2", "int8"), NativeKernels(1, "portable", "int8"), TorchKernels(quantize="int8")]
    programs = [each.program(build(each), geometry()) for each in kernels]
    for rows in ROWS:
        first, *others = (program.run(batch([(0, 0, rows)])) for program in programs)
        assert all(np.array_equal(first, other) for other in others)


@pytest.mark.parametrize("columns", [64, 256, 1024, 3000])
@pytest.mark.parametrize("kind", ["float32", "bfloat16", "float16"])
def test_a_layer_is_within_one_and_a_half_percent(columns: int, kind: str) -> None:
    weight, x = floats(200, columns, seed=1), floats(64, columns)
    if kind == "bfloat16":
        stored = ShortFloats((weight.view(np.uint32) >> 16).astype(np.uint16), brief=True)
    else:
        stored = ShortFloats(weight.astype(np.float16).view(np.uint16), brief=False)
    weight = weight if kind == "float32" else stored.floats()
    kernels = NativeKernels(1, quantize="int8")
    table, matrix = kernels.matrix([x], exact=True), kernels.matrix([weight if kind == "float32" else stored])
    program = kernels.program(lambda ops: ops.sampled(ops.linear(ops.embed(table), matrix)), geometry())
    wanted = x.astype(np.float64) @ weight.T
    error = np.linalg.norm(program.run(batch([(0, 0, 64)])) - wanted) / np.linalg.norm(wanted)
    assert error < 0.015


def test_codes_are_those_of_the_definition() -> None:
    """Two columns of a row lie next to each other, sixteen rows make a panel."""
    weight = floats(40, 300)
    weight[3] = 0.0
    matrix, defined = _native.Matrix(40, 300, False, "int8"), IntegerRows.of_weight(weight)
    matrix.put_rounded(0, weight[:25].copy())
    matrix.put_rounded(25, weight[25:].copy())
    codes = matrix.codes.view(np.int8).reshape(3, 150, 16, 2).transpose(0, 2, 1, 3).reshape(48, 300)
    assert np.array_equal(codes[:40], defined.codes[:, :300])
    assert not codes[40:].any()
    assert np.array_equal(matrix.scales.reshape(3, 3, 16).transpose(0, 2, 1).reshape(48, 3)[:40], defined.scales)


def test_codes_stand_for_the_numbers_within_half_a_step() -> None:
    for made, steps in ((IntegerRows.of_weight, 127), (IntegerRows.of_input, 32767)):
        rows = floats(9, 200) * np.float32(1e-3)
        rounded = made(rows)
        assert rounded.codes.shape == (9, 2 * GROUP)
        assert np.abs(rounded.codes).max() == steps
        step = np.repeat(rounded.scales, GROUP, 1)[:, :200]
        assert (np.abs(rounded.floats(200) - rows) <= step * 0.5001).all()


def test_small_and_empty_groups() -> None:
    rows = np.zeros((2, 140), np.float32)
    rows[1, 130] = 1e-38
    weight = floats(3, 140)
    assert not product(IntegerRows.of_input(rows), IntegerRows.of_weight(weight)).any()
    assert not product(IntegerRows.of_input(weight), IntegerRows.of_weight(rows))[:, 0].any()


@pytest.mark.parametrize("instructions", ["avx2", "portable"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_stays_so_and_stays_alone(instructions: str, bad: float) -> None:
    """The sampler must see it, in the rows that it belongs to."""
    table, weight = floats(500, 300), floats(20, 300, seed=1)
    table[3, 140] = bad
    weight[7, 299] = bad
    kernels = [NativeKernels(1, instructions, "int8"), TorchKernels(quantize="int8")]
    for each in kernels:
        logits = each.program(linear(weight, table)(each), geometry()).run(batch([(0, 0, 6)]))
        assert np.isnan(logits[3]).all()
        assert np.isnan(logits[:, 7]).all()
        assert np.isfinite(np.delete(np.delete(logits, 3, 0), 7, 1)).all()


def test_tables_and_heads_matrices_are_never_rounded() -> None:
    kernels = NativeKernels(1, quantize="int8")
    rounded = kernels.matrix([floats(16, 8)])
    with pytest.raises(ValueError, match="float32 or bfloat16"):
        kernels.program(lambda ops: ops.sampled(ops.embed(rounded)), geometry())
    table = kernels.matrix([floats(500, 16)], exact=True)
    with pytest.raises(ValueError, match="not 8-bit integers"):
        kernels.program(lambda ops: ops.sampled(ops.per_head(ops.embed(table), [rounded, rounded])), geometry())


def test_rows_of_another_type_or_shape_are_refused() -> None:
    matrix = _native.Matrix(16, 8, False, "int8")
    for put, rows in (
        (matrix.put, floats(16, 8)),
        (matrix.put_rounded, floats(17, 8)),
        (matrix.put_rounded, floats(3, 9)),
    ):
        with pytest.raises(ValueError, match="do not fit"):
            put(0, rows)
    with pytest.raises(ValueError, match="storage"):
        _native.Matrix(16, 8, False, "int4")
    with pytest.raises(ValueError, match="another shape"):
        _native.Matrix.kept(16, 8, False, np.zeros(127, np.uint8), np.zeros(16, np.float32))
