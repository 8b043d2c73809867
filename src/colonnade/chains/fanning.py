"""Many calls at once. The first error cancels the others, and is the one that is raised."""

from __future__ import annotations

import asyncio
import codecs
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from typing import Any, TypeVar

A = TypeVar("A")
R = TypeVar("R")


async def map(call: Callable[[A], Awaitable[R]], items: Iterable[A], *, limit: int = 16) -> list[R]:
    """The answers in the order of the items, at most `limit` calls at once; `items` is read no faster than that."""
    if limit < 1:
        raise ValueError(f"limit must be at least 1, got {limit}")
    answers: dict[int, R] = {}
    numbered = enumerate(items)

    async def work() -> None:
        for number, item in numbered:
            answers[number] = await call(item)

    await _all([asyncio.ensure_future(work()) for _ in range(limit)])
    return [answers[number] for number in range(len(answers))]


async def together(*calls: Awaitable[Any]) -> list[Any]:
    """As `asyncio.gather`, but that an error leaves none of the others running."""
    tasks = [asyncio.ensure_future(each) for each in calls]
    await _all(tasks)
    return [task.result() for task in tasks]


async def _all(tasks: Sequence[asyncio.Future[Any]]) -> None:
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION) if tasks else (set(), set())
        for task in tasks:
            if task in done and not task.cancelled():
                task.result()
    finally:
        left = [task for task in tasks if not task.done()]
        for task in left:
            task.cancel()
        if left:
            await asyncio.wait(left)
        for task in tasks:
            if task.done() and not task.cancelled():
                task.exception()  # seen: one error is raised, the others came after it


async def text(pieces: AsyncIterator[bytes]) -> AsyncIterator[str]:
    """UTF-8 that was cut anywhere, as text that is cut between characters. Raises UnicodeDecodeError."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    async for piece in pieces:
        if said := decoder.decode(piece):
            yield said
    if said := decoder.decode(b"", final=True):
        yield said
