"""A chain of three steps whose answers and errors must not depend on where they run."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import numpy as np
from numpy.typing import NDArray

from colonnade import chains
from colonnade.chains import Options, Step, depends, entry
from colonnade.wire.errors import NotFound


class Far(Step):
    async def run_remote(self, what: str, array: NDArray[np.int64]) -> NDArray[np.int64]:
        match what:
            case "value":
                raise ValueError("bad value")
            case "missing":
                raise NotFound("no such thing", hint="look elsewhere", code="no_such_thing")
            case "liar":
                return "no array"  # pyright: ignore
            case "never":
                await asyncio.Event().wait()
        array *= 2
        return array


class Between(Step):
    options = Options(concurrency=4)

    def __init__(self, far: Far = depends(Far)) -> None:
        self._far = far

    async def run_remote(self, numbers: AsyncIterator[int], what: str) -> AsyncIterator[bytes]:
        async for number in numbers:
            array = np.full(1 << number, number)
            yield (await self._far.run_remote(what if number == 17 else "", array)).tobytes()
            assert array[0] == number  # the receiver's own


@entry
class Near(Step):
    def __init__(self, between: Between = depends(Between), far: Far = depends(Far)) -> None:
        self._between = between
        self._far = far

    async def run_remote(self, what: str) -> list[int]:
        async def numbers() -> AsyncIterator[int]:
            for number in (0, 3, 17, 4):
                yield number

        if what.startswith("both "):
            await chains.map(lambda each: self._far.run_remote(each, np.zeros(2, np.int64)), what.split()[1:])
        return [sum(piece) async for piece in self._between.run_remote(numbers(), what)]
