"""One call: hears, decides whose turn it is, prepares answers while the caller may go on, speaks, falls silent."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator
from time import perf_counter

from phone import grammar
from phone.audio import FRAME, SECONDS, loudness
from phone.listening import Listening
from phone.prepared import Message, Prepared, Steps, tool_message
from phone.said import Event, Understood
from phone.turns import Limits, Turns

LEAD = 0.08
"""Seconds of sound that are sent before they are played: what a barge-in has to throw away at most."""
BEFORE = 15
"""Frames before a turn's begin that are transcribed with it: its first sound may be a quiet one."""


class Conversation:
    def __init__(self, steps: Steps, limits: Limits | None = None) -> None:
        self.messages: list[Message] = []
        self._steps = steps
        self._key = uuid.uuid4().hex
        self._turns = Turns(limits)
        self._out: asyncio.Queue[bytes | Event | None] = asyncio.Queue(16)
        self._recent: deque[bytes] = deque(maxlen=BEFORE)
        self._listening: Listening | None = None
        self._prepared: Prepared | None = None
        self._answering: asyncio.Task[None] | None = None
        self._count = 0
        self._shown = ""

    async def run(self, audio: AsyncIterator[bytes]) -> AsyncGenerator[bytes | Event]:
        """Until the audio ends. Raises what the steps raise."""
        hearing = asyncio.create_task(self._hear(audio))
        hearing.add_done_callback(lambda _: self._out.put_nowait(None) if not self._out.full() else None)
        try:
            while not (hearing.done() and self._out.empty()):
                item = await self._out.get()
                if item is not None:
                    yield item
            hearing.result()
        finally:
            hearing.cancel()
            self._fall_silent()
            if self._listening is not None:
                self._listening.drop()

    async def _hear(self, audio: AsyncIterator[bytes]) -> None:
        now, rest = 0.0, b""
        async for piece in audio:
            rest += piece
            while len(rest) >= FRAME:
                frame, rest = rest[:FRAME], rest[FRAME:]
                now += SECONDS
                await self._frame(frame, now)
            if self._answering is not None and self._answering.done():
                self._answering.result()

    async def _frame(self, frame: bytes, now: float) -> None:
        decision = self._turns.hear(loudness(frame), now)
        self._recent.append(frame)
        if decision == "begins":
            await self._begin()
        elif self._listening is not None:
            self._listening.put(frame)
        if self._listening is None:
            return
        if decision == "ends":
            await self._end(self._listening)
        else:
            await self._follow(self._listening)

    async def _begin(self) -> None:
        """Whoever speaks is listened to: all that is downstream of an answer under way ends."""
        if self._fall_silent():
            await self._out.put(Event("stop"))
        self._listening = Listening(self._steps.transcribe.run_remote, self._recent)

    async def _follow(self, listening: Listening) -> None:
        """In a pause an answer to what was understood so far is begun, and begun again where that has changed."""
        self._turns.finished = grammar.finished(listening.text)
        if listening.text != self._shown:
            self._shown = listening.text
            await self._out.put(Event("partial", self._shown))
        if self._turns.paused and listening.text:
            text = grammar.written(listening.text)
            if self._prepared is None or self._prepared.text != text:
                self._prepare(text)

    def _prepare(self, text: str) -> Prepared:
        self._drop_prepared()
        self._prepared = Prepared(self._steps, self.messages, text, f"{self._key}-{self._count}")
        return self._prepared

    async def _end(self, listening: Listening) -> None:
        ended, self._listening = perf_counter(), None
        text = grammar.written(await listening.whole())
        heard = perf_counter() - ended
        if not text:  # a cough
            self._drop_prepared()
            return
        await self._out.put(Event("turn", text))
        prepared = self._prepared
        if prepared is None or prepared.text != text:
            prepared = self._prepare(text)
        self._prepared = None
        self._count += 1
        prepared.times |= {"head start": ended - prepared.began, "silence": self._turns.silence_wanted, "hear": heard}
        self._answering = asyncio.create_task(self._answer(prepared, ended))

    async def _answer(self, prepared: Prepared, ended: float) -> None:
        understood = None
        try:
            understood = await prepared.understood
            self.messages = prepared.messages
            if understood.tool:
                await asyncio.shield(asyncio.ensure_future(self._carry_out(prepared, understood)))
            await self._play(prepared, ended)
        finally:
            prepared.drop()
            if understood and (text := " ".join(prepared.worded)):  # the model was taught whole answers, heard or not
                self.messages.append({"role": "assistant", "content": text})

    async def _carry_out(self, prepared: Prepared, understood: Understood) -> None:
        """For good; who interrupts the desk does not undo it."""
        tool, arguments = understood.tool, understood.arguments
        result = await self._steps.desk.run_remote(tool, arguments, prepared.key, commit=True)
        self.messages += [understood.message, tool_message(understood, result)]
        if result != prepared.result:
            prepared.reword(result)
        await self._out.put(Event("did", json.dumps({"tool": tool, "arguments": arguments, "result": result})))

    async def _play(self, prepared: Prepared, ended: float) -> None:
        loop = asyncio.get_running_loop()
        due = 0.0
        while (item := await prepared.sound.get()) is not None:
            if isinstance(item, Exception):
                raise item
            if isinstance(item, bytes):
                if not due:
                    await self._out.put(Event("times", times={**prepared.times, "wait": perf_counter() - ended}))
                due = max(due, loop.time())
                await asyncio.sleep(due - LEAD - loop.time())
                due += SECONDS
            await self._out.put(item)
        await asyncio.sleep(due - loop.time())
        await self._out.put(Event("over"))

    def _fall_silent(self) -> bool:
        """Whether an answer was under way. Sound that was not sent yet is not sent."""
        self._drop_prepared()
        if self._answering is None or self._answering.done():
            return False
        self._answering.cancel()
        self._answering = None
        kept = [item for item in _drained(self._out) if isinstance(item, Event)]
        for item in kept:
            self._out.put_nowait(item)
        return True

    def _drop_prepared(self) -> None:
        if self._prepared is not None:
            self._prepared.drop()
            self._prepared = None


def _drained(queue: asyncio.Queue[bytes | Event | None]) -> list[bytes | Event | None]:
    found: list[bytes | Event | None] = []
    while not queue.empty():
        found.append(queue.get_nowait())
    return found
