"""The phone of a clinic: a caller's voice in, the desk's voice out, a step for each thing that is hard.

    python examples/phone_call/serve.py      # a model, this chain, and a page to talk to it

docs/phone-call.md explains it and has its figures.
"""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

from phone.audio import frames as frames_of
from phone.clauses import Clauses
from phone.conversation import Conversation
from phone.desk import Desk
from phone.model import Model
from phone.prepared import Steps
from phone.recogniser import new_recogniser, prepare
from phone.said import Event, Understood
from phone.voice import Voice

from colonnade.chains import Options, Step, depends, entry

CALL = 3600.0
"""Seconds of the longest call."""


class Transcribe(Step):
    """Frames in; out comes the text so far whenever it changes, and at the end the text of the turn."""

    options = Options(timeout=60, concurrency=256)

    def load(self) -> None:
        prepare()

    async def run_remote(self, frames: AsyncIterator[bytes]) -> AsyncIterator[str]:
        recogniser, text = new_recogniser(), ""
        try:
            async for frame in frames:
                heard = await recogniser.hear(frame)
                if heard != text:
                    text = heard
                    yield text
            yield await recogniser.whole()
        finally:
            recogniser.free()


class Understand(Step):
    """From the conversation to a tool call in JSON that its schema allows; or to a question for what is missing."""

    options = Options(timeout=10, idempotent=True, concurrency=256)

    async def load(self) -> None:
        self._model = Model()
        await self._model.answer([{"role": "user", "content": "hello"}])  # the tools are in the prefix cache then

    async def run_remote(self, messages: list[dict[str, Any]]) -> Understood:
        message = await self._model.answer(messages)
        for call in message.get("tool_calls") or ():
            function = call["function"]
            kept = {"role": "assistant", "content": "", "tool_calls": [call]}
            return Understood(kept, tool=function["name"], arguments=json.loads(function["arguments"]))
        text = message.get("content") or ""
        return Understood({"role": "assistant", "content": text}, text)


class Book(Step):
    """The booking database. The same key is carried out once, however often it is called."""

    options = Options(timeout=10, idempotent=True, concurrency=1, queue=256)

    def load(self) -> None:
        self._desk = Desk(os.environ.get("PHONE_BOOK", "appointments.db"))

    def run_remote(self, tool: str, arguments: dict[str, str], key: str, commit: bool) -> dict[str, str]:
        return self._desk.carry_out(tool, arguments, key, commit)


class Reply(Step):
    """What the desk says to a tool's result, clause by clause as it is written."""

    options = Options(timeout=10, idempotent=True, concurrency=256)

    async def load(self) -> None:
        self._model = Model()

    async def run_remote(self, messages: list[dict[str, Any]]) -> AsyncIterator[str]:
        clauses = Clauses()
        async with aclosing(self._model.pieces(messages)) as pieces:
            async for piece in pieces:
                for clause in clauses.feed(piece):
                    yield clause
        for clause in clauses.rest():
            yield clause


class Speak(Step):
    """A clause as frames of sound."""

    options = Options(timeout=30, idempotent=True, concurrency=256)

    def load(self) -> None:
        self._voice = Voice()
        self._voice.say("hello")

    async def run_remote(self, text: str) -> AsyncIterator[bytes]:
        for frame in frames_of(self._voice.say(text)):
            yield frame


@entry
class Call(Step):
    """One caller."""

    options = Options(timeout=CALL, concurrency=256)

    def __init__(
        self,
        transcribe: Transcribe = depends(Transcribe),
        understand: Understand = depends(Understand),
        book: Book = depends(Book),
        reply: Reply = depends(Reply),
        speak: Speak = depends(Speak),
    ) -> None:
        self._steps = Steps(transcribe, understand, book, reply, speak)

    async def run_remote(self, audio: AsyncIterator[bytes]) -> AsyncIterator[bytes | Event]:
        async with aclosing(Conversation(self._steps).run(audio)) as items:
            async for item in items:
                yield item
