"""What the gateway answers itself: health, metrics, the list of models."""

from __future__ import annotations

import asyncio
import ipaddress
from typing import Any, Protocol

import msgspec

from colonnade.gateway.admission import request_id
from colonnade.gateway.endpoints import MODELS, check_endpoint
from colonnade.gateway.http1 import Head, answer, error_answer
from colonnade.gateway.metrics import exposition
from colonnade.gateway.models import list_models
from colonnade.gateway.plane import Plane
from colonnade.wire.errors import ColonnadeError, Internal, InvalidRequest, NotFound, Overloaded

_JSON = b"application/json"
_PROMETHEUS = b"text/plain; version=0.0.4; charset=utf-8"


class Client(Protocol):
    peer: str

    def send(self, data: bytes) -> None: ...

    def finished(self, *, keep: bool) -> None: ...


class Local:
    """A request that no replica sees, but for the list of models, which is theirs."""

    __slots__ = ("_client", "_head", "_identity", "_keep", "_plane", "_task")

    def __init__(self, plane: Plane, client: Client, head: Head, *, keep: bool) -> None:
        self._plane = plane
        self._client = client
        self._head = head
        self._keep = keep
        self._identity = request_id(head.request_id, plane.noise())
        self._task: asyncio.Task[None] | None = None

    def begin(self) -> None:
        try:
            check_endpoint(self._head.method, self._head.path)
            if self._head.path.startswith(MODELS[:-1]):
                self._plane.keys.look_up(self._head.key)
                self._task = self._plane.loop.create_task(self._models())
            else:
                self._reply(*self._own())
        except ColonnadeError as error:
            self._refuse(error)

    def _own(self) -> tuple[bytes, bytes]:
        """Raises ColonnadeError."""
        match self._head.path:
            case b"/live":
                return b'{"live":true}', _JSON
            case b"/ready":
                if reason := self._plane.reason_not_ready():
                    raise Overloaded(reason, hint="`colonnade ps` says how the replicas are", code="not_ready")
                return b'{"ready":true}', _JSON
            case _:
                if self._head.proxied or not _is_loopback(self._client.peer):
                    raise NotFound("metrics are for this machine alone", hint="ask from the gateway's own host")
                return exposition(self._plane), _PROMETHEUS

    async def _models(self) -> None:
        try:
            models = await list_models(self._plane)
            body = self._one(models) if self._head.path.startswith(MODELS) else {"object": "list", "data": models}
            self._reply(msgspec.json.encode(body), _JSON)
        except ColonnadeError as error:
            self._refuse(error)
        except Exception:
            self._refuse(Internal("the list of models could not be made"))
            raise

    def _one(self, models: list[dict[str, Any]]) -> dict[str, Any]:
        wanted = self._head.path.removeprefix(MODELS).decode("utf-8", "replace")
        for model in models:
            if model.get("id") == wanted:
                return model
        raise InvalidRequest(
            f"there is no model {wanted[:100]!r}", hint="GET /v1/models lists them", code="model_not_found"
        )

    def _reply(self, body: bytes, content_type: bytes) -> None:
        whole = answer(200, body, content_type, request_id=self._identity, close=not self._keep)
        self._send(whole, len(body))

    def _refuse(self, error: ColonnadeError) -> None:
        whole = error_answer(error, self._identity, path=self._head.path, close=not self._keep)
        self._send(whole, len(whole) - whole.index(b"\r\n\r\n") - 4)

    def _send(self, whole: bytes, length: int) -> None:
        self._client.send(whole[:-length] if self._head.method == b"HEAD" else whole)
        self._client.finished(keep=self._keep)

    def leave(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def cut(self) -> None:
        self.leave()
        self._refuse(Overloaded("the gateway shuts down", hint="send the request again", code="draining"))

    def pause(self) -> None:
        """Nothing to hold back: the answer is whole."""

    def resume(self) -> None:
        """Nothing was held back."""

    def check(self, now: float) -> None:
        """The list of models has its own time limit; all else is answered at once."""


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False
