"""The replica's endpoints, as one ASGI application."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from colonnade.replica.changing import ROUTES as CHANGING
from colonnade.replica.changing import Change, Changing
from colonnade.replica.connection import Message, Receive, Send
from colonnade.replica.exchange import Action, Exchange
from colonnade.replica.face import Face
from colonnade.replica.identity import Identity
from colonnade.replica.native import ROUTES as NATIVE
from colonnade.replica.native import Native
from colonnade.replica.openapi import document
from colonnade.wire.errors import NotFound

ROUTES: tuple[tuple[str, str, str], ...] = (
    ("POST", "/v1/chat/completions", "Answer a conversation, whole or as a stream."),
    ("POST", "/v1/completions", "Go on from a prompt, whole or as a stream."),
    ("POST", "/v1/embeddings", "Texts or token ids to vectors."),
    ("POST", "/v1/messages", "Answer a conversation in Anthropic's form, whole or as a stream."),
    ("POST", "/v1/messages/count_tokens", "How many tokens its prompt has."),
    ("GET", "/v1/models", "The model that is served, with its facts."),
    ("GET", "/v1/models/{model}", "The same for one name."),
    ("GET", "/live", "200 while the process answers."),
    ("GET", "/ready", "200 when requests are taken, else 503 with phase and reason."),
    ("GET", "/health", "Progress: 503 when work is in flight and the engine makes no steps."),
    ("GET", "/metrics", "Prometheus metrics."),
    ("GET", "/snapshot", "The whole of what the pushed events add up to, at a sequence number."),
    ("GET", "/openapi.json", "This list, as OpenAPI has it."),
    *CHANGING,
    *NATIVE,
)


MODELS = "/v1/models/"
COUNT = "/v1/messages/count_tokens"


class App:
    """Every ColonnadeError becomes the one envelope; anything else is a 500 in the same envelope, and is logged."""

    def __init__(self, face: Face) -> None:
        self._face = face
        native, changing = Native(face), Changing(face.caretaker)
        self.methods: Mapping[str, str] = {path: method for method, path, _ in ROUTES}
        self.actions: Mapping[str, Action] = {COUNT: self._count, **native.actions}
        self.changes: Mapping[str, Change] = changing.changes
        self._pages: dict[str, Callable[[], tuple[int, Any]]] = {
            "/v1/models": lambda: (200, {"object": "list", "data": [face.model_card()]}),
            "/live": lambda: (200, {"live": True, "epoch": face.epoch}),
            "/ready": self._ready,
            "/health": self._health,
            "/openapi.json": lambda: (200, document(ROUTES)),
            "/snapshot": lambda: (200, face.snapshot()),
            **changing.pages,
            **native.pages,
        }

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await Exchange(self._face, self, scope, receive, send).run()
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close"})

    def page(self, path: str) -> tuple[int, Any]:
        """Status and body of a GET that tells about the replica. Raises NotFound."""
        if path.startswith(MODELS):
            return 200, self._model(path.removeprefix(MODELS))
        page = self._pages.get(path)
        if page is None:
            raise NotFound(f"no such path: {path}", hint="see docs/api.md")
        return page()

    def _model(self, name: str) -> dict[str, object]:
        if name != self._face.model.name:
            raise NotFound(f"model {name!r} is not served here", code="model_not_found", hint="see /v1/models")
        return self._face.model_card()

    def _ready(self) -> tuple[int, Any]:
        face = self._face
        if face.phase.name == "ready" and face.stalled():
            return 503, {"ready": False, "phase": "stalled", "reason": "no engine step while work is in flight"}
        ready = face.phase.name == "ready"
        return 200 if ready else 503, {"ready": ready, "phase": face.phase.name, "reason": face.phase.reason}

    def _health(self) -> tuple[int, Any]:
        return 503 if self._face.stalled() or self._face.phase.name == "failed" else 200, self._face.health()

    async def _count(self, body: bytes, identity: Identity) -> tuple[Any, list[str]]:
        counted = await self._face.open_for_work().count(body, identity)
        return {"input_tokens": counted.tokens}, counted.warnings
