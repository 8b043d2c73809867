"""Our chain of the comparison: a step that times its own calls of others, as those of its rivals do."""

from __future__ import annotations

from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from colonnade.chains import Step, depends, entry


class Echo(Step):
    async def run_remote(self, text: str) -> str:
        return text


class Sink(Step):
    async def run_remote(self, array: NDArray[np.uint8]) -> int:
        return array.nbytes


@entry
class Timer(Step):
    def __init__(self, echo: Echo = depends(Echo), sink: Sink = depends(Sink)) -> None:
        self._echo = echo
        self._sink = sink

    async def run_remote(self, what: str, calls: int, size: int) -> list[float]:
        """Seconds of each of `calls` calls, one after the other."""
        text, array = "x" * size, np.zeros(size, np.uint8)
        found: list[float] = []
        for _ in range(calls):
            began = perf_counter()
            if what == "text":
                await self._echo.run_remote(text)
            else:
                await self._sink.run_remote(array)
            found.append(perf_counter() - began)
        return found
