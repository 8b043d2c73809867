"""The async client, over aiohttp."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Any, TypeVar, overload

import aiohttp

from colonnade.client import asking
from colonnade.client.asking import Asked, Messages, decoded, path_of
from colonnade.client.later import Later, pause
from colonnade.wire import errors
from colonnade.wire.answer import error_of
from colonnade.wire.stream import EventReader

T = TypeVar("T")


class AsyncClient:
    """As `Client`; to be used with `async with`. Connections are kept."""

    def __init__(self, url: str, key: str = "", *, timeout: float = 600.0) -> None:
        self._url = url.rstrip("/")
        self._headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})
        self._timeout = timeout
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> AsyncClient:
        timeout = aiohttp.ClientTimeout(total=None, sock_read=self._timeout)
        self._session = aiohttp.ClientSession(headers=self._headers, timeout=timeout)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def models(self) -> list[str]:
        return [each["id"] for each in (await self._call(Asked("GET", "/v1/models"), Any))["data"]]

    @overload
    async def predict(self, model: str, inputs: object) -> Any: ...
    @overload
    async def predict(self, model: str, inputs: object, into: type[T]) -> T: ...
    async def predict(self, model: str, inputs: object, into: Any = Any) -> Any:
        return await self._call(asking.prediction(model, inputs), into)

    def stream(self, model: str, inputs: object) -> AsyncIterator[bytes]:
        return self._pieces(asking.prediction(model, inputs))

    async def chat(self, model: str, messages: Messages, **options: Any) -> str:
        return asking.text_of(await self._call(asking.conversation(model, messages, False, options), Any))

    async def chat_stream(self, model: str, messages: Messages, **options: Any) -> AsyncIterator[str]:
        reader = EventReader()
        async for chunk in self._pieces(asking.conversation(model, messages, True, options)):
            for piece in asking.pieces_of(event.data for event in reader.feed(chunk)):
                yield piece

    async def submit(self, model: str, inputs: object, *, key: str = "", **options: Any) -> str:
        return (await self._call(asking.submission(model, inputs, key, options), Any))["request_id"]

    async def look(self, model: str, id: str) -> Later:
        return await self._call(Asked("GET", path_of(model, f"/async_request/{id}")), Later)

    async def wait(self, model: str, id: str, into: Any = Any) -> Any:
        """Bound it with asyncio.timeout."""
        asked = 0
        while not (found := await self.look(model, id)).over:
            await asyncio.sleep(pause(asked))
            asked += 1
        return found.result(into)

    async def cancel(self, model: str, id: str) -> bool:
        return (await self._call(Asked("DELETE", path_of(model, f"/async_request/{id}")), Any))["canceled"]

    async def _call(self, asked: Asked, into: Any) -> Any:
        return decoded(b"".join([piece async for piece in self._pieces(asked)]), into)

    async def _pieces(self, asked: Asked) -> AsyncIterator[bytes]:
        if self._session is None:
            raise errors.InvalidRequest("the client is not open", hint="use it with `async with`")
        url = self._url + asked.path
        try:
            async with self._session.request(asked.method, url, data=asked.body, headers=asked.headers) as answer:
                if answer.status >= 400:
                    raise error_of(answer.status, await answer.read())
                async for chunk in answer.content.iter_any():
                    yield chunk
        except TimeoutError as cause:
            raise errors.DeadlineExceeded(f"nothing came for {self._timeout:g} s") from cause
        except (OSError, aiohttp.ClientError) as cause:
            raise errors.ReplicaLost(f"the connection broke: {cause or type(cause).__name__}") from cause
