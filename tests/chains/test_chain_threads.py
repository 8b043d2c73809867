"""Sync steps: a call that nobody waits for is interrupted, and its slot is free when its thread is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from chain_rig import Rig, rig, until

from colonnade.chains.interruptible import Interruptible
from colonnade.wire.errors import DeadlineExceeded, Overloaded


@pytest.fixture(params=["inline", "unix"])
async def shop(request: pytest.FixtureRequest) -> AsyncIterator[Rig]:
    async with rig(request.param) as made:
        yield made


async def test_a_sync_step_that_is_cancelled_is_interrupted(shop: Rig) -> None:
    busy = shop.client("Busy")
    spinning = asyncio.create_task(busy.call("spin"))
    await until(lambda: shop.module.SEEN.get("spin began") == 1, "it spins")
    spinning.cancel()
    await until(lambda: shop.module.SEEN.get("spin ended") == 1, "it was interrupted")
    assert await busy.run_remote("a") == "a"  # its thread and its slot are free


async def test_a_sync_step_that_takes_too_long_is_interrupted(shop: Rig) -> None:
    busy = shop.client("Busy")
    with pytest.raises(DeadlineExceeded):
        await busy.call("spin", within=0.1)
    await until(lambda: shop.hosts["Busy"].slots.running == 0, "its thread is free")
    assert shop.module.SEEN.get("spin ended") == shop.module.SEEN.get("spin began")  # none, on a machine that is late
    assert await busy.run_remote("a") == "a"


async def test_a_thread_that_cannot_be_interrupted_keeps_its_slot(shop: Rig) -> None:
    busy, host = shop.client("Busy"), shop.hosts["Busy"]
    with pytest.raises(DeadlineExceeded):
        await busy.call("hold", within=0.1)
    await until(lambda: shop.module.SEEN.get("hold began") == 1, "it holds")
    assert host.slots.running == 1
    waiting = asyncio.create_task(busy.call("a"))
    await until(lambda: host.slots.waiting == 1, "the next call waits")
    with pytest.raises(Overloaded):
        await busy._handle._ask(busy._handle._begin(busy.contract.bind(("b",), {})[0], None, None))
    shop.module.GATE.release()
    assert (await waiting).value == "a"


async def test_an_interruption_hits_its_own_call_and_no_other() -> None:
    """Calls of one thread, each interrupted at another moment of its life: all others give their answer."""
    with ThreadPoolExecutor(1) as pool:
        for turn in range(200):
            first = Interruptible(pool, lambda: sum(range(200)))
            second = Interruptible(pool, lambda turn=turn: turn)
            waiting = asyncio.create_task(first.result())
            for _ in range(turn % 7):
                await asyncio.sleep(0)
            waiting.cancel()
            assert await second.result() == turn
            await asyncio.wait([first.ended])


async def test_what_a_call_raises_after_nobody_waits_is_dropped() -> None:
    with ThreadPoolExecutor(1) as pool:
        began = asyncio.Event()
        loop = asyncio.get_running_loop()

        def stubborn() -> None:
            loop.call_soon_threadsafe(began.set)
            try:
                while True:
                    pass
            finally:
                raise ValueError("in the middle of clearing up")

        call = Interruptible(pool, stubborn)
        waiting = asyncio.create_task(call.result())
        await began.wait()
        waiting.cancel()
        await asyncio.wait([call.ended, waiting])
        assert waiting.cancelled()
