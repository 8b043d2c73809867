"""Running a model's methods: whatever they are, sync or not, whole or in pieces, within the limits of the package."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import inspect
import logging
import traceback
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from colonnade.packages.contract import Contract, Method, ModelDefinitionError
from colonnade.replica.package.pieces import Pieces
from colonnade.replica.package.refusals import Refused, from_http, model_failed

_log = logging.getLogger(__name__)

THREADS = 40
"""Sync methods that run at the same time, at least."""


class Slots:
    """How many predictions run at once. `reject` refuses the next one instead of queueing it."""

    def __init__(self, limit: int, max_waiting: int, reject: bool, changed: Callable[[int, int], None]) -> None:
        self.limit = limit
        self.running = 0
        self.waiting = 0
        self._semaphore = asyncio.Semaphore(limit)
        self._max_waiting = max_waiting
        self._reject = reject
        self._changed = changed

    async def take(self) -> None:
        """Raises Refused when the package says not to queue, or the queue is full."""
        if self._semaphore.locked():
            if self._reject:
                raise Refused(429, f"all {self.limit} slots are taken", "600", retry_after=1)
            if self.waiting >= self._max_waiting:
                raise Refused(503, f"{self.waiting} requests are waiting", "600", retry_after=1)
        self.waiting += 1
        try:
            await self._semaphore.acquire()
        finally:
            self.waiting -= 1
        self.running += 1
        self._changed(self.running, self.waiting)

    def give(self) -> None:
        self.running -= 1
        self._semaphore.release()
        self._changed(self.running, self.waiting)


class Calls:
    """`stream_gap`: seconds between two pieces of a stream, at most."""

    def __init__(self, slots: Slots, stream_gap: float, shown: str) -> None:
        self.slots = slots
        self._gap = stream_gap
        self._shown = shown
        self._threads = ThreadPoolExecutor(max(THREADS, min(slots.limit, 512)), "model")

    async def predict(self, contract: Contract, inputs: Any, request: Request) -> Any:
        """preprocess, predict, postprocess. Pieces where the model answers in pieces. Raises Refused."""
        if before := contract.get("preprocess"):
            inputs = await self.run(before, inputs, request)
        predict, after = contract.methods["predict"], contract.get("postprocess")
        await self.slots.take()
        kept = False
        try:
            result = await self.run(predict, inputs, request)
            if after is not None and (isinstance(result, Response) or _generates(result)):
                self._misuse("predict returns a response or a stream, so there is nothing for postprocess to work on")
            if _generates(result):
                kept = True
                return self._pieces(result, self.slots.give)
        finally:
            if not kept:
                self.slots.give()
        return result if after is None else await self.run(after, result, request)

    async def other(self, method: Method, inputs: Any, request: Request) -> Any:
        """A method with a path of its own; it takes no slot."""
        result = await self.run(method, inputs, request)
        return self._pieces(result, _nothing) if _generates(result) else result

    async def run(self, method: Method, inputs: Any, request: Request) -> Any:
        """Raises Refused for whatever the package's code raises; it is logged from the first frame of its own on."""
        if await request.is_disconnected():
            raise Refused(499, f"Client disconnected, skipping `{method.name}`.", "600")
        arguments = method.arguments(inputs, request)
        try:
            if method.is_generator:
                return method.call(*arguments)
            if method.is_async:
                return await method.call(*arguments)
            result = await self.in_thread(method.call, *arguments)
            return await result if inspect.isawaitable(result) else result
        except HTTPException as error:
            _log.error("%s raised %s: %s", method.name, error.status_code, error.detail)
            raise from_http(error) from error
        except Exception as error:
            self.tell(method.name, error)
            raise model_failed() from error

    async def in_thread(self, call: Callable[..., Any], *arguments: Any) -> Any:
        work = functools.partial(contextvars.copy_context().run, call, *arguments)
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    def tell(self, name: str, error: BaseException) -> None:
        """Log a failure of the package's code, without our own frames."""
        frames = traceback.extract_tb(error.__traceback__)
        own = next((index for index, each in enumerate(frames) if each.filename.endswith(self._shown)), 0)
        text = "".join([*traceback.format_list(frames[own:]), *traceback.format_exception_only(error)])
        _log.error("%s failed\n%s", name, text.rstrip())

    def close(self) -> None:
        """Threads that hang are left behind: the process ends without them."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _misuse(self, message: str) -> None:
        error = ModelDefinitionError(message)
        self.tell("predict", error)
        raise model_failed()

    def _pieces(self, generator: Any, done: Callable[[], None]) -> Pieces:
        source = generator if inspect.isasyncgen(generator) else _stepped(generator, self.in_thread)
        return Pieces(source, self._gap, done, self.tell)


def _generates(value: Any) -> bool:
    return inspect.isgenerator(value) or inspect.isasyncgen(value)


def _nothing() -> None:
    return None


_END = object()


async def _stepped(generator: Any, in_thread: Callable[..., Any]) -> AsyncIterator[Any]:
    """A sync generator, each step in a thread; it is closed when nobody goes on with it."""
    try:
        while (piece := await in_thread(next, generator, _END)) is not _END:
            yield piece
    finally:
        await in_thread(generator.close)
