"""Where routes and keys come from: the control plane, by long polls, or a file. What was known last stays in use."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from pathlib import Path

import msgspec

from colonnade.gateway.fetch import FetchFailed, get
from colonnade.wire.errors import BadSetting
from colonnade.wire.routes import Routes

LOG = logging.getLogger("colonnade.gateway")
HOLD = 75.0
"""Seconds that a poll may take; longer than any control plane holds one."""
FIRST, LONGEST = 0.1, 5.0
"""Seconds between tries when the control plane does not answer: doubling, and by chance, so that gateways do not come
all at once."""

_decode = msgspec.json.Decoder(Routes).decode


def read_file(path: Path) -> Routes:
    """Raises BadSetting."""
    try:
        return _decode(path.read_bytes())
    except OSError as error:
        raise BadSetting(f"cannot read {path}: {error.strerror}", hint="--routes names the file") from error
    except msgspec.DecodeError as error:
        raise BadSetting(f"{path} does not hold routes: {error}", hint="wire/routes.py says what it holds") from error


class _Control(msgspec.Struct):
    """`run/control.json`, as the control plane writes it."""

    token: str
    url: str = ""


class ControlFeed:
    """Polls the control plane for what is newer than what is known."""

    def __init__(
        self, url: str, token_file: Path, apply: Callable[[Routes], None], heard: Callable[[], None] = lambda: None
    ) -> None:
        self._url = url.rstrip("/")
        self._token_file = token_file
        self._apply = apply
        self._heard = heard
        self._revision = -1
        self._failures = 0
        self.known = asyncio.Event()
        """Set when the first routes were taken over."""

    async def run(self) -> None:
        while True:
            try:
                await self._poll()
                self._failures = 0
            except (FetchFailed, BadSetting, OSError, msgspec.DecodeError) as error:
                if not self._failures:
                    LOG.warning("the control plane does not answer, going on with what is known: %s", error)
                self._failures += 1
                await asyncio.sleep(random.uniform(0.5, 1) * min(LONGEST, FIRST * 2**self._failures))

    async def _poll(self) -> None:
        """Raises FetchFailed, OSError, DecodeError, or BadSetting when what came cannot be used."""
        url, token = self.access()
        status, body = await get(f"{url}/v1/routes?since={self._revision}", HOLD, token)
        if status in (204, 304):
            self._heard()
            return
        if status != 200:
            raise FetchFailed(f"status {status} from {url}")
        routes = _decode(body)
        self._heard()
        if routes.revision != self._revision:
            self._apply(routes)
            self._revision = routes.revision
        else:
            await asyncio.sleep(FIRST)  # a control plane that does not hold polls is not to be asked all the time
        if self._failures:
            LOG.info("the control plane answers again, at revision %d", routes.revision)
        self.known.set()

    def access(self) -> tuple[str, str]:
        """URL and token; read anew each time, since a control plane that was started again has others."""
        text = self._token_file.read_text(encoding="utf-8").strip()
        if not text.startswith("{"):
            return self._url, text
        control = msgspec.json.decode(text, type=_Control)
        return control.url.rstrip("/") or self._url, control.token
