"""The HTTP side of another engine's server: what it serves, how it is, and requests to it."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import msgspec

from colonnade.replica.foreign.kinds import Kind
from colonnade.wire.errors import BadSetting, ReplicaLost

LOOK_S = 5.0
"""A look at health or metrics may take this long."""
CONNECT_S = 5.0
LIMIT = 16 << 20
"""Bytes of a page that is looked at."""


class Unreachable(Exception):
    """Nobody listens there."""


class Slow(Exception):
    """Somebody does, and does not answer in time, or not with what was asked for."""


@dataclass(frozen=True, slots=True)
class Served:
    """A model of the server. `context`: 0 where it does not say."""

    name: str
    context: int = 0


class Server:
    """`close` it. Redirects are not followed, and proxies of the environment are not used."""

    def __init__(self, url: str, kind: Kind, key: str = "") -> None:
        self.url = url.rstrip("/").removesuffix("/v1")
        self.kind = kind
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S)
        connector = aiohttp.TCPConnector(limit=0)
        self._session = aiohttp.ClientSession(connector=connector, headers=headers, timeout=timeout)

    async def close(self) -> None:
        await self._session.close()

    async def healthy(self) -> bool:
        """Whether it takes requests. Raises Unreachable, Slow."""
        return (await self._get(self.kind.health))[0] == 200

    async def metrics(self) -> str:
        """Raises Unreachable; Slow, too, where it has no such page."""
        status, text = await self._get(self.kind.metrics)
        if status != 200:
            raise Slow(f"{self.kind.metrics} answers {status}")
        return text

    async def models(self) -> list[Served]:
        """Raises Unreachable, Slow."""
        status, text = await self._get("/v1/models")
        if status != 200:
            raise Slow(f"/v1/models answers {status}")
        try:
            found = msgspec.json.decode(text, type=_Models)
        except msgspec.DecodeError as error:
            raise Slow(f"/v1/models: {error}") from error
        return [Served(each.id, each.context) for each in found.data]

    @contextlib.asynccontextmanager
    async def post(self, path: str, body: bytes) -> AsyncGenerator[aiohttp.ClientResponse]:
        """Raises ReplicaLost when it cannot be reached, or breaks off inside."""
        headers = {"Content-Type": "application/json"}
        try:
            async with self._session.post(self.url + path, data=body, headers=headers, allow_redirects=False) as answer:
                yield answer
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise ReplicaLost(f"the engine was lost: {_words(error)}", hint="send the request again") from error

    async def _get(self, path: str) -> tuple[int, str]:
        timeout = aiohttp.ClientTimeout(total=LOOK_S)
        try:
            async with self._session.get(self.url + path, timeout=timeout, allow_redirects=False) as answer:
                return answer.status, (await answer.content.read(LIMIT)).decode("utf-8", "replace")
        except aiohttp.ClientConnectorError as error:
            raise Unreachable(_words(error)) from error
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise Slow(_words(error)) from error


class _Meta(msgspec.Struct):
    n_ctx: int = 0


class _Model(msgspec.Struct):
    """vLLM and SGLang say `max_model_len`; llama.cpp says in `meta` what one of its slots holds."""

    id: str
    max_model_len: int | None = None
    meta: _Meta | None = None

    @property
    def context(self) -> int:
        return self.max_model_len or (self.meta.n_ctx if self.meta else 0)


class _Models(msgspec.Struct):
    data: list[_Model]


def checked_url(url: str) -> str:
    """Raises BadSetting."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise BadSetting(f"engine_url {url!r} is not the URL of a server", hint="write it as http://HOST:PORT")
    return url


def read_key(file: str) -> str:
    """Of the file, "" for none. Raises BadSetting."""
    if not file:
        return ""
    try:
        key = Path(file).expanduser().read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        hint = "engine_key_file names it"
        raise BadSetting(f"cannot read the engine's key from {file}: {error}", hint=hint) from error
    if not key.isprintable() or not key.isascii():
        raise BadSetting(f"the key in {file} holds characters that cannot be sent", hint="engine_key_file names it")
    return key


def _words(error: BaseException) -> str:
    words: Any = str(error)
    return words or type(error).__name__
