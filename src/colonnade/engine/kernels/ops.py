"""What kernels do, as an interface with two sides: the models call `Ops`, the worker runs a `Program`.

A model's forward pass is a straight-line function of `Ops`. The torch reference executes each call at once, on tensors.
The native kernels call the function a single time, with values that only stand for buffers, record it as a tape, and
replay the tape in one native call a step: no Python between two kernels.

Shapes are named by suffix, upper case, one letter a dimension:

    T tokens of the step    S tokens of the step that are sampled    D hidden size    V vocabulary
    H query heads           K key-value heads                        C head dimension F feed-forward size
    N rows of a matrix      P pages                                  L layers
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from colonnade.engine.blockwise import BlockFloats
from colonnade.engine.columns import Columns, Numbers, Rows
from colonnade.engine.grammar import Words
from colonnade.engine.repacked import Repacked
from colonnade.engine.shortfloats import ShortFloats

Floats = NDArray[np.float32]
Ints = NDArray[np.int32]

Weight = Floats | BlockFloats | ShortFloats
"""A tensor as the loader gives it."""
Value = Any
"""Activations, one row a token: a tensor in the reference, a buffer's name in a tape."""
Matrix = Any
"""A weight [N, K] in the form that these kernels want, with its bias."""
Vector = Any


@dataclass(frozen=True, slots=True)
class Geometry:
    """The KV cache, and the angles of the rotary embedding: cosines and sines [positions, turned dimensions / 2]."""

    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    pages: int
    cosines: Floats
    sines: Floats
    scale: float = 0.0
    """Of attention's scores; 0 for C ** -0.5."""
    value_dim: int = 0
    """0: a value has C numbers of its own. Else it is the first so many numbers of its key (latent attention)."""
    kv_dtype: str = "float32"
    """What keys and values are kept in: float32, or float16, each rounded once as it is stored."""

    @property
    def token_bytes(self) -> int:
        """Bytes of keys and values of one token."""
        number = 2 if self.kv_dtype == "float16" else 4
        return number * (1 if self.value_dim else 2) * self.layers * self.kv_heads * self.head_dim

    @property
    def score_scale(self) -> float:
        return self.scale or self.head_dim**-0.5

    @property
    def value_width(self) -> int:
        return self.value_dim or self.head_dim


@dataclass(frozen=True, slots=True)
class Routing:
    """How a token's experts are chosen: by score + bias, of equals the lowest number; the weight is the score.

    Experts fall into `groups` of neighbours, of which the `groups_chosen` best are open to a token. A group counts as
    much as its two best experts together if `paired`, else as its best.
    """

    experts: int
    chosen: int
    groups: int = 1
    groups_chosen: int = 1
    sigmoid: bool = False
    """Scores are sigmoids of the logits, else their softmax."""
    paired: bool = False
    normalised: bool = False
    """Weights are divided by their sum (+ 1e-20),"""
    scale: float = 1.0
    """and multiplied with this."""


@dataclass(frozen=True, slots=True)
class Batch:
    """One step's tokens, grouped by slot, positions rising by one within a slot; int32, contiguous.

    `tokens`, `slots` and `positions` are [T]; `pages` is the whole page table [slots, positions]: token t attends to
    positions 0 to positions[t] of its slot; `sampled` [S] are the rows of T whose logits are wanted.
    """

    tokens: Ints
    slots: Ints
    positions: Ints
    pages: Ints
    sampled: Ints


