"""The same chain for Truss Chains."""

from time import perf_counter

import numpy as np
import pydantic
import truss_chains as chains  # pyright: ignore[reportMissingImports]
from truss_chains import pydantic_numpy  # pyright: ignore[reportMissingImports]


class Block(pydantic.BaseModel):
    array: pydantic_numpy.NumpyArrayField


class Echo(chains.ChainletBase):
    async def run_remote(self, text: str) -> str:
        return text


class Sink(chains.ChainletBase):
    async def run_remote(self, block: Block) -> int:
        return block.array.array.nbytes


@chains.mark_entrypoint
class Timer(chains.ChainletBase):
    def __init__(
        self,
        echo: Echo = chains.depends(Echo),  # noqa: B008
        sink: Sink = chains.depends(Sink, use_binary=True),  # noqa: B008
    ) -> None:
        self._echo = echo
        self._sink = sink

    async def run_remote(self, what: str, calls: int, size: int) -> list[float]:
        text, block = "x" * size, Block(array=pydantic_numpy.NumpyArrayField(np.zeros(size, np.uint8)))
        found: list[float] = []
        for _ in range(calls):
            began = perf_counter()
            if what == "text":
                await self._echo.run_remote(text)
            else:
                await self._sink.run_remote(block)
            found.append(perf_counter() - began)
        return found
