"""A sync call in a thread that can be interrupted: an exception is raised in it from outside, between two of its own
instructions. What waits inside the operating system or a library notices when it comes back from there."""

from __future__ import annotations

import asyncio
import contextvars
import ctypes
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any


class Interrupted(BaseException):
    """Nobody waits for the answer any more. Not an Exception, so that a step's `except Exception` lets it pass."""


class Interruptible:
    """One call. `ended` is done when the thread is free again, whatever became of those who waited."""

    def __init__(self, pool: ThreadPoolExecutor, call: Callable[[], Any]) -> None:
        self._call = call
        self._lock = threading.Lock()
        self._thread = 0
        self._dropped = False
        context = contextvars.copy_context()
        self.ended: asyncio.Future[Any] = asyncio.get_running_loop().run_in_executor(pool, context.run, self._work)

    async def result(self) -> Any:
        """Raises what the call raises. Cancelling this interrupts the call."""
        try:
            return await asyncio.shield(self.ended)
        except asyncio.CancelledError:
            self._interrupt()
            self.ended.add_done_callback(_seen)
            raise

    def _work(self) -> Any:
        with self._lock:
            if self._dropped:
                return None
            self._thread = threading.get_ident()
        try:
            return self._call()
        except Interrupted:
            return None
        finally:
            self._leave()

    def _leave(self) -> None:
        """From here on no exception is on its way: the thread belongs to the pool again."""
        with self._lock:
            _raise_in(self._thread, None)
            self._thread = 0

    def _interrupt(self) -> None:
        with self._lock:
            self._dropped = True
            if self._thread:
                _raise_in(self._thread, Interrupted)


def _raise_in(thread: int, kind: type[BaseException] | None) -> None:
    """None takes back one that was not raised yet."""
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), None if kind is None else ctypes.py_object(kind))


def _seen(ended: asyncio.Future[Any]) -> None:
    if not ended.cancelled():
        ended.exception()