class Ops(Protocol):
    """The stages of a forward pass. Each gives a new value and leaves its arguments as they were."""

    def embed(self, table: Matrix) -> Value:
        """[T, D]: the table's row of each token."""
        ...

    def rms_norm(self, x: Value, weight_D: Vector, epsilon: float) -> Value: ...

    def linear(self, x: Value, matrix: Matrix, residual: Value = None) -> Value:
        """x · matrixᵀ + bias (+ residual)."""
        ...

    def rope_store(self, qkv: Value, layer: int) -> Value:
        """[T, (H + 2 K) C] -> queries [T, H C]. Turns queries and keys by their positions; stores keys and values."""
        ...

    def head_norm(self, qkv: Value, queries_C: Vector, keys_C: Vector, epsilon: float) -> Value:
        """[T, (H + 2 K) C]: each head of queries and of keys normalised by itself; one weight for each of the two."""
        ...

    def attend(self, q: Value, layer: int, window: int = 0) -> Value:
        """Causal attention over the stored pages of each token's slot; [T, H x width of a value].

        `window`: tokens that a token sees at most, itself among them; 0 for all.
        """
        ...

    def swiglu(self, gate_up: Value) -> Value:
        """[T, 2 F] -> [T, F]: silu(gate) * up."""
        ...

    def sampled(self, x: Value) -> Value:
        """The sampled rows, [S, ...]."""
        ...

    def keep(self, x: Value) -> None:
        """The hidden states before the head, normed: what `Program.hidden` gives."""
        ...

    def columns(self, x: Value, first: int, count: int) -> Value:
        """Columns [first, first + count)."""
        ...

    def route(self, logits_TE: Value, bias_E: Vector, routing: Routing) -> Value:
        """[T, 2 x chosen]: the numbers of a token's experts, rising, then their weights."""
        ...

    def experts(
        self, x: Value, routes: Value, gate_ups: Sequence[Matrix], downs: Sequence[Matrix], residual: Value
    ) -> Value:
        """residual + the weighted sum, by rising number, of what each token's experts (SwiGLU) make of it."""
        ...

    def per_head(self, x: Value, matrices: Sequence[Matrix]) -> Value:
        """[T, H A] -> [T, H N]: each head's first columns, times a matrix [N, columns] of its own."""
        ...

    def latent_store(self, absorbed: Value, q: Value, latent: Value, key: Value, layer: int) -> Value:
        """Queries of latent attention, [T, H C]; stores the tokens' rows.

        `absorbed` [T, H x value_dim] are the heads' questions to the latent. The last dimensions of each head of `q`
        and of `key` are turned by position, as neighbouring pairs, and stand behind. A row is `latent` and that key.
        """
        ...


class Program(Protocol):
    """A forward pass bound to weights and cache."""

    def run(self, batch: Batch) -> Floats:
        """Logits [S, V], contiguous; the memory is the caller's."""
        ...

    def hidden(self, batch: Batch) -> Floats | None:
        """The hidden states [S, D] that the forward pass keeps, instead of the logits; None where it keeps none. `run`
        may follow for the same batch: both write the same keys and values."""
        ...

    def forget(self) -> None:
        """Give back the memory of all keys and values; what is written from now on takes new memory."""
        ...


@runtime_checkable
class Repacks(Protocol):
    """Kernels that keep weights in the form they are stored in, and 8-bit integers in a file between two starts."""

    repacked: Repacked


class Kernels(Protocol):
    """One implementation of all stages."""

    name: str
    version: int
    """Goes into the fingerprint: raised when the same input may give other bits."""
    threads: int
    rounds: bool
    """Before a matrix in 8-bit floats, activations are rounded to E4M3 with a scale for each 128 of a row, as units for
    8-bit numbers take them. The matrices that are widened when they are loaded do not count."""
    quantize: str
    """What `matrix` makes of weights: none (it keeps them as they are stored, or wider), or int8."""
    batch_invariant: bool
    """A token's logits have the same bits whatever else is in the step, however it is cut, on any thread count."""

    def free(self) -> int:
        """Bytes of the device's memory that this process may still take."""
        ...

    def choose(
        self, logits_V: Floats, temperature: float, top_k: int, top_p: float, min_p: float, number: float
    ) -> int:
        """The draw of one token: the rule of `engine/sampler.py`."""
        ...

    def draw_rows(self, logits_SV: Floats, rows: Rows, columns: Columns, words_SW: Words) -> Numbers:
        """The draws of plain slots in one call: `engine/columns.py`, `DrawRows`."""
        ...

    def matrix(
        self, parts_NK: Sequence[Weight], biases_N: Sequence[Weight] | None = None, *, exact: bool = False
    ) -> Matrix:
        """The parts, one below the other, as one matrix. `exact`: never rounded, for tables, routers and heads' own."""
        ...

    def vector(self, values: Weight) -> Vector: ...

    def program(self, forward: Callable[[Ops], Value], geometry: Geometry) -> Program: ...
