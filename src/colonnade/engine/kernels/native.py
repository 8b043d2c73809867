"""The native kernels: a model's forward pass is recorded once as a tape, and replayed in one call a step."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from colonnade.engine.blockwise import BLOCK, BlockFloats, widened
from colonnade.engine.columns import Columns, Numbers, Rows
from colonnade.engine.grammar import Words
from colonnade.engine.kernels import _native
from colonnade.engine.kernels.ops import Batch, Floats, Geometry, Ops, Routing, Value, Weight
from colonnade.engine.mapped import forget, pieces
from colonnade.engine.memory import free_memory
from colonnade.engine.repacked import Repacked
from colonnade.engine.shortfloats import ShortFloats


class NativeKernels:
    """C++ for the CPU: AVX2 where the processor has it, else portable. `instructions` asks for one of the two.

    `rounds`: activations are rounded before matrices in 8-bit floats (`kernels.ops.Kernels.rounds`).
    """

    version = 2
    batch_invariant = True
    device = "cpu"
    choose = staticmethod(_native.choose)
    free = staticmethod(free_memory)

    def __init__(
        self, threads: int | None = None, instructions: str = "", quantize: str = "none", rounds: bool = False
    ) -> None:
        self.rounds = rounds
        self.quantize = quantize
        self.repacked = Repacked()
        self._instructions = instructions or ("avx2" if _native.has_avx2() else "portable")
        self.name = f"native-{self._instructions}"
        self.threads = threads or _cores()

    def draw_rows(self, logits_SV: Floats, rows: Rows, columns: Columns, words_SW: Words) -> Numbers:
        tokens_S = np.empty(len(rows.rows), dtype=np.int64)
        _native.draw_rows(
            logits_SV,
            rows.rows,
            rows.slots,
            rows.positions,
            rows.masked,
            words_SW,
            columns.temperatures,
            columns.top_ks,
            columns.top_ps,
            columns.min_ps,
            columns.seeds,
            columns.choices,
            tokens_S,
        )
        return tokens_S

    def matrix(
        self, parts_NK: Sequence[Weight], biases_N: Sequence[Weight] | None = None, *, exact: bool = False
    ) -> _native.Matrix:
        """As stored where all parts are 8-bit or all are bfloat16: the kernels widen them as they multiply."""
        rows, columns = sum(len(part) for part in parts_NK), parts_NK[0].shape[1]
        storage = "int8" if self.quantize == "int8" and not exact else _stored(parts_NK)
        kept = self.repacked.take(rows, columns) if storage == "int8" else None
        if kept is None:
            rounds = self.rounds and storage == "float8"
            matrix = _native.Matrix(rows, columns, biases_N is not None, storage, BLOCK, rounds)
            _fill(matrix, storage, parts_NK)
        else:
            matrix = _native.Matrix.kept(rows, columns, biases_N is not None, *kept)
        if storage == "int8":
            self.repacked.note(matrix)
        first = 0
        for bias in biases_N or ():
            matrix.put_bias(first, np.ascontiguousarray(widened(bias)))
            first += len(bias)
        return matrix

    def vector(self, values: Weight) -> _Weight:
        return _Weight(_native.Vector(np.ascontiguousarray(widened(values))), len(values))

    def program(self, forward: Callable[[Ops], Value], geometry: Geometry) -> NativeProgram:
        return NativeProgram(forward, geometry, self._instructions, self.threads)


def _stored(parts_NK: Sequence[Weight]) -> str:
    if all(isinstance(part, BlockFloats) for part in parts_NK):
        return "float8"
    if all(isinstance(part, ShortFloats) and part.brief for part in parts_NK):
        return "bfloat16"
    return "float32"


def _fill(matrix: _native.Matrix, storage: str, parts_NK: Sequence[Weight]) -> None:
    first = 0
    for part in parts_NK:
        if storage == "float8" and isinstance(part, BlockFloats):
            matrix.put_blocks(first, np.ascontiguousarray(part.codes), np.ascontiguousarray(part.scales))
            forget(part.codes)
        elif storage == "bfloat16" and isinstance(part, ShortFloats):
            for row, bits in pieces(part.bits):
                matrix.put_briefs(first + row, bits)
        else:
            put = matrix.put_rounded if storage == "int8" else matrix.put
            for row, values in _widened(part):
                put(first + row, values)
        first += len(part)


def _widened(part: Weight) -> Iterator[tuple[int, Floats]]:
    """(first row, rows) in float32, a few at a time."""
    if isinstance(part, ShortFloats):
        yield from ((row, ShortFloats(bits, part.brief).floats()) for row, bits in pieces(part.bits))
    else:
        yield from pieces(widened(part))


def _cores() -> int:
    """Those this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@dataclass(frozen=True, slots=True)
