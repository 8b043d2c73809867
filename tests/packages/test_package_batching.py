"""Micro-batching: the core on a clock of its own, and a package with many callers."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st
from package_process import FOLDERS, Process
from pydantic import BaseModel

from colonnade.packages.batching import WrongBatch, batched
from colonnade.packages.contract import Takes, contract_of
from colonnade.packages.gathering import Gathering


@given(
    st.integers(1, 5),
    st.floats(0, 2, allow_nan=False),
    st.lists(st.tuples(st.floats(0, 1, allow_nan=False), st.booleans()), max_size=40),
)
def test_nothing_is_lost_reordered_or_late(size: int, wait: float, events: list[tuple[float, bool]]) -> None:
    core: Gathering[int] = Gathering(size, wait)
    now, came, left = 0.0, 0, 0
    for passed, adds in events:
        now += passed
        batch = core.add(came, now) if adds else core.tick(now)
        came += adds
        assert len(batch) <= size
        assert batch == list(range(left, left + len(batch)))
        left += len(batch)
        assert came - left < size
        assert (core.due is None) == (came == left)
        if not adds and core.due is not None:
            assert core.due > now


class Asked(BaseModel):
    value: int


class Model:
    def __init__(self) -> None:
        self.sizes: list[int] = []

    @batched(max_batch_size=4, max_wait=60)
    def predict(self, inputs: list[Asked]) -> list[int]:
        self.sizes.append(len(inputs))
        return [each.value * 2 for each in inputs]


async def test_a_full_batch_does_not_wait_and_callers_get_their_own() -> None:
    model = Model()
    assert await asyncio.gather(*(model.predict(Asked(value=n)) for n in range(8))) == [2 * n for n in range(8)]  # pyright: ignore
    assert model.sizes == [4, 4]


async def test_one_that_waits_alone_is_served_in_time_and_one_that_goes_is_not() -> None:
    class Slow:
        def __init__(self) -> None:
            self.seen: list[list[int]] = []

        @batched(max_batch_size=9, max_wait=0.01)
        async def predict(self, inputs: list[int]) -> list[int]:
            self.seen.append(inputs)
            return inputs

    model = Slow()
    going = asyncio.ensure_future(model.predict(1))  # pyright: ignore
    staying = asyncio.ensure_future(model.predict(2))  # pyright: ignore
    await asyncio.sleep(0)
    going.cancel()
    assert await staying == 2
    assert model.seen == [[2]]


@pytest.mark.parametrize("answers", [[1], [1, 2, 3], "ab", None])
async def test_answers_that_do_not_fit(answers: object) -> None:
    class Wrong:
        @batched(max_batch_size=2)
        def predict(self, inputs: list[int]) -> object:
            return answers

    model = Wrong()
    told = await asyncio.gather(model.predict(1), model.predict(2), return_exceptions=True)  # pyright: ignore
    assert [type(each) for each in told] == [WrongBatch, WrongBatch]


async def test_one_may_fail_alone() -> None:
    class Choosy:
        @batched(max_batch_size=2)
        def predict(self, inputs: list[int]) -> list[object]:
            return [ValueError("odd") if each % 2 else each for each in inputs]

    model = Choosy()
    even, odd = await asyncio.gather(model.predict(2), model.predict(3), return_exceptions=True)  # pyright: ignore
    assert even == 2
    assert isinstance(odd, ValueError)


def test_it_keeps_the_contract_with_the_annotation_of_one() -> None:
    contract = contract_of(Model())
    assert contract.methods["predict"].takes is Takes.INPUTS
    assert contract.schema is not None
    assert contract.schema.inputs is Asked


@pytest.mark.parametrize("wrong", [{"max_batch_size": 0}, {"max_batch_size": 1, "max_wait": -1.0}])
def test_limits(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        batched(**wrong)  # pyright: ignore[reportArgumentType]


def test_callers_of_a_package_share_a_call() -> None:
    """Eight at once, in batches of four; nothing waits for the minute that a batch may wait."""
    process = Process(FOLDERS / "batches")
    try:
        process.until("/ready", 200)
        with ThreadPoolExecutor(8) as threads:
            answers = [each.json for each in threads.map(lambda n: process.predict({"value": n}), range(8))]
        assert [each["doubled"] for each in answers] == [2 * n for n in range(8)]
        assert {each["beside"] for each in answers} == {4}
        assert process.predict({"value": "x"}).status == 400
    finally:
        process.stop()
