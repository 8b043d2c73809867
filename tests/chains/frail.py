"""A chain whose processes are killed, stopped and orphaned by the tests."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from colonnade import chains
from colonnade.chains import Options, Step, depends, entry


async def work(mark: str) -> int:
    """Says in the file `mark` who works; ends when `mark`.go is there; says in `mark`.cancelled if it may not."""
    Path(mark).write_text(str(os.getpid()))
    try:
        while not Path(f"{mark}.go").exists():
            await asyncio.sleep(0.01)
    except asyncio.CancelledError:
        Path(f"{mark}.cancelled").touch()
        raise
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