class _Weight:
    vector: _native.Vector
    size: int


class NativeProgram:
    def __init__(self, forward: Callable[[Ops], Value], geometry: Geometry, instructions: str, threads: int) -> None:
        self._program = _native.Program(
            instructions,
            threads,
            geometry.layers,
            geometry.heads,
            geometry.kv_heads,
            geometry.head_dim,
            geometry.pages,
            np.ascontiguousarray(geometry.cosines),
            np.ascontiguousarray(geometry.sines),
            geometry.score_scale,
            geometry.value_dim,
            geometry.kv_dtype == "float16",
        )
        tape = _Tape(geometry)
        result = forward(tape)
        assert result.few, "a forward pass ends with the sampled rows"
        tape.record(self._program, result)
        self._width = result.width
        self._result, self._kept = tape.result, tape.kept
        self._kept_width = tape.hidden.width if tape.hidden else 0

    def run(self, batch: Batch) -> Floats:
        return self._run(batch, self._width)

    def hidden(self, batch: Batch) -> Floats | None:
        if self._kept < 0:
            return None
        self._program.result(self._kept)
        try:
            return self._run(batch, self._kept_width)
        finally:
            self._program.result(self._result)

    def _run(self, batch: Batch, width: int) -> Floats:
        out_SN = np.empty((len(batch.sampled), width), dtype=np.float32)
        self._program.run(batch.tokens, batch.slots, batch.positions, batch.pages, batch.sampled, out_SN)
        return out_SN

    def forget(self) -> None:
        self._program.forget()


@dataclass(frozen=True, slots=True, eq=False)
class _Slab:
    """Stands for the activations of one stage; `few`: of the sampled rows only."""

    width: int
    few: bool


@dataclass(frozen=True, slots=True)
class _Stage:
    name: str
    out: _Slab
    inputs: dict[str, _Slab]
    others: dict[str, Any]


