"""Runs a step for its callers, however they reach it: slots, time, the request around it, and how it ended."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from time import perf_counter
from typing import Any

from colonnade.chains.contract import METHOD, Contract
from colonnade.chains.frames import Parts
from colonnade.chains.interruptible import Interruptible
from colonnade.chains.notes import Closing, Order, Report, Span
from colonnade.chains.options import Options
from colonnade.chains.reports import report_of
from colonnade.chains.request import CURRENT, Request
from colonnade.chains.slots import Slots
from colonnade.wire.errors import DeadlineExceeded

Send = Callable[[Parts], Awaitable[None]]
Receive = Callable[[], Awaitable[Parts | None]]


class _Held:
    """A slot. A thread keeps it until it ends, also where nobody waits for it any more."""

    def __init__(self, slots: Slots) -> None:
        self._slots = slots
        self.thread: asyncio.Future[Any] | None = None

    def give(self) -> None:
        if self.thread is None or self.thread.done():
            self._slots.give()
        else:
            self.thread.add_done_callback(lambda _: self._slots.give())


class Host:
    """One instance of a step. `answer` never raises but for cancellation: an error is in the closing."""

    def __init__(self, name: str, step: Any, contract: Contract, options: Options) -> None:
        self.name = name
        self.contract = contract
        self._method = getattr(step, METHOD)
        self._threads = None if contract.signature.waits else ThreadPoolExecutor(options.concurrency, name)
        self.slots = Slots(name, options.concurrency, options.queue)

    async def answer(self, order: Order, parts: Parts, receive: Receive, send: Send) -> tuple[Parts, Closing]:
        """`receive` gives the caller's items, None at their end; `send` takes the step's, when there is credit."""
        deadline = asyncio.get_running_loop().time() + order.budget
        request = Request(order.request, deadline, perf_counter(), order.trace)
        request.owner = asyncio.current_task()
        token = CURRENT.set(request)
        answer: Parts = ()
        report = None
        limit = asyncio.timeout_at(request.deadline)
        try:
            async with limit:
                answer = await self._in_slot(request, parts, receive, send)
        except Exception as error:
            report = self._report(error, order.budget, limit.expired())
        finally:
            CURRENT.reset(token)
            request.close()
        return answer, Closing(report, self._span(request, report) if order.trace else None)

    def _report(self, error: Exception, budget: float, late: bool) -> Report:
        if not (late and isinstance(error, TimeoutError)):
            return report_of(error, self.name)
        said = DeadlineExceeded(f"step {self.name} did not answer in the {budget:.3g} s that it had")
        at = error.__cause__ or error.__context__ or error
        return report_of(said.with_traceback(at.__traceback__), self.name)

    def _span(self, request: Request, report: Report | None) -> Span:
        seconds = perf_counter() - request.started
        outcome = report.code if report else "ok"
        return Span(self.name, 0.0, seconds, request.queued, outcome, tuple(request.spans))

    async def _in_slot(self, request: Request, parts: Parts, receive: Receive, send: Send) -> Parts:
        if self.slots.full:
            await self.slots.wait()
            request.queued = perf_counter() - request.started
        else:
            self.slots.take()
        held = _Held(self.slots)
        try:
            return await self._run(self.contract.decode_arguments(parts), receive, send, held)
        finally:
            held.give()

    async def _run(self, arguments: dict[str, Any], receive: Receive, send: Send, held: _Held) -> Parts:
        signature = self.contract.signature
        if signature.feed:
            arguments[signature.feed] = self._items(receive)
        if signature.streams:
            async with contextlib.aclosing(self._method(**arguments)) as items:
                async for item in items:
                    await send(self.contract.encode_answer(item))
            return ()
        if signature.waits:
            return self.contract.encode_answer(await self._method(**arguments))
        assert self._threads is not None
        call = Interruptible(self._threads, functools.partial(self._method, **arguments))
        held.thread = call.ended
        return self.contract.encode_answer(await call.result())

    async def _items(self, receive: Receive) -> AsyncIterator[Any]:
        while (parts := await receive()) is not None:
            yield self.contract.decode_item(parts)
