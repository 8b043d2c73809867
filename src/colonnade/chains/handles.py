"""What a step holds in place of another: `run_remote` as the other has it, with time, retries and trace around it."""

from __future__ import annotations

import asyncio
import random
import uuid
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

import msgspec

from colonnade.chains.contract import Contract
from colonnade.chains.deadlines import call_budget, hop_budget
from colonnade.chains.frames import Buffer, Parts
from colonnade.chains.links import Link, Talk, Unreachable
from colonnade.chains.notes import Closing, Order, Report, Span
from colonnade.chains.reports import error_of
from colonnade.chains.request import CURRENT, Request
from colonnade.chains.retries import Failure, RetryBudget, pause, seek
from colonnade.wire.errors import CapacityError, ColonnadeError, DeadlineExceeded

ENDLESS = nullcontext()
MOST_SPANS = 1000
"""Of a step's own calls in one request: the first ones are in its trace."""


@dataclass(frozen=True)
class Edge:
    """`step` is the callee's name; `timeout` and `edge_timeout` are the step's bound and the edge's, in seconds."""

    step: str
    timeout: float
    edge_timeout: float | None = None
    retries: int = 2
    idempotent: bool = False


@dataclass
class Calling:
    """One call from its start to its end; several tries at most."""

    order: Order
    deadline: float
    budget: float
    began: float
    request: Request | None
    parts: list[Buffer]
    feed: AsyncIterator[Parts] | None
    attempt: int = 0
    sought: int = 0
    waited: float = 0.0


@dataclass
class Root:
    """A call from outside of any step: the request that it begins."""

    id: str = field(default_factory=lambda: f"req_{uuid.uuid4().hex}")
    trace: bool = False
    shown: bool = False
    """Whether the one who asked gets the trace too."""
    timeout: float | None = None
    spans: list[Span] = field(default_factory=list)


