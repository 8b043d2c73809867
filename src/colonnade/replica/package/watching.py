"""Work that ends when its client goes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator

from colonnade.replica.connection import Disconnected, Receive


@contextlib.asynccontextmanager
async def until_gone(receive: Receive) -> AsyncGenerator[None]:
    """Cancels the body when the client disconnects, and raises Disconnected in its place."""
    task = asyncio.current_task()
    assert task is not None
    gone = False

    async def listen() -> None:
        nonlocal gone
        while (await receive())["type"] != "http.disconnect":
            continue
        gone = True
        task.cancel()

    listener = asyncio.create_task(listen(), name="a client's going")
    try:
        yield
    except asyncio.CancelledError:
        if not gone:
            raise
        task.uncancel()
        raise Disconnected from None
    finally:
        listener.cancel()
