"""A chain whose processes are killed, stopped and orphaned by the tests."""

from __future__ import annotations

import asyncio
import os

from colonnade import chains
from colonnade.chains import Options, Step, depends, entry


async def work(mark: str) -> int:
    """Says into the pipe `mark` who works; ends when the pipe `mark`.go has something; says so if it may not."""
    said = os.open(mark, os.O_WRONLY)
    go = os.open(f"{mark}.go", os.O_RDONLY | os.O_NONBLOCK)
    came = asyncio.Event()
    asyncio.get_running_loop().add_reader(go, came.set)
    try:
        os.write(said, f"{os.getpid()}\n".encode())
        await came.wait()  # what is in it stays, for the next call
    except asyncio.CancelledError:
        os.write(said, b"cancelled\n")
        raise
    finally:
        asyncio.get_running_loop().remove_reader(go)
        os.close(go)
        os.close(said)
    return os.getpid()


class Worker(Step):
    async def run_remote(self, mark: str) -> int:
        return await work(mark)


class Safe(Step):
    options = Options(idempotent=True)

    async def run_remote(self, mark: str) -> int:
        return await work(mark)


@entry
class Front(Step):
    def __init__(self, worker: Worker = depends(Worker), safe: Safe = depends(Safe)) -> None:
        self._worker = worker
        self._safe = safe

    async def run_remote(self, worker: str, safe: str) -> list[int]:
        return await chains.together(self._worker.run_remote(worker), self._safe.run_remote(safe))
