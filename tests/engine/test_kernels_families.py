"""Native stages that some families need against their torch reference: windows, experts, latent attention."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from test_kernels import batch, check, floats, geometry

from colonnade.engine.kernels.native import NativeKernels
from colonnade.engine.kernels.ops import Batch, Floats, Geometry, Kernels, Ops, Routing, Value
from colonnade.engine.models.rope import tables


@pytest.fixture(params=["avx2", "portable"])
def instructions(request: pytest.FixtureRequest) -> str:
    return request.param


STEPS = [batch([(1, 0, 130)]), batch([(0, 0, 1), (1, 130, 135)]), batch([(0, 1, 66), (1, 135, 136)])]


@pytest.mark.parametrize(("heads", "kv_heads", "head_dim"), [(6, 2, 32), (5, 5, 20), (40, 1, 8)])
@pytest.mark.parametrize("window", [1, 2, 63, 64, 65, 100, 400])
def test_windows(instructions: str, heads: int, kv_heads: int, head_dim: int, window: int) -> None:
    def build(kernels: Kernels) -> Callable[[Ops], Value]:
        table = kernels.matrix([floats(500, (heads + 2 * kv_heads) * head_dim)])
        return lambda ops: ops.sampled(ops.attend(ops.rope_store(ops.embed(table), 0), 0, window))

    check(build, instructions, STEPS, geometry(heads, kv_heads, head_dim))


@pytest.mark.parametrize("head_dim", [8, 20, 64])
def test_head_norm(instructions: str, head_dim: int) -> None:
    def build(kernels: Kernels) -> Callable[[Ops], Value]:
        table = kernels.matrix([floats(500, 8 * head_dim)])
        weights = [kernels.vector(floats(head_dim, seed=seed)) for seed in (1, 2)]
        return lambda ops: ops.sampled(ops.head_norm(ops.embed(table), *weights, 1e-6))

    check(build, instructions, STEPS[:1], geometry(4, 2, head_dim))


ROUTINGS = {
    "softmax": Routing(9, 3),
    "softmax, normalised": Routing(9, 3, normalised=True, scale=1.5),
    "one": Routing(4, 1, normalised=True),
    "all": Routing(5, 5, sigmoid=True),
    "groups by their best": Routing(12, 4, groups=4, groups_chosen=2, scale=16.0),
    "groups by their best two": Routing(
        24, 5, groups=6, groups_chosen=3, sigmoid=True, paired=True, normalised=True, scale=2.5
    ),
}


@pytest.mark.parametrize("case", list(ROUTINGS))
def test_routes(instructions: str, case: str) -> None:
    routing = ROUTINGS[case]

    def build(kernels: Kernels) -> Callable[[Ops], Value]:
        table = kernels.matrix([floats(500, routing.experts)])
        bias = kernels.vector(floats(routing.experts, seed=1))
        return lambda ops: ops.sampled(ops.route(ops.embed(table), bias, routing))

    check(build, instructions, [batch([(0, 0, 300)])])


def chosen(logits: list[float], bias: list[float], routing: Routing) -> tuple[list[int], list[float]]:
    kernels = NativeKernels(1)
    table, vector = kernels.matrix([np.array([logits], np.float32)]), kernels.vector(np.array(bias, np.float32))
    program = kernels.program(lambda ops: ops.sampled(ops.route(ops.embed(table), vector, routing)), geometry())
    row = program.run(
        Batch(*(np.zeros(1, np.int32) for _ in range(3)), np.zeros((1, 1), np.int32), np.zeros(1, np.int32))
    )
    return row[0, : routing.chosen].astype(int).tolist(), row[0, routing.chosen :].tolist()


def test_of_equals_the_lowest_number_is_chosen() -> None:
    assert chosen([1.0] * 6, [0.0] * 6, Routing(6, 2, normalised=True)) == ([0, 1], [0.5, 0.5])


def test_a_closed_group_stays_closed_where_the_open_scores_are_negative() -> None:
    """A mask of 0 instead of minus infinity would let the closed group win."""
    routing = Routing(4, 2, groups=2, groups_chosen=1, sigmoid=True, paired=True)
    experts, weights = chosen([0.0] * 4, [-5.0, -5.0, -4.0, -5.0], routing)
    assert experts == [2, 3]
    assert weights == [0.5, 0.5]


def test_a_group_counts_as_its_best_two() -> None:
    bias = [1.0, 0.0, 0.0, 0.6, 0.6, 0.0]
    routing = Routing(6, 2, groups=2, groups_chosen=1, sigmoid=True, paired=True)
    assert chosen([0.0] * 6, bias, routing)[0] == [3, 4]
    assert chosen([0.0] * 6, bias, Routing(6, 2, groups=2, groups_chosen=1, sigmoid=True))[0] == [0, 1]


def test_not_a_number_reaches_the_sum() -> None:
    experts, weights = chosen([np.nan] * 6, [0.0] * 6, Routing(6, 2, groups=3, groups_chosen=2, paired=True))
    assert experts == [0, 1]
    assert np.isnan(weights).all()


@pytest.mark.parametrize(("width", "inner"), [(16, 16), (40, 21), (136, 70)])
def test_experts(instructions: str, width: int, inner: int) -> None:
    count = 7

    def build(kernels: Kernels) -> Callable[[Ops], Value]:
        table, bias = kernels.matrix([floats(500, width)]), kernels.vector(np.zeros(count, np.float32))
        router = kernels.matrix([floats(count, width, seed=1)])
        gate_ups = [kernels.matrix([floats(2 * inner, width, seed=2 + i)]) for i in range(count)]
        downs = [kernels.matrix([floats(width, inner, seed=20 + i)]) for i in range(count)]

        def forward(ops: Ops) -> Value:
            x = ops.embed(table)
            routes = ops.route(ops.linear(x, router), bias, Routing(count, 3))
            return ops.sampled(ops.experts(x, routes, gate_ups, downs, x))

        return forward

    check(build, instructions, [batch([(0, 0, rows)]) for rows in (1, 2, 7, 40, 300)])


def latent_geometry(heads: int, latent: int, turned: int) -> Geometry:
    cosines, sines = tables({}, turned, 400)
    return Geometry(2, heads, 1, latent + turned, 1024, cosines, sines, scale=0.2, value_dim=latent)


@pytest.mark.parametrize(("heads", "latent", "turned"), [(4, 24, 4), (3, 20, 6), (40, 16, 8), (2, 512, 64)])
def test_latent_attention(instructions: str, heads: int, latent: int, turned: int) -> None:
    plain = 12

    def build(kernels: Kernels) -> Callable[[Ops], Value]:
        table = kernels.matrix([floats(500, heads * (plain + turned) + latent + turned)])
        ups = [kernels.matrix([floats(latent, plain, seed=head) / latent**0.5]) for head in range(heads)]
        downs = [kernels.matrix([floats(10, latent, seed=head)]) for head in range(heads)]

        def forward(ops: Ops) -> Value:
            x = ops.embed(table)
            q = ops.columns(x, 0, heads * (plain + turned))
            key = ops.columns(x, heads * (plain + turned), latent + turned)
            stored = ops.latent_store(ops.per_head(q, ups), q, ops.columns(key, 0, latent), key, 1)
            return ops.sampled(ops.per_head(ops.attend(stored, 1), downs))

        return forward

    check(build, instructions, STEPS, latent_geometry(heads, latent, turned))


def naive(row_TK: Floats, ups: list[Floats], downs: list[Floats], latent: int, turned: int) -> Floats:
    """Latent attention with keys and values written out for each head, in float64."""
    cosines, sines = (table.astype(np.float64)[: len(row_TK)] for table in tables({}, turned, 400))

    def turn(x: Floats) -> Floats:
        left, right = x[:, 0::2], x[:, 1::2]
        return np.stack((left * cosines - right * sines, right * cosines + left * sines), -1).reshape(len(x), -1)

    heads, plain = len(ups), ups[0].shape[1]
    row_TK = row_TK.astype(np.float64)
    key = row_TK[:, heads * (plain + turned) :]
    c_TL, shared = key[:, :latent], turn(key[:, latent:])
    outs = []
    for head in range(heads):
        q = row_TK[:, head * (plain + turned) : (head + 1) * (plain + turned)]
        keys = np.concatenate((c_TL @ ups[head], shared), -1)
        scores = 0.2 * np.concatenate((q[:, :plain], turn(q[:, plain:])), -1) @ keys.T
        weights = np.exp(np.where(np.tri(len(q), dtype=bool), scores, -np.inf) - scores.max(-1, keepdims=True))
        outs.append(weights / weights.sum(-1, keepdims=True) @ (c_TL @ downs[head].T))
    return np.concatenate(outs, -1)


def test_the_absorbed_form_is_the_naive_one(instructions: str) -> None:
    """The served form asks in the latent's space; the definition makes keys and values of it first."""
    heads, latent, turned, plain = 4, 32, 8, 12
    table = floats(500, heads * (plain + turned) + latent + turned) / 2
    ups = [floats(latent, plain, seed=head) / latent**0.5 for head in range(heads)]
    downs = [floats(10, latent, seed=head) / latent**0.5 for head in range(heads)]
    kernels = NativeKernels(2, instructions)
    rows, up, down = (
        kernels.matrix([table]),
        [kernels.matrix([it]) for it in ups],
        [kernels.matrix([it]) for it in downs],
    )

    def forward(ops: Ops) -> Value:
        x = ops.embed(rows)
        q, key = ops.columns(x, 0, heads * 20), ops.columns(x, heads * 20, latent + turned)
        stored = ops.latent_store(ops.per_head(q, up), q, ops.columns(key, 0, latent), key, 0)
        return ops.sampled(ops.per_head(ops.attend(stored, 0), down))

    step = batch([(0, 0, 100)])
    served = kernels.program(forward, latent_geometry(heads, latent, turned)).run(step)
    np.testing.assert_allclose(served, naive(table[step.tokens], ups, downs, latent, turned), atol=1e-4)
