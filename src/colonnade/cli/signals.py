"""Ctrl-C and its kin as an event, so that stopping has an order."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Coroutine
from typing import Any

STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stopped(Exception):
    """Somebody wants us to stop; `number` is the signal's."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


async def until_stopped(work: Coroutine[Any, Any, None], hurry: Callable[[], None]) -> None:
    """Runs `work`, and cancels it at the first signal; a second one calls `hurry`. Raises Stopped when cut short."""
    loop = asyncio.get_running_loop()
    task = asyncio.create_task(work)
    told: list[int] = []

    def hear(number: int) -> None:
        told.append(number)
        if len(told) == 1:
            task.cancel()
        else:
            hurry()

    for number in STOPS:
        loop.add_signal_handler(number, hear, number)
    try:
        await task
    except asyncio.CancelledError:
        if not told:
            raise
    finally:
        for number in STOPS:
            loop.remove_signal_handler(number)
    if told:
        raise Stopped(told[0])