class Handle:
    def __init__(self, edge: Edge, contract: Contract, link: Link) -> None:
        self._edge = edge
        self._contract = contract
        self._link = link
        self._budget = RetryBudget()
        self._noise = random.random

    def run_remote(self, *args: Any, **kwargs: Any) -> Any:
        """To be awaited, or iterated over, as the step's own is. Raises what the step raises (`docs/chains.md`)."""
        arguments, feed = self._contract.bind(args, kwargs)
        return self.start(arguments, feed, None)

    def start(self, arguments: Any, feed: AsyncIterator[Any] | None, root: Root | None) -> Any:
        """The same with bound arguments; `root` for a call that no request is around."""
        return self._stream(arguments, feed, root) if self._contract.streams else self._call(arguments, feed, root)

    async def _call(self, arguments: Any, feed: AsyncIterator[Any] | None, root: Root | None) -> Any:
        calling = self._begin(arguments, feed, root)
        while True:
            try:
                async with self._limit(calling):
                    answer, closing = await self._ask(calling)
            except (ColonnadeError, TimeoutError) as error:
                await self._again(calling, self._failed(calling, error, root))
                continue
            self._traced(calling, closing, "ok", root)
            return self._contract.decode_answer(answer, self._edge.step)

    async def _ask(self, calling: Calling) -> tuple[Parts, Closing]:
        talk = await self._link.open(self._order(calling), calling.parts, calling.feed)
        try:
            answer, closing = await talk.result()
        except BaseException:
            talk.abandon()
            raise
        _raise(closing)
        return answer, closing

    async def _stream(self, arguments: Any, feed: AsyncIterator[Any] | None, root: Root | None) -> AsyncIterator[Any]:
        calling = self._begin(arguments, feed, root)
        while True:
            talk: Talk | None = None
            given = False
            try:
                async with self._limit(calling):
                    talk = await self._link.open(self._order(calling), calling.parts, calling.feed)
                while (parts := await self._next(calling, talk)) is not None:
                    item = self._contract.decode_answer(parts, self._edge.step)
                    given = True
                    yield item
                _raise(talk.closing)
                self._traced(calling, talk.closing, "ok", root)
            except (ColonnadeError, TimeoutError) as error:
                failure = self._failed(calling, error, root)
                if given:
                    raise failure from error
                await self._again(calling, failure)
                continue
            finally:
                if talk is not None:
                    talk.abandon()
            return

    async def _next(self, calling: Calling, talk: Talk) -> Parts | None:
        async with self._limit(calling):
            return await talk.next()

    def _begin(self, arguments: Any, feed: AsyncIterator[Any] | None, root: Root | None) -> Calling:
        """Raises DeadlineExceeded where no time is left, and InvalidRequest for what cannot travel."""
        parts = self._contract.encode_arguments(arguments)
        now = asyncio.get_running_loop().time()
        request = CURRENT.get() if root is None else None
        left = request.deadline - now if request else root.timeout if root else None
        budget = call_budget(left, self._edge.edge_timeout, self._edge.timeout)
        if budget <= 0:
            raise DeadlineExceeded(f"no time is left to call step {self._edge.step}", hint=self._knob())
        if request is not None:
            request.joined(asyncio.current_task())
        self._budget.called()
        name, trace = (request.id, request.trace) if request else (root.id, root.trace) if root else ("", False)
        order = Order(budget, name, trace, self._contract.signature.feed != "")
        items = None if feed is None else self._encoded(feed)
        return Calling(order, now + budget, budget, perf_counter(), request, parts, items)

    def _order(self, calling: Calling) -> Order:
        calling.attempt += 1
        left = calling.deadline - asyncio.get_running_loop().time()
        return Order(hop_budget(left), calling.order.request, calling.order.trace, calling.order.feeds)

    def _limit(self, calling: Calling) -> AbstractAsyncContextManager[object]:
        return ENDLESS if self._link.keeps_time else asyncio.timeout_at(calling.deadline)

    async def _encoded(self, feed: AsyncIterator[Any]) -> AsyncIterator[Parts]:
        async for item in feed:
            yield self._contract.encode_item(item)

    def _failed(self, calling: Calling, error: Exception, root: Root | None) -> ColonnadeError:
        """The error as the caller is to see it; the try is in the trace."""
        if isinstance(error, TimeoutError):
            error = DeadlineExceeded(
                f"step {self._edge.step} did not answer in the {calling.budget:.3g} s that it had", hint=self._knob()
            )
        assert isinstance(error, ColonnadeError)
        self._traced(calling, Closing(span=getattr(error, "span", None)), error.reason, root)
        return error

    async def _again(self, calling: Calling, error: ColonnadeError) -> None:
        """Returns when the call is to be made again; raises its error when it is not."""
        left = calling.deadline - asyncio.get_running_loop().time()
        if isinstance(error, Unreachable):
            calling.attempt -= 1
            calling.sought += 1
            seconds = seek(calling.sought, calling.waited, left, self._noise())
            calling.waited += seconds or 0.0
        else:
            seconds = self._pause(calling, error, left)
        if seconds is None:
            raise error
        await asyncio.sleep(seconds)

    def _pause(self, calling: Calling, error: ColonnadeError, left: float) -> float | None:
        if calling.feed is not None:  # what was fed is gone
            return None
        return pause(
            Failure(error.retryable and not isinstance(error, DeadlineExceeded), _carried(error)),
            idempotent=self._edge.idempotent,
            attempt=calling.attempt,
            retries=self._edge.retries,
            left=left,
            noise=self._noise(),
            budget=self._budget,
        )

    def _traced(self, calling: Calling, closing: Closing, outcome: str, root: Root | None) -> None:
        if not calling.order.trace:
            return
        seconds = perf_counter() - calling.began
        start = calling.began - calling.request.started if calling.request else 0.0
        span = closing.span
        if span is None:
            placed = Span(self._edge.step, start, seconds, outcome=outcome)
        else:
            hop = max(0.0, seconds - span.seconds) / 2
            placed = msgspec.structs.replace(span, start=start + hop)
        spans = calling.request.spans if calling.request else root.spans if root else []
        if len(spans) < MOST_SPANS:  # a call may last for hours
            spans.append(placed)

    def _knob(self) -> str:
        return f"options.timeout of {self._edge.step}, or the timeout of the edge or the request"


def _raise(closing: Closing) -> None:
    if closing.report is not None:
        error = error_of(closing.report)
        error.span = closing.span  # pyright: ignore[reportAttributeAccessIssue]
        raise error


def _carried(error: ColonnadeError) -> bool:
    """A step that refuses a call for want of room has not begun it; one that passes a refusal on has."""
    report = getattr(error, "report", None)
    return not (isinstance(error, CapacityError) and isinstance(report, Report) and len(report.hops) == 1)
