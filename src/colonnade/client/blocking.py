"""The blocking client, over nothing but the standard library."""

from __future__ import annotations

import http.client
import time
from collections.abc import Iterator
from types import TracebackType
from typing import Any, TypeVar, overload
from urllib.parse import urlsplit

from colonnade.client import asking
from colonnade.client.asking import Asked, Messages, decoded, path_of
from colonnade.client.later import Later, pause
from colonnade.wire import errors
from colonnade.wire.answer import error_of
from colonnade.wire.stream import EventReader

T = TypeVar("T")


class Client:
    """`url` of a gateway, `key` an API key, empty for none; `timeout` of each read, in seconds. Connections are one a
    request, so it may be used from many threads. Every method raises ColonnadeError."""

    def __init__(self, url: str, key: str = "", *, timeout: float = 600.0) -> None:
        self._url = urlsplit(url)
        self._key = key
        self._timeout = timeout

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing is held between requests."""

    def models(self) -> list[str]:
        return [each["id"] for each in self._call(Asked("GET", "/v1/models"), Any)["data"]]

    @overload
    def predict(self, model: str, inputs: object) -> Any: ...
    @overload
    def predict(self, model: str, inputs: object, into: type[T]) -> T: ...
    def predict(self, model: str, inputs: object, into: Any = Any) -> Any:
        """What the package's predict returns."""
        return self._call(asking.prediction(model, inputs), into)

    def stream(self, model: str, inputs: object) -> Iterator[bytes]:
        """The pieces of a package's stream, as they come. Closing the iterator ends the request."""
        return self._pieces(asking.prediction(model, inputs))

    def chat(self, model: str, messages: Messages, **options: Any) -> str:
        """What the model says; `options` are fields of the request, such as max_tokens."""
        return asking.text_of(self._call(asking.conversation(model, messages, False, options), Any))

    def chat_stream(self, model: str, messages: Messages, **options: Any) -> Iterator[str]:
        """The same as it is said."""
        reader = EventReader()
        for chunk in self._pieces(asking.conversation(model, messages, True, options)):
            yield from asking.pieces_of(event.data for event in reader.feed(chunk))

    def submit(self, model: str, inputs: object, *, key: str = "", **options: Any) -> str:
        """The id of a request that is answered later. `key`: the same one again is the same request."""
        return self._call(asking.submission(model, inputs, key, options), Any)["request_id"]

    def look(self, model: str, id: str) -> Later:
        return self._call(Asked("GET", path_of(model, f"/async_request/{id}")), Later)

    def wait(self, model: str, id: str, into: Any = Any, *, within: float = 600.0) -> Any:
        """Its result, when it is there. Raises DeadlineExceeded after `within` seconds."""
        end, asked = time.monotonic() + within, 0
        while not (found := self.look(model, id)).over:
            if time.monotonic() > end:
                raise errors.DeadlineExceeded(f"request {id} is {found.status} after {within:g} s")
            time.sleep(pause(asked))
            asked += 1
        return found.result(into)

    def cancel(self, model: str, id: str) -> bool:
        """Whether it was not over yet."""
        return self._call(Asked("DELETE", path_of(model, f"/async_request/{id}")), Any)["canceled"]

    def _call(self, asked: Asked, into: Any) -> Any:
        return decoded(b"".join(self._pieces(asked)), into)

    def _pieces(self, asked: Asked) -> Iterator[bytes]:
        parts = self._url
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        connection = kind(parts.hostname or "", parts.port, timeout=self._timeout)
        headers = {"Content-Type": "application/json", **asked.headers}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        try:
            connection.request(asked.method, parts.path.rstrip("/") + asked.path, asked.body, headers)
            answer = connection.getresponse()
            if answer.status >= 400:
                raise error_of(answer.status, answer.read())
            while chunk := answer.read1(65536):
                yield chunk
        except TimeoutError as cause:
            raise errors.DeadlineExceeded(f"nothing came for {self._timeout:g} s") from cause
        except (OSError, http.client.HTTPException) as cause:
            raise errors.ReplicaLost(f"the connection broke: {cause or type(cause).__name__}") from cause
        finally:
            connection.close()
