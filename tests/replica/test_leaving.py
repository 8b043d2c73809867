"""The end of a serving process: it waits for what is in flight, and no longer than it was told to."""

from __future__ import annotations

import asyncio

from colonnade.replica.leaving import Leaving


async def test_it_waits_for_what_is_held() -> None:
    leaving = Leaving()
    with leaving.exchange():
        leaving.hold()
        leaving.end("", 60.0)
        await asyncio.sleep(0)
        assert (leaving.held, leaving.gone.done()) == (2, False)
        leaving.let()
    assert await leaving.gone == ""


async def test_what_is_held_too_long_is_cut_off() -> None:
    cut: list[str] = []
    leaving = Leaving(cut.append)
    leaving.hold()
    leaving.end("why", 0.0)
    assert await leaving.gone == "why"
    assert cut == ["the replica is leaving"]


async def test_the_last_call_counts_and_the_first_end() -> None:
    leaving = Leaving()
    leaving.hold()
    leaving.end("first", 60.0)
    await asyncio.sleep(0)
    leaving.end("second", 0.0)
    assert await leaving.gone == "second"
    leaving.let()
    leaving.end("third", 0.0)
    await leaving.until_quiet(60.0, "nothing is")
    assert await leaving.gone == "second"


async def test_it_stays_for_a_while_though_it_is_quiet() -> None:
    leaving, loop = Leaving(), asyncio.get_running_loop()
    before = loop.time()
    leaving.end("", 1.0, least=0.05)
    await leaving.gone
    assert loop.time() - before >= 0.049
