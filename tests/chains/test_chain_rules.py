"""The small decisions: budgets of time, retries, types that fit, the waterfall."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Literal, Protocol

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from colonnade.chains.address import parse_address
from colonnade.chains.deadlines import call_budget, hop_budget
from colonnade.chains.kinds import complaint, dtype_of, fits, item_of, name_of
from colonnade.chains.notes import Span
from colonnade.chains.options import Options
from colonnade.chains.retries import CAP, PATIENCE, SAVED, Failure, RetryBudget, pause, seek
from colonnade.chains.waterfall import WIDTH, waterfall
from colonnade.wire.errors import BadSetting

share = st.floats(0, 1, exclude_max=True)


@settings(deadline=None)
@given(st.floats(1e-6, 1e6), st.floats(0.001, 1e6), st.floats(0.001, 1e6))
def test_a_budget_only_shrinks(left: float, edge: float, step: float) -> None:
    budget = call_budget(left, edge, step)
    assert budget == min(left, edge, step)
    assert call_budget(None, None, step) == step
    assert 0 < hop_budget(budget) < budget


@settings(deadline=None)
@given(st.integers(1, 5), share, st.floats(0, 100), st.booleans(), st.booleans(), st.booleans())
def test_only_what_is_safe_is_tried_again(
    attempt: int, noise: float, left: float, retryable: bool, carried: bool, idempotent: bool
) -> None:
    budget = RetryBudget()
    found = pause(
        Failure(retryable, carried), idempotent=idempotent, attempt=attempt, retries=3, left=left, noise=noise,
        budget=budget,
    )  # fmt: skip
    safe = retryable and (idempotent or not carried) and attempt <= 3
    assert found is None or (safe and found < left and found <= CAP and budget.tokens == SAVED - 1)
    assert found is not None or not safe or noise * CAP >= left


def test_retries_are_a_tenth_of_the_calls_at_most() -> None:
    budget = RetryBudget()
    spent = sum(budget.spend() for _ in range(100))
    for _ in range(100):
        budget.called()
    assert spent == SAVED
    assert sum(budget.spend() for _ in range(100)) in (9, 10)
    for _ in range(1000):
        budget.called()
    assert budget.tokens == SAVED


@settings(deadline=None)
@given(st.lists(share, max_size=200), st.floats(0, 100))
def test_a_step_is_sought_for_a_while(noise: list[float], left: float) -> None:
    waited = 0.0
    for attempt, each in enumerate(noise, 1):
        seconds = seek(attempt, waited, left, each)
        if seconds is None:
            break
        assert 0 < seconds <= CAP
        waited += seconds
    assert waited < max(PATIENCE, 1e-9)
    assert waited <= left


class Wants(Protocol): ...


class Own: ...


@pytest.mark.parametrize(
    ("given", "wanted", "good"),
    [
        (int, int, True),
        (int, float, True),
        (bool, int, True),
        (float, int, False),
        (str, Any, True),
        (Any, str, True),
        (int, int | None, True),
        (int | None, int, False),
        (list[int], list[float], True),
        (list[str], list[int], False),
        (list, list[int], True),
        (dict[str, int], list[int], False),
        (tuple[int, ...], tuple[int, ...], True),
        (Literal["a"], str, True),
        (Literal["a"], int, False),
        (NDArray[np.float32], NDArray[np.float64], True),
        (Own, Wants, False),
        ("text", int, False),
    ],
)
def test_which_type_fits_where(given: Any, wanted: Any, good: bool) -> None:
    assert fits(given, wanted) is good


@pytest.mark.parametrize(
    ("kind", "good"),
    [
        (list[int | None], True),
        (NDArray[np.int8], True),
        (tuple[int, ...], True),
        (Literal["a"], True),
        (dict, True),
        (object, False),
        (list[Own], False),
        (list[AsyncIterator[int]], False),
        (3, False),
    ],
)
def test_which_types_travel(kind: Any, good: bool) -> None:
    assert (complaint(kind) == "") is good


def test_names_and_parts_of_types() -> None:
    assert [name_of(each) for each in (None, int, list[int], AsyncIterator[str])] == [
        "None", "int", "list[int]", "AsyncIterator[str]",
    ]  # fmt: skip
    assert item_of(AsyncIterator[str]) == (True, str)
    assert item_of(AsyncIterator) == (True, Any)
    assert item_of(str) == (False, str)
    assert dtype_of(NDArray[np.int8]) == np.int8
    assert dtype_of(np.ndarray) is None


@pytest.mark.parametrize(
    ("options", "field"),
    [
        (Options(name="9"), "name"),
        (Options(accelerator="h100"), "accelerator"),
        (Options(cpu=0), "cpu"),
        (Options(timeout=float("inf")), "timeout"),
        (Options(replicas=2), "replicas"),
        (Options(concurrency=0), "concurrency"),
        (Options(memory="much"), "memory"),
    ],
)
def test_options_say_what_is_wrong_with_them(options: Options, field: str) -> None:
    assert [each for each, _ in options.faults()] == [field]
    assert not list(Options(name="ok", accelerator="H100:2", replicas_most=4).faults())


@pytest.mark.parametrize("text", ["unix:///run/x", "tcp://127.0.0.1:80", "tcp://[::1]:80"])
def test_addresses(text: str) -> None:
    assert str(parse_address(text)) == text


@pytest.mark.parametrize("text", ["", "unix://host/x", "tcp://h", "tcp://h:99999", "http://h:80", "tcp://h:1/x"])
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(BadSetting):
        parse_address(text)


spans = st.recursive(
    st.builds(Span, st.just("Step"), share, share, share),
    lambda inner: st.builds(Span, st.just("Step"), share, share, share, st.sampled_from(["ok", "x"]),
                            st.lists(inner, max_size=3).map(tuple)),
    max_leaves=6,
)  # fmt: skip


@settings(deadline=None)
@given(spans)
def test_a_waterfall_has_a_line_for_each_call(span: Span) -> None:
    def count(each: Span) -> int:
        return 1 + sum(map(count, each.inner))

    lines = waterfall(span).splitlines()
    assert len(lines) == count(span)
    for line in lines:
        bar = line.split("|")[1]
        assert len(bar) == WIDTH
        assert "#" in bar
