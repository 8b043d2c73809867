"""The chain that the tests of chains run: a step for each thing that can go well or wrong."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from colonnade import chains
from colonnade.chains import Options, Step, depends, entry
from colonnade.wire.errors import NotFound, Overloaded

GATE = threading.Semaphore(0)
SEEN: dict[str, int] = {}
"""How often something happened, where the steps share this process."""


def seen(what: str) -> int:
    SEEN[what] = SEEN.get(what, 0) + 1
    return SEEN[what]


class Item(BaseModel):
    name: str
    price: float = 1.0


@dataclass
class Basket:
    items: list[Item]
    weights: NDArray[np.float32]
    note: str | None = None


class Pack(Step):
    """Every kind of value, there and back."""

    async def run_remote(self, basket: Basket, label: bytes, copies: int = 1) -> dict[str, Basket]:
        basket.weights *= copies
        return {f"{label.decode()}{number}": basket for number in range(copies)}


class Blobs(Step):
    def run_remote(self, data: bytes) -> bytes:
        """Sync: it runs in a thread."""
        return data[::-1]


class Busy(Step):
    """Sync, one at a time: `spin` in its own code until something stops it, or `hold` inside of a lock."""

    options = Options(concurrency=1, queue=1)

    def run_remote(self, what: str) -> str:
        try:
            seen(f"{what} began")
            while what == "spin":
                pass
            if what == "hold":
                GATE.acquire()
        finally:
            seen(f"{what} ended")
        return what


class Liar(Step):
    async def run_remote(self, what: str) -> Item:
        return {"object": object(), "text": "no item"}.get(what)  # pyright: ignore


class Tail(Step):
    """`what` is how it fails."""

    options = Options(idempotent=True)

    async def run_remote(self, what: str) -> str:
        match what:
            case "value":
                raise ValueError("bad value")
            case "missing":
                raise NotFound("no such thing", hint="look elsewhere", code="no_such_thing")
            case "busy":
                seen("busy")
                raise Overloaded("come back")
            case "twice":
                if seen("twice") < 3:
                    raise Overloaded("come back")
            case "sleep":
                try:
                    seen("asleep")
                    await asyncio.Event().wait()
                finally:
                    seen("woken")
            case "exit":
                os._exit(3)
        return what


class Middle(Step):
    def __init__(self, tail: Tail = depends(Tail), other: Tail = depends(Tail, name="Other")) -> None:
        self._tail = tail
        self._other = other

    async def run_remote(self, what: list[str]) -> list[str]:
        if what[0] == "both":
            return await chains.together(self._tail.run_remote(what[1]), self._other.run_remote(what[2]))
        if what[0] == "gather":
            return list(await asyncio.gather(self._tail.run_remote(what[1]), self._other.run_remote(what[2])))
        return await chains.map(self._tail.run_remote, what, limit=2)


class Letters(Step):
    """A stream out; `fail` is where it breaks."""

    async def run_remote(self, word: str, times: int, fail: int = -1) -> AsyncIterator[str]:
        for number in range(times):
            if number == fail:
                raise ValueError("no more letters")
            seen("letters")
            yield word


class Arrays(Step):
    async def run_remote(self, size: int, times: int) -> AsyncIterator[NDArray[np.uint8]]:
        for number in range(times):
            seen("arrays")
            yield np.full(size, number % 256, np.uint8)


class Reused(Step):
    """Gives the same memory away again and again, with something else in it."""

    async def run_remote(self, size: int, times: int) -> AsyncIterator[NDArray[np.uint8]]:
        array = np.zeros(size, np.uint8)
        for number in range(times):
            array[:] = number
            yield array


class Sum(Step):
    """A stream in."""

    async def run_remote(self, numbers: AsyncIterator[int], start: int = 0) -> int:
        async for number in numbers:
            start += number
        return start


class Doubler(Step):
    """Streams in both directions; stops early when it is told to."""

    async def run_remote(self, numbers: AsyncIterator[int], stop: int = 1 << 30) -> AsyncIterator[int]:
        async for number in numbers:
            if number >= stop:
                return
            yield 2 * number


class Mirror(Step):
    """Bytes and numbers, there and back; after `most` of them it reads no more."""

    async def run_remote(self, pieces: AsyncIterator[bytes | int], most: int = 1 << 30) -> AsyncIterator[bytes | int]:
        try:
            async for piece in pieces:
                yield piece
                if seen("mirrored") == most:
                    await asyncio.Event().wait()
        finally:
            seen("mirror put away")


class Pipe(Step):
    """Hands a stream on, and one back."""

    def __init__(self, doubler: Doubler = depends(Doubler), letters: Letters = depends(Letters)) -> None:
        self._doubler = doubler
        self._letters = letters

    async def run_remote(self, numbers: AsyncIterator[int], fail: int = -1) -> AsyncIterator[str]:
        async for number in self._doubler.run_remote(numbers):
            async for letter in self._letters.run_remote("€", number, fail):
                yield letter


class Narrow(Step):
    options = Options(concurrency=1, queue=1)

    async def run_remote(self, what: str) -> str:
        if what == "wait":
            await asyncio.Event().wait()
        return what


@entry
class Shop(Step):
    """A diamond: both ways lead to Tail."""

    def __init__(
        self,
        middle: Middle = depends(Middle),
        tail: Tail = depends(Tail, timeout=10),
        pack: Pack = depends(Pack),
        blobs: Blobs = depends(Blobs),
        liar: Liar = depends(Liar),
        arrays: Arrays = depends(Arrays),
        reused: Reused = depends(Reused),
        total: Sum = depends(Sum),
        pipe: Pipe = depends(Pipe),
        narrow: Narrow = depends(Narrow),
        mirror: Mirror = depends(Mirror),
        busy: Busy = depends(Busy),
    ) -> None:
        self._middle = middle
        self._tail = tail
        self._liar = liar

    async def run_remote(self, what: list[str]) -> list[str]:
        if what[0] == "liar":
            return [(await self._liar.run_remote(what[1])).name]
        return [*await self._middle.run_remote(what), await self._tail.run_remote("end")]
