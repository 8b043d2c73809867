"""An answer in the making: understood, tried at the desk, worded and spoken, before it is sure that it is wanted.

Nothing of it changes anything: the desk is only asked what would come of it. What is sure is then done for good, and if
the result is another one, the wording is made again.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from time import perf_counter
from typing import Any

from phone.listening import steady
from phone.said import Event, Understood

Message = dict[str, Any]


@dataclass(frozen=True)
class Steps:
    """The handles of the chain's steps."""

    transcribe: Any
    understand: Any
    desk: Any
    reply: Any
    speak: Any


def tool_message(understood: Understood, result: dict[str, str]) -> Message:
    call = understood.message["tool_calls"][0]["id"]
    return {"role": "tool", "tool_call_id": call, "content": json.dumps(result)}


class Prepared:
    """Of one text of the caller's. `sound` gives a `said` event before each clause, its frames, and None at the end, or
    the error that ended it."""

    def __init__(self, steps: Steps, messages: list[Message], text: str, key: str) -> None:
        self.text = text
        self.key = key
        self.began = perf_counter()
        self.messages: list[Message] = [*messages, {"role": "user", "content": text}]
        self.understood: asyncio.Future[Understood] = asyncio.get_running_loop().create_future()
        self.result: dict[str, str] = {}
        self.times: dict[str, float] = {}
        self.worded: list[str] = []
        self.sound: asyncio.Queue[bytes | Event | Exception | None] = asyncio.Queue()
        self._steps = steps
        self._task = asyncio.create_task(self._make())

    def drop(self) -> None:
        self._task.cancel()

    def reword(self, result: dict[str, str]) -> None:
        """The desk did something else than it said it would."""
        self._task.cancel()
        self.sound, self.worded = asyncio.Queue(), []
        self._task = asyncio.create_task(self._word(self.understood.result(), result))

    async def _make(self) -> None:
        try:
            understood = await self._steps.understand.run_remote(self.messages)
            self._mark("understand")
            if understood.tool:
                desk = self._steps.desk
                self.result = await desk.run_remote(understood.tool, understood.arguments, self.key, commit=False)
                self._mark("try")
            self.understood.set_result(understood)
        except Exception as error:
            self.understood.set_exception(error)
            self.understood.exception()  # seen: nobody may want it
            return
        await self._word(understood, self.result)

    async def _word(self, understood: Understood, result: dict[str, str]) -> None:
        sound = self.sound
        try:
            async with aclosing(self._clauses(understood, result)) as clauses:
                async for clause in clauses:
                    self._mark("word")
                    self.worded.append(clause)
                    sound.put_nowait(Event("said", clause))
                    async for frame in steady(lambda clause=clause: self._steps.speak.run_remote(clause)):
                        self._mark("speak")
                        sound.put_nowait(frame)
            sound.put_nowait(None)
        except Exception as error:
            sound.put_nowait(error)

    async def _clauses(self, understood: Understood, result: dict[str, str]) -> AsyncGenerator[str]:
        if not understood.tool:
            yield understood.text
            return
        messages = [*self.messages, understood.message, tool_message(understood, result)]
        async for clause in steady(lambda: self._steps.reply.run_remote(messages)):
            yield clause

    def _mark(self, stage: str) -> None:
        """When a stage gave its first."""
        self.times.setdefault(stage, perf_counter() - self.began)
