"""A package's endpoints, as one ASGI application: Truss's, and those that every replica has."""

from __future__ import annotations

import logging
import re
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from prometheus_client import REGISTRY, generate_latest
from starlette.requests import Request
from starlette.responses import Response
from starlette.websockets import WebSocket, WebSocketDisconnect

from colonnade.packages.contract import Contract
from colonnade.replica.connection import Disconnected, Message, Receive, Send, read_body
from colonnade.replica.metrics import CONTENT_TYPE
from colonnade.replica.package.answering import answer, inputs_of
from colonnade.replica.package.face import PackageFace
from colonnade.replica.package.later.pages import Later
from colonnade.replica.package.pieces import StreamFailed
from colonnade.replica.package.refusals import MODEL_ERROR, Refused, json_response, not_ready
from colonnade.wire.errors import ColonnadeError

_log = logging.getLogger(__name__)

ROUTES: tuple[tuple[str, str, str], ...] = (
    ("POST", "/v1/models/{model}:predict", "Run preprocess, predict and postprocess."),
    ("POST", "/v1/models/{model}:predict_binary", "The same."),
    ("POST", "/v1/chat/completions", "The model's `chat_completions`."),
    ("POST", "/v1/completions", "The model's `completions`."),
    ("POST", "/v1/embeddings", "The model's `embeddings`."),
    ("POST", "/v1/messages", "The model's `messages`."),
    ("POST", "/v1/responses", "The model's `responses`."),
    ("GET", "/v1/models/{model}", "200 when it is loaded and says that it is healthy, else 503."),
    ("GET", "/v1/models/{model}/loaded", "200 when it is loaded, else 503."),
    ("GET", "/v1/models/{model}/schema", "The schemas of its annotations, 404 without any."),
    ("GET", "/v1/models", "The one model, as the gateway lists it."),
    ("WS", "/v1/websocket", "The model's `websocket`."),
    ("POST", "/hot-reload", "Read the class anew; the instance keeps what it has loaded."),
    ("POST", "/v1/models/{model}:async_predict", "Run it later: 202 with a request id."),
    ("GET", "/v1/models/{model}/async_request/{id}", "What became of it, with its result."),
    ("DELETE", "/v1/models/{model}/async_request/{id}", "Cancel it."),
    ("GET", "/v1/models/{model}/async_queue_status", "How many wait, and how many are at work."),
)

_METHODS = {
    "/v1/chat/completions": "chat_completions",
    "/v1/completions": "completions",
    "/v1/embeddings": "embeddings",
    "/v1/messages": "messages",
    "/v1/responses": "responses",
    "/invocations": "predict",
}
_PREDICT = re.compile(r"/v1/models/[^/]+:predict(_binary)?")
_MODEL = re.compile(r"/v1/models/[^/]+(/loaded|/schema)?")
Handler = Callable[[], Awaitable[Response]]


