"""An event loop on a thread of its own: the engine's client lives there, whoever asks."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

from colonnade.wire.errors import SetupError

T = TypeVar("T")


class Aside:
    """`run` from any thread but its own, `join` from any other loop."""

    def __init__(self, name: str) -> None:
        self._loop = asyncio.SelectorEventLoop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=name, daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Raises what it raises, and SetupError when it is closed."""
        future = self._submit(work)
        try:
            return future.result()
        except BaseException:  # Ctrl-C, too, ends the work
            future.cancel()
            raise

    async def join(self, work: Coroutine[Any, Any, T]) -> T:
        """The same without blocking; cancelled with its caller."""
        return await asyncio.wrap_future(self._submit(work))

    def tell(self, call: Callable[[], None]) -> None:
        """Without waiting; nothing when it is closed."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(call)

    def _submit(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        if self._loop.is_closed():
            work.close()
            raise SetupError("the engine is closed", hint="make another one, or close it later")
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def close(self) -> None:
        """Returns when its thread has ended. Again: nothing."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()
