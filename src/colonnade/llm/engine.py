"""The two sides of an engine that is held as an object: one blocks, the other is awaited."""

from __future__ import annotations

import weakref
from collections.abc import AsyncGenerator, Generator, Sequence
from types import TracebackType
from typing import Any

from colonnade.llm.aside import Aside
from colonnade.llm.asking import (
    CHAT,
    COMPLETIONS,
    EMBEDDINGS,
    Answer,
    Messages,
    Prompt,
    answer_of,
    completion,
    conversation,
    text_of,
)
from colonnade.llm.held import Held
from colonnade.wire.settings import load


class Engine:
    """Usable from any thread. Every method raises ColonnadeError, of the tree that HTTP clients get.

    `options` are fields of the endpoint's request: max_tokens, temperature, seed, regex, stop, logprobs and so on.
    `schema` is a JSON schema, or a type that pydantic makes one of.
    """

    def __init__(self, model: str, **settings: Any) -> None:
        """`model`: a folder, a shipped name or one on a hub; `settings` as of `colonnade serve`, max_context=4096 for
        one. Returns when it takes requests. Raises BadSetting, BadModel, SetupError."""
        resolved = load(settings)
        self._aside = Aside(f"the engine of {model}")
        try:
            self._held = self._aside.run(Held.start(model, resolved))
        except BaseException:
            self._aside.close()
            raise
        self._end = weakref.finalize(self, _end, self._aside, self._held)
        self.model = str(self._held.card["id"])
        self.aio = AsyncEngine(self.model, self._aside, self._held)
        """The same to be awaited, on any event loop."""

    def __enter__(self) -> Engine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def card(self) -> dict[str, object]:
        """As GET /v1/models tells it."""
        return self._held.card

    def generate(self, prompt: Prompt, *, schema: Any = None, **options: Any) -> Answer:
        """Goes on from a text or token ids: /v1/completions."""
        return answer_of(self.ask(COMPLETIONS, completion(self.model, prompt, schema, options)))

    def stream(self, prompt: Prompt, *, schema: Any = None, **options: Any) -> Generator[str]:
        """The same as it comes; to close the iterator ends the request."""
        return self._texts(COMPLETIONS, completion(self.model, prompt, schema, options))

    def chat(self, messages: Messages, *, schema: Any = None, **options: Any) -> Answer:
        """Answers a conversation: /v1/chat/completions."""
        return answer_of(self.ask(CHAT, conversation(self.model, messages, schema, options)))

    def chat_stream(self, messages: Messages, *, schema: Any = None, **options: Any) -> Generator[str]:
        return self._texts(CHAT, conversation(self.model, messages, schema, options))

    def embed(self, texts: Sequence[str], **options: Any) -> list[list[float]]:
        """A vector for each: /v1/embeddings."""
        body = self.ask(EMBEDDINGS, {"model": self.model, "input": list(texts), **options})
        return [each["embedding"] for each in body["data"]]

    def ask(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Any request that the HTTP API has an answer to of its own, as it is there."""
        return self._aside.run(self._held.ask(path, body))

    def events(self, path: str, body: dict[str, Any]) -> Generator[dict[str, Any]]:
        """The same as a stream of events."""
        flow = self._aside.run(self._held.flow(path, body))
        try:
            while (event := self._aside.run(flow.next())) is not None:
                yield event
        finally:
            self._aside.tell(flow.stop)

    def _texts(self, path: str, body: dict[str, Any]) -> Generator[str]:
        events = self.events(path, body)
        try:
            yield from filter(None, map(text_of, events))
        finally:
            events.close()

    def close(self) -> None:
        """Its process has ended when this returns. Without it, it ends with the object or with this process."""
        self._end()


class AsyncEngine:
    """`engine.aio`: the methods of `Engine`, awaited; cancelled with their callers."""

    def __init__(self, model: str, aside: Aside, held: Held) -> None:
        self.model = model
        self._aside = aside
        self._held = held

    async def generate(self, prompt: Prompt, *, schema: Any = None, **options: Any) -> Answer:
        return answer_of(await self.ask(COMPLETIONS, completion(self.model, prompt, schema, options)))

    def stream(self, prompt: Prompt, *, schema: Any = None, **options: Any) -> AsyncGenerator[str]:
        return self._texts(COMPLETIONS, completion(self.model, prompt, schema, options))

    async def chat(self, messages: Messages, *, schema: Any = None, **options: Any) -> Answer:
        return answer_of(await self.ask(CHAT, conversation(self.model, messages, schema, options)))

    def chat_stream(self, messages: Messages, *, schema: Any = None, **options: Any) -> AsyncGenerator[str]:
        return self._texts(CHAT, conversation(self.model, messages, schema, options))

    async def embed(self, texts: Sequence[str], **options: Any) -> list[list[float]]:
        body = await self.ask(EMBEDDINGS, {"model": self.model, "input": list(texts), **options})
        return [each["embedding"] for each in body["data"]]

    async def ask(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        return await self._aside.join(self._held.ask(path, body))

    async def events(self, path: str, body: dict[str, Any]) -> AsyncGenerator[dict[str, Any]]:
        flow = await self._aside.join(self._held.flow(path, body))
        try:
            while (event := await self._aside.join(flow.next())) is not None:
                yield event
        finally:
            self._aside.tell(flow.stop)

    async def _texts(self, path: str, body: dict[str, Any]) -> AsyncGenerator[str]:
        events = self.events(path, body)
        try:
            async for event in events:
                if text := text_of(event):
                    yield text
        finally:
            await events.aclose()


def _end(aside: Aside, held: Held) -> None:
    aside.run(held.stop())
    aside.close()