class PackageApp:
    def __init__(self, face: PackageFace, later: Later | None = None) -> None:
        self._face = face
        self._later = later
        self._pages: dict[str, Handler] = {
            "/": self._alive,
            "/ping": self._is_loaded,
            "/live": self._live,
            "/ready": self._ready,
            "/health": self._health,
            "/snapshot": self._snapshot,
            "/metrics": self._metrics,
            "/metrics/": self._metrics,
            "/v1/models": self._models,
        }

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await self._websocket(WebSocket(scope, receive, send))
        elif scope["type"] == "http":
            await self._http(scope, receive, send)

    async def _http(self, scope: Message, receive: Receive, send: Send) -> None:
        path: str = scope["path"]
        name = "predict" if _PREDICT.fullmatch(path) else _METHODS.get(path)
        try:
            if name is not None and scope["method"] == "POST":
                with self._face.exchange():
                    await self._call(name, scope, receive, send)
                return
            response = await self._later_page(scope, receive) if "async_" in path else None
            response = response or await self._page(path, scope["method"], known=name is not None)
        except Refused as refused:
            response = refused.response()
        except Disconnected:
            return
        except ColonnadeError as error:
            response = Refused(error.status, error.message, "700").response()
        except StreamFailed:
            raise
        except Exception as error:
            _log.exception("%s %s failed", scope["method"], path)
            response = Refused(500, f"Unhandled exception: {type(error).__name__}: {error}", "500").response()
        await response(scope, receive, send)

    # Pages.

    async def _later_page(self, scope: Message, receive: Receive) -> Response | None:
        """Of a request that is answered later."""
        if self._later is None:
            return None
        headers = _headers(scope)
        body = b""
        if scope["method"] == "POST":
            body = await read_body(receive, headers.get("content-length", ""), self._face.http)
        return self._later.page(scope["method"], scope["path"], headers, body)

    async def _page(self, path: str, method: str, known: bool) -> Response:
        if path == "/hot-reload" and method == "POST":
            return await self._reload()
        page = self._pages.get(path)
        if page is None and _MODEL.fullmatch(path):
            page = {"loaded": self._is_loaded, "schema": self._schema}.get(path.split("/")[-1], self._is_ready)
        if page is None or method not in ("GET", "HEAD"):
            known = known or page is not None or path == "/hot-reload"
            return json_response({"detail": "Method Not Allowed" if known else "Not Found"}, 405 if known else 404)
        return await page()

    async def _alive(self) -> Response:
        return json_response(True)

    async def _is_loaded(self) -> Response:
        if not self._face.loaded:
            raise not_ready(self._face.phase.reason)
        return json_response({})

    async def _is_ready(self) -> Response:
        if not self._face.loaded or not await self._face.healthy():
            raise not_ready(self._face.phase.reason)
        return json_response({})

    async def _schema(self) -> Response:
        if not self._face.loaded:
            raise Refused(503, "Schema not available, please try again later.", "600")
        schema = self._face.contract().schema
        if schema is None:
            raise Refused(404, "No schema found", "600")
        return json_response(schema.page())

    async def _live(self) -> Response:
        return json_response({"live": True, "epoch": self._face.epoch})

    async def _ready(self) -> Response:
        phase = self._face.phase
        if phase.name == "ready" and not await self._face.healthy():
            return json_response({"ready": False, "phase": "unhealthy", "reason": "is_healthy says no"}, 503)
        ready = phase.name == "ready"
        page = {"ready": ready, "phase": phase.name, "reason": phase.reason}
        return json_response(page, 200 if ready else 503)

    async def _health(self) -> Response:
        return json_response(self._face.said(), 503 if self._face.phase.name == "failed" else 200)

    async def _snapshot(self) -> Response:
        return Response(msgspec.json.encode(self._face.snapshot()), media_type="application/json")

    async def _metrics(self) -> Response:
        """Ours, and whatever the package's code put into the registry of its process."""
        return Response(self._face.metrics.page() + generate_latest(REGISTRY), headers={"content-type": CONTENT_TYPE})

    async def _models(self) -> Response:
        return json_response({"object": "list", "data": [self._face.card()]})

    async def _reload(self) -> Response:
        self._face.contract()
        try:
            await self._face.calls.in_thread(self._face.reload)
        except Exception as error:
            self._face.calls.tell("hot reload", error)
            return json_response({"error": f"{type(error).__name__}: {error}"}, 422)
        return json_response({"msg": "Hot reload complete"})

    # Calls.

    async def _call(self, name: str, scope: Message, receive: Receive, send: Send) -> None:
        contract = self._face.contract()
        headers = _headers(scope)
        body = await read_body(receive, headers.get("content-length", ""), self._face.http)
        request = await _request(scope, receive, send, body)
        inputs = None if contract.reads_body_itself else inputs_of(contract, headers, body)
        if contract.get(name) is None:
            raise Refused(404, f"`{name}` must only be called if model has it.", "700")
        result = await self._result(name, contract, inputs, request)
        await answer(result, headers, body, scope, receive, send)

    async def _result(self, name: str, contract: Contract, inputs: Any, request: Request) -> Any:
        if name == "predict":
            return await self._face.calls.predict(contract, inputs, request)
        return await self._face.calls.other(contract.methods[name], inputs, request)

    async def _websocket(self, socket: WebSocket) -> None:
        """Codes as documented: 1000 on return, 1011 on an exception, 1003 where there is no such method."""
        with self._face.exchange():
            try:
                contract = self._face.contract()
            except Refused as refused:
                await socket.close(1013, str(refused))
                return
            method = contract.get("websocket")
            await socket.accept()
            if method is None:
                await socket.close(1003, "WebSocket is not implemented on this deployment.")
                return
            try:
                await method.call(socket)
                code, reason = 1000, None
            except WebSocketDisconnect:
                return
            except Exception as error:
                self._face.calls.tell("websocket", error)
                code, reason = 1011, MODEL_ERROR
            if socket.application_state.name == "CONNECTED" and socket.client_state.name == "CONNECTED":
                await socket.close(code, reason)


def _headers(scope: Message) -> dict[str, str]:
    return {key.decode("latin-1"): value.decode("latin-1") for key, value in scope["headers"]}


async def _request(scope: Message, receive: Receive, send: Send, body: bytes) -> Request:
    """What model code gets: the body is there already, and what comes after it is the client's going."""
    left = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return left.pop() if left else await receive()

    request = Request(scope, replay, send)
    await request.body()
    return request
