"""The same calls inline, over Unix sockets and over TCP: the same answers, the same errors."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import numpy as np
import pytest
from chain_rig import Rig, rig, until

from colonnade.chains.notes import WINDOW
from colonnade.chains.session import OVERHEAD
from colonnade.wire.errors import ColonnadeError, DeadlineExceeded, InvalidRequest, NotFound, Overloaded, StepFailed


@pytest.fixture(params=["inline", "unix", "tcp"])
async def shop(request: pytest.FixtureRequest) -> AsyncIterator[Rig]:
    async with rig(request.param) as made:
        yield made


async def numbers(count: int) -> AsyncIterator[int]:
    for number in range(count):
        yield number


async def failure(awaitable) -> ColonnadeError:
    with pytest.raises(ColonnadeError) as caught:
        await awaitable
    return caught.value


async def test_values_arrive_as_they_were_and_are_the_receivers_own(shop: Rig) -> None:
    module = shop.module
    basket = module.Basket([module.Item(name="€")], np.arange(5, dtype=np.float32).reshape(5, 1))
    answer = await shop.client("Pack").run_remote(basket, b"n", copies=2)
    assert list(answer) == ["n0", "n1"]
    assert answer["n0"].items == basket.items
    assert answer["n0"].weights.tolist() == [[0], [2], [4], [6], [8]]
    assert basket.weights.tolist() == [[0], [1], [2], [3], [4]]
    answer["n0"].weights[:] = 0
    big = bytes(range(256)) * 4096
    assert await shop.client("Blobs").run_remote(big) == big[::-1]


async def test_what_does_not_fit_is_refused_with_words(shop: Rig) -> None:
    wrong = await failure(shop.client("Tail").run_remote(3))
    assert isinstance(wrong, InvalidRequest)
    assert "what" in wrong.message
    assert isinstance(await failure(shop.client("Tail").run_remote(object())), InvalidRequest)
    with pytest.raises(TypeError):
        shop.client("Tail").run_remote("a", "b")
    with pytest.raises(TypeError):
        shop.client("Sum").run_remote(start=3)


@pytest.mark.parametrize("what", ["object", "text"])
async def test_a_step_that_answers_with_garbage_is_a_typed_error(shop: Rig, what: str) -> None:
    error = await failure(shop.client("Shop").run_remote(["liar", what]))
    assert isinstance(error, StepFailed)
    assert error.reason == "bad_answer"
    assert "Item" in error.message


async def test_a_diamond_a_fan_out_and_the_same_class_twice(shop: Rig) -> None:
    assert await shop.client("Shop").run_remote(["a", "b", "c"]) == ["a", "b", "c", "end"]
    assert await shop.client("Shop").run_remote(["both", "a", "b"]) == ["a", "b", "end"]


async def test_errors_keep_class_status_and_the_stack_of_every_hop(shop: Rig) -> None:
    error = await failure(shop.client("Shop").run_remote(["value"]))
    assert isinstance(error, StepFailed)
    report = error.report  # pyright: ignore
    assert (report.kind, report.message, report.status) == ("ValueError", "bad value", 500)
    assert [hop.step for hop in report.hops] == ["Tail", "Middle", "Shop"]
    assert 'raise ValueError("bad value")' in report.hops[0].stack[-1].text
    assert all(hop.stack for hop in report.hops)
    assert str(report).splitlines()[-1] == "ValueError: bad value"
    known = await failure(shop.client("Shop").run_remote(["missing"]))
    assert isinstance(known, NotFound)
    assert (known.reason, known.hint) == ("no_such_thing", "look elsewhere")
    assert known.report.status == 404  # pyright: ignore


@pytest.mark.parametrize("way", ["both", "gather"])
async def test_the_first_error_cancels_its_siblings(shop: Rig, way: str) -> None:
    error = await failure(shop.client("Middle").run_remote([way, "sleep", "value"]))
    assert error.report.kind == "ValueError"  # pyright: ignore
    await until(lambda: shop.module.SEEN.get("woken") == shop.module.SEEN.get("asleep"), "the sibling was cancelled")


async def test_map_stops_at_the_first_error(shop: Rig) -> None:
    error = await failure(shop.client("Middle").run_remote(["sleep", "value", "a", "a"]))
    assert error.report.kind == "ValueError"  # pyright: ignore
    await until(lambda: shop.module.SEEN.get("woken", 0) == 1, "the sibling was cancelled")


async def test_a_deadline_goes_with_the_call_and_ends_the_work(shop: Rig) -> None:
    loop = asyncio.get_running_loop()
    began = loop.time()
    error = await failure(shop.client("Shop").call(["sleep"], within=0.3))
    assert isinstance(error, DeadlineExceeded)
    assert loop.time() - began < 5
    await until(lambda: shop.module.SEEN.get("woken") == 1, "the step at the end was cancelled")
    assert isinstance(await failure(shop.client("Shop").call(["a"], within=-1)), DeadlineExceeded)


async def test_cancelling_a_call_cancels_the_graph(shop: Rig) -> None:
    task = asyncio.create_task(shop.client("Shop").run_remote(["sleep"]))
    await until(lambda: shop.module.SEEN.get("asleep") == 1, "it runs")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await until(lambda: shop.module.SEEN.get("woken") == 1, "the step at the end was cancelled")


async def test_a_refusal_is_retried_with_pauses_and_in_the_end_raised(shop: Rig) -> None:
    assert await shop.client("Tail").run_remote("twice") == "twice"
    assert shop.module.SEEN["twice"] == 3
    error = await failure(shop.client("Tail").run_remote("busy"))
    assert isinstance(error, Overloaded)
    assert shop.module.SEEN["busy"] == 3


async def test_a_step_has_slots_and_a_queue(shop: Rig) -> None:
    client = shop.client("Narrow")
    host = shop.hosts["Narrow"]
    first = asyncio.create_task(client.run_remote("wait"))
    await until(lambda: host.slots.running == 1, "it runs")
    second = asyncio.create_task(client.call("queued", trace=True))
    await until(lambda: host.slots.waiting == 1, "one waits")
    assert isinstance(await failure(client.call("third", within=0.2)), Overloaded)
    first.cancel()
    trace = (await second).trace
    assert trace is not None
    assert trace.queued > 0


async def test_streams_both_ways(shop: Rig) -> None:
    assert await shop.client("Sum").run_remote(numbers(10), start=1) == 46
    doubled = [each async for each in shop.client("Doubler").run_remote(numbers(5))]
    assert doubled == [0, 2, 4, 6, 8]
    stopped = [each async for each in shop.client("Doubler").run_remote(numbers(1 << 20), stop=2)]
    assert stopped == [0, 2]
    piped = [each async for each in shop.client("Pipe").run_remote(numbers(4))]
    assert piped == ["€"] * 12


async def test_an_error_in_a_stream_comes_after_its_items(shop: Rig) -> None:
    got: list[str] = []

    async def read() -> None:
        async for letter in shop.client("Pipe").run_remote(numbers(9), fail=3):
            got.append(letter)

    error = await failure(read())
    assert got == ["€"] * 5
    assert [hop.step for hop in error.report.hops] == ["Letters", "Pipe"]  # pyright: ignore


async def test_an_error_of_the_caller_reaches_the_step(shop: Rig) -> None:
    async def broken() -> AsyncIterator[int]:
        yield 1
        raise KeyError("mine")

    error = await failure(shop.client("Sum").run_remote(broken()))
    assert error.report.kind == "KeyError"  # pyright: ignore
    assert [hop.step for hop in error.report.hops] == ["the caller", "Sum"]  # pyright: ignore


async def test_a_reader_that_stops_holds_a_window_at_most(shop: Rig) -> None:
    size = 10_000
    stream = shop.client("Arrays").run_remote(size, 1000)
    first = await anext(stream)
    assert first.shape == (size,)
    for _ in range(500):  # turns of the loop: whatever can be sent is sent
        await asyncio.sleep(0)
    assert shop.module.SEEN["arrays"] <= 2 + WINDOW // (size + OVERHEAD)
    rest = [each[0] async for each in stream]
    assert len(rest) == 999
    assert shop.module.SEEN["arrays"] == 1000


@pytest.mark.parametrize("size", [100_000, 1 << 20])
async def test_a_step_may_use_memory_again_that_it_gave_away(shop: Rig, size: int) -> None:
    got = [each async for each in shop.client("Reused").run_remote(size, 6)]
    assert [(int(each.min()), int(each.max())) for each in got] == [(number, number) for number in range(6)]


async def test_a_stream_that_is_left_is_cancelled(shop: Rig) -> None:
    stream = shop.client("Arrays").run_remote(100_000, 1000)
    await anext(stream)
    await stream.aclose()
    await until(lambda: shop.hosts["Arrays"].slots.running == 0, "the producer has ended")
    assert shop.module.SEEN["arrays"] < 20


async def test_a_trace_says_where_the_time_went(shop: Rig) -> None:
    answer = await shop.client("Shop").call(["a", "b"], trace=True)
    assert answer.trace is not None
    assert answer.trace.step == "Shop"
    assert [each.step for each in answer.trace.inner] == ["Middle", "Tail"]
    assert [each.step for each in answer.trace.inner[0].inner] == ["Tail", "Tail"]
    assert answer.trace.seconds >= answer.trace.inner[0].seconds
    lines = answer.waterfall.splitlines()
    assert [line.split()[0] for line in lines] == ["Shop", "Middle", "Tail", "Tail", "Tail"]
    assert (await shop.client("Letters").call("x", 2)).value == ["x", "x"]
    assert (await shop.client("Tail").call("x")).waterfall == ""