@dataclass(slots=True)
class _Tape:
    """`Ops` that takes note of each stage."""

    geometry: Geometry
    stages: list[_Stage] = field(default_factory=list)
    hidden: _Slab | None = None
    result: int = -1
    kept: int = -1
    """The buffers of the result and of what is kept."""

    def embed(self, table: _native.Matrix) -> _Slab:
        return self._note("embed", _Slab(table.columns, False), table=table)

    def rms_norm(self, x: _Slab, weight_D: _Weight, epsilon: float) -> _Slab:
        assert x.width == weight_D.size
        return self._note("rms_norm", _Slab(x.width, x.few), x=x, weight=weight_D.vector, epsilon=epsilon, few=x.few)

    def linear(self, x: _Slab, matrix: _native.Matrix, residual: _Slab | None = None) -> _Slab:
        assert x.width == matrix.columns
        assert residual is None or (residual.width, residual.few) == (matrix.rows, x.few)
        added = -1 if residual is None else residual
        x = self._note("rounded", _Slab(x.width, x.few), x=x, few=x.few) if matrix.rounds_input else x
        return self._note("linear", _Slab(matrix.rows, x.few), x=x, matrix=matrix, residual=added, few=x.few)

    def rope_store(self, qkv: _Slab, layer: int) -> _Slab:
        shape = self.geometry
        assert qkv.width == (shape.heads + 2 * shape.kv_heads) * shape.head_dim
        assert not qkv.few
        return self._note("rope_store", _Slab(shape.heads * shape.head_dim, False), qkv=qkv, layer=layer)

    def head_norm(self, qkv: _Slab, queries_C: _Weight, keys_C: _Weight, epsilon: float) -> _Slab:
        assert queries_C.size == keys_C.size == self.geometry.head_dim
        assert not qkv.few
        vectors = {"queries": queries_C.vector, "keys": keys_C.vector}
        return self._note("head_norm", _Slab(qkv.width, False), qkv=qkv, epsilon=epsilon, **vectors)

    def attend(self, q: _Slab, layer: int, window: int = 0) -> _Slab:
        shape = self.geometry
        assert q.width == shape.heads * shape.head_dim
        assert not q.few
        return self._note("attend", _Slab(shape.heads * shape.value_width, False), q=q, layer=layer, window=window)

    def keep(self, x: _Slab) -> None:
        assert x.few
        self.hidden = x

    def swiglu(self, gate_up: _Slab) -> _Slab:
        return self._note("swiglu", _Slab(gate_up.width // 2, gate_up.few), gate_up=gate_up, few=gate_up.few)

    def columns(self, x: _Slab, first: int, count: int) -> _Slab:
        assert first + count <= x.width
        return self._note("columns", _Slab(count, x.few), x=x, first=first, few=x.few)

    def route(self, logits_TE: _Slab, bias_E: _Weight, routing: Routing) -> _Slab:
        assert logits_TE.width == bias_E.size == routing.experts
        out, how = _Slab(2 * routing.chosen, logits_TE.few), asdict(routing)
        return self._note("route", out, logits=logits_TE, bias=bias_E.vector, few=logits_TE.few, **how)

    def experts(
        self,
        x: _Slab,
        routes: _Slab,
        gate_ups: Sequence[_native.Matrix],
        downs: Sequence[_native.Matrix],
        residual: _Slab,
    ) -> _Slab:
        inner = downs[0].columns
        assert all((it.rows, it.columns) == (2 * inner, x.width) for it in gate_ups)
        assert all((it.rows, it.columns) == (x.width, inner) for it in downs)
        assert (x.few, x.few, x.width) == (routes.few, residual.few, residual.width)
        matrices = {"gate_ups": list(gate_ups), "downs": list(downs)}
        out = _Slab(x.width, x.few)
        return self._note("experts", out, x=x, routes=routes, residual=residual, few=x.few, **matrices)

    def per_head(self, x: _Slab, matrices: Sequence[_native.Matrix]) -> _Slab:
        assert x.width % len(matrices) == 0
        assert len({(it.rows, it.columns) for it in matrices}) == 1
        assert matrices[0].columns <= x.width // len(matrices)
        out = _Slab(len(matrices) * matrices[0].rows, x.few)
        return self._note("per_head", out, x=x, matrices=list(matrices), few=x.few)

    def latent_store(self, absorbed: _Slab, q: _Slab, latent: _Slab, key: _Slab, layer: int) -> _Slab:
        shape = self.geometry
        turned = shape.head_dim - shape.value_dim
        assert (absorbed.width, latent.width) == (shape.heads * shape.value_dim, shape.value_dim)
        assert q.width % shape.heads == 0
        assert min(q.width // shape.heads, key.width) >= turned
        assert not (absorbed.few)
        assert not (q.few)
        assert not (latent.few)
        assert not (key.few)
        inputs = {"absorbed": absorbed, "q": q, "latent": latent, "key": key}
        return self._note("latent_store", _Slab(shape.heads * shape.head_dim, False), layer=layer, **inputs)

    def sampled(self, x: _Slab) -> _Slab:
        assert not x.few
        return self._note("sampled", _Slab(x.width, True), x=x)

    def _note(self, name: str, out: _Slab, **arguments: Any) -> _Slab:
        inputs = {key: value for key, value in arguments.items() if isinstance(value, _Slab)}
        others = {key: value for key, value in arguments.items() if not isinstance(value, _Slab)}
        self.stages.append(_Stage(name, out, inputs, others))
        return out

    def record(self, program: _native.Program, result: _Slab) -> None:
        """Gives each value a buffer, reused after its last use by values of the same width, and lays down the tape."""
        last_use = {id(value): place for place, stage in enumerate(self.stages) for value in stage.inputs.values()}
        buffers: dict[int, int] = {}
        free: dict[int, list[int]] = {}
        for place, stage in enumerate(self.stages):
            kept = free.setdefault(stage.out.width, [])
            buffers[id(stage.out)] = out = kept.pop() if kept else program.buffer(stage.out.width)
            inputs = {key: buffers[id(value)] for key, value in stage.inputs.items()}
            getattr(program, stage.name)(**inputs, **stage.others, out=out)
            for value in {id(value): value for value in stage.inputs.values()}.values():
                if last_use[id(value)] == place and value is not self.hidden:
                    free.setdefault(value.width, []).append(buffers[id(value)])
        self.result = buffers[id(result)]
        self.kept = -1 if self.hidden is None else buffers[id(self.hidden)]
        program.result(self.result)
