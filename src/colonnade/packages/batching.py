"""Micro-batching: many callers, one call of the model.

    class Model:
        @batched(max_batch_size=8, max_wait=0.01)
        def predict(self, inputs: list[Asked]) -> list[Told]: ...

Each caller's inputs become one item of a list; the method gives a list of the same length, and each caller its item.
An item that is an exception is raised for its caller alone.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import Any, get_args, get_origin

import msgspec

from colonnade.packages.gathering import Gathering

Call = Callable[[list[Any]], Awaitable[list[Any]]]


class WrongBatch(TypeError):
    """The method gave something else than one answer for each of its inputs."""


def batched(*, max_batch_size: int, max_wait: float = 0.01) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Of a method that takes a list and gives one. A call begins when `max_batch_size` inputs are there, or `max_wait`
    seconds after the first of them. `runtime.predict_concurrency` says how many callers there may be at once."""
    if max_batch_size < 1 or max_wait < 0:
        raise ValueError(
            f"max_batch_size={max_batch_size}, max_wait={max_wait}: at least 1, and no less than 0 seconds"
        )

    def wrap(method: Callable[..., Any]) -> Callable[..., Any]:
        name = f"_batches_of_{method.__name__}"

        async def one(self: Any, inputs: Any) -> Any:
            batches = self.__dict__.get(name)
            if batches is None:
                batches = self.__dict__[name] = Batches(_call_of(method, self), max_batch_size, max_wait)
            return await batches.add(inputs)

        one.__name__, one.__qualname__, one.__doc__ = method.__name__, method.__qualname__, method.__doc__
        one.__module__ = method.__module__
        one.__annotations__ = _of_one(method)
        return one

    return wrap


def _of_one(method: Callable[..., Any]) -> dict[str, Any]:
    """The annotations of a caller's own inputs and answer, which are items of the method's."""
    try:
        hints = inspect.get_annotations(method, eval_str=True)
    except NameError:
        return {}
    items = {name: get_args(hint)[0] for name, hint in hints.items() if get_origin(hint) is list}
    given = next((items[name] for name in items if name != "return"), None)
    found = {} if given is None else {"inputs": given}
    return found | ({"return": items["return"]} if "return" in items else {})


def _call_of(method: Callable[..., Any], model: Any) -> Call:
    async def call(items: list[Any]) -> list[Any]:
        if inspect.iscoroutinefunction(method):
            return await method(model, items)
        return await asyncio.to_thread(method, model, items)

    return call


class Waiting(msgspec.Struct):
    inputs: Any
    answer: asyncio.Future[Any]


class Batches:
    """On one event loop. A batch may begin while another is at work."""

    def __init__(self, call: Call, size: int, wait: float) -> None:
        self._call = call
        self._gathering: Gathering[Waiting] = Gathering(size, wait)
        self._timer: asyncio.TimerHandle | None = None
        self._at_work: set[asyncio.Task[None]] = set()

    async def add(self, inputs: Any) -> Any:
        """Its answer. Raises what the call raises."""
        loop = asyncio.get_running_loop()
        waiting = Waiting(inputs, loop.create_future())
        self._begin(self._gathering.add(waiting, loop.time()))
        if self._timer is None and (due := self._gathering.due) is not None:
            self._timer = loop.call_at(due, self._ring)
        return await waiting.answer

    def _ring(self) -> None:
        self._timer = None
        loop = asyncio.get_running_loop()
        self._begin(self._gathering.tick(loop.time()))
        if (due := self._gathering.due) is not None:
            self._timer = loop.call_at(due, self._ring)

    def _begin(self, batch: list[Waiting]) -> None:
        left = [each for each in batch if not each.answer.done()]  # others have gone
        if left:
            task = asyncio.create_task(self._run(left), name="a batch")
            self._at_work.add(task)
            task.add_done_callback(self._at_work.discard)

    async def _run(self, batch: list[Waiting]) -> None:
        try:
            answers: list[Any] = await self._call([each.inputs for each in batch])
            if not isinstance(answers, list) or len(answers) != len(batch):
                raise WrongBatch(f"{len(batch)} inputs take a list of {len(batch)} answers, got {_shown(answers)}")
        except Exception as error:
            answers = [error] * len(batch)
        for each, answer in zip(batch, answers, strict=True):
            if each.answer.done():
                continue
            if isinstance(answer, Exception):
                each.answer.set_exception(answer)
            else:
                each.answer.set_result(answer)


def _shown(answers: Any) -> str:
    return f"one of {len(answers)}" if isinstance(answers, list) else type(answers).__name__
