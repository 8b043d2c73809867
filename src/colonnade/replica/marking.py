"""The marks of a request that came in: what its body begins with, and the tokens that stand for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from colonnade.replica.chat import conversation, offered_tools
from colonnade.replica.identity import Identity
from colonnade.replica.landmarks import Landmarks, Mark, Prompt, chat_reach, text_reach
from colonnade.replica.model import ServedModel
from colonnade.replica.requests import ChatRequest
from colonnade.wire import prefix
from colonnade.wire.errors import InvalidRequest
from colonnade.wire.prefix import Link


class Encoded(NamedTuple):
    """A prompt's tokens, and where each stands in its text."""

    tokens: list[int]
    spans: Callable[[], Sequence[tuple[int, int]]] = tuple


class Marking:
    """Of one model. `body` is what the client sent, byte for byte, as the gateway hashed it."""

    def __init__(self, model: ServedModel) -> None:
        self._model = model
        self._landmarks = Landmarks()

    def chat(
        self, body: bytes, identity: Identity, request: ChatRequest, text: str, encoded: Encoded
    ) -> Sequence[Mark]:
        asked = prefix.read(body, identity.tenant)
        said, tools = conversation(request), offered_tools(request)
        template, thinks = self._model.chat_template(), request.enable_thinking

        def render(count: int) -> str:
            try:
                return template.render(said[:count], tools, identity.created, thinks, answer=False)
            except InvalidRequest:  # a template may want what is not there yet
                return ""

        reach = chat_reach(text, asked.parts, [each["content"] or "" for each in said], render)
        return self._find(identity, asked.links, encoded, reach)

    def text(self, body: bytes, identity: Identity, text: str, encoded: Encoded) -> Sequence[Mark]:
        asked = prefix.read(body, identity.tenant)
        return self._find(identity, asked.links, encoded, text_reach(text, asked.parts[0]))

    def _find(
        self, identity: Identity, links: Sequence[Link], encoded: Encoded, reach: Callable[[Link], int]
    ) -> Sequence[Mark]:
        prompt = Prompt(encoded.tokens, encoded.spans, self._model.vocabulary.begins, reach)
        return self._landmarks.find(identity.tenant, links, prompt)
