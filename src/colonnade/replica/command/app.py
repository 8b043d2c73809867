"""The endpoints of a package with a server of its own: those that every replica has, Truss's three, and all of the
server's."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable

import msgspec
from starlette.responses import Response
from starlette.websockets import WebSocket

from colonnade.replica.command.face import CommandFace
from colonnade.replica.command.proxy import relay, relay_socket
from colonnade.replica.connection import Disconnected, Message, Receive, Send, read_body
from colonnade.replica.metrics import CONTENT_TYPE
from colonnade.replica.package.refusals import Refused, json_response, not_ready
from colonnade.wire.errors import ColonnadeError

_PREDICT = re.compile(r"/v1/models/[^/]+:predict(_binary)?|/invocations")


class CommandApp:
    def __init__(self, face: CommandFace) -> None:
        self._face = face
        self._pages: dict[str, Callable[[], Awaitable[Response]]] = {
            "/live": self._live,
            "/ready": self._ready,
            "/health": self._health,
            "/snapshot": self._snapshot,
            "/metrics": self._metrics,
            "/v1/models": self._models,
        }

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            with self._face.exchange():
                path = self._face.command.predict if scope["path"] == "/v1/websocket" else scope["path"]
                await relay_socket(self._face.session, self._face.url(path), WebSocket(scope, receive, send))
        elif scope["type"] == "http":
            await self._http(scope, receive, send)

    async def _http(self, scope: Message, receive: Receive, send: Send) -> None:
        page = self._pages.get(scope["path"]) if scope["method"] in ("GET", "HEAD") else None
        try:
            if page is None:
                await self._pass_on(scope, receive, send)
                return
            response = await page()
        except Refused as refused:
            response = refused.response()
        except Disconnected:
            return
        except ColonnadeError as error:
            response = Refused(error.status, error.message, "700").response()
        await response(scope, receive, send)

    async def _pass_on(self, scope: Message, receive: Receive, send: Send) -> None:
        """Raises Refused where the server cannot be asked."""
        path = self._mapped(scope["path"])
        if scope["method"] == "POST" and self._face.phase.name != "ready":
            code = "draining" if self._face.phase.name == "draining" else "not_ready"
            raise not_ready(self._face.phase.reason, code)
        with self._face.exchange():
            self._face.note(self._face.in_flight, 0)
            length = dict(scope["headers"]).get(b"content-length", b"").decode("latin-1")
            body = await read_body(receive, length, self._face.http)
            await relay(self._face.session, self._face.url(path), body, scope, receive, send)
        self._face.note(self._face.in_flight, 0)

    def _mapped(self, path: str) -> str:
        command = self._face.command
        if path == "/":
            return command.live
        if path in ("/v1/models/model", f"/v1/models/{self._face.name}", "/ping"):
            return command.ready
        return command.predict if _PREDICT.fullmatch(path) else path

    async def _live(self) -> Response:
        return json_response({"live": True, "epoch": self._face.epoch})

    async def _ready(self) -> Response:
        phase = self._face.phase
        if phase.name == "ready" and not await self._face.healthy():
            reason = f"{self._face.command.ready} of the package's server says no"
            return json_response({"ready": False, "phase": "unhealthy", "reason": reason}, 503)
        ready = phase.name == "ready"
        page = {"ready": ready, "phase": phase.name, "reason": phase.reason}
        return json_response(page, 200 if ready else 503)

    async def _health(self) -> Response:
        failed = self._face.phase.name == "failed"
        return json_response(self._face.health(self._face.in_flight, 0), 503 if failed else 200)

    async def _snapshot(self) -> Response:
        return Response(msgspec.json.encode(self._face.snapshot()), media_type="application/json")

    async def _metrics(self) -> Response:
        return Response(self._face.metrics.page(), headers={"content-type": CONTENT_TYPE})

    async def _models(self) -> Response:
        return json_response({"object": "list", "data": [self._face.card()]})
