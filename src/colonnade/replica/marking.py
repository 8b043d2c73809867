"""The marks of a request that came in: what its body begins with, and the tokens that stand for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from colonnade.replica.chat import text_of
from colonnade.replica.identity import Identity
from colonnade.replica.landmarks import Landmarks, Mark, Prompt, chat_reach, counts, text_reach
from colonnade.replica.model import ServedModel
from colonnade.replica.requests import ChatRequest
from colonnade.replica.templates import Text
from colonnade.wire import prefix
from colonnade.wire.messages import Namespace
from colonnade.wire.prefix import Link


class Encoded(NamedTuple):
    """A prompt's tokens, and where each stands in its text."""

    tokens: list[int]
    spans: Callable[[], Sequence[tuple[int, int]]] = tuple


class Marking:
    """Of one model with these weights. `body` is what the client sent, byte for byte, as the gateway hashed it."""

    def __init__(self, model: ServedModel, weights: str) -> None:
        self._model = model
        self._weights = weights
        self._landmarks = Landmarks()

    def counts(self, body: bytes, identity: Identity) -> list[int]:
        """Of how many messages of a chat the ends are wanted."""
        return counts(self._landmarks.fresh(prefix.links(body, identity.tenant)))

    def chat(self, body: bytes, identity: Identity, request: ChatRequest, text: Text, encoded: Encoded) -> list[Mark]:
        asked = prefix.read(body, identity.tenant)
        contents = [text_of(message.content) for message in request.messages]
        return self._find(identity, asked.links, encoded, chat_reach(text.text, asked.parts, contents, text.ends))

    def text(self, body: bytes, identity: Identity, text: str, encoded: Encoded) -> list[Mark]:
        asked = prefix.read(body, identity.tenant)
        return self._find(identity, asked.links, encoded, text_reach(text, asked.parts[0]))

    def _find(
        self, identity: Identity, links: Sequence[Link], encoded: Encoded, reach: Callable[[Link], int]
    ) -> list[Mark]:
        prompt = Prompt(encoded.tokens, encoded.spans, self._model.vocabulary.begins, reach)
        return self._landmarks.find(Namespace(identity.tenant).key(self._weights), links, prompt)
