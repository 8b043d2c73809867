"""Which server a command talks to, and with which key: what was named, else the `up` that runs."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from colonnade.cli.api import Api
from colonnade.cli.home import Home
from colonnade.cli.running import running_up
from colonnade.cli.session import Session
from colonnade.wire.errors import BadSetting, NotFound, SetupError


@dataclass(frozen=True, slots=True)
class Server:
    url: str
    key: str

    @property
    def api(self) -> Api:
        return Api(self.url, self.key)

    def models(self) -> list[str]:
        return [entry["id"] for entry in self.api.call("GET", "/v1/models")["data"]]

    def model(self, wanted: str | None) -> str:
        """The model asked for, else the first one there is. Raises NotFound when none is served."""
        if wanted:
            return wanted
        served = self.models()
        if not served:
            raise NotFound(f"{self.url} serves no model", hint="`colonnade ps` says why")
        return served[0]


def find(session: Session, url: str | None, key: str | None) -> Server:
    """Raises SetupError with the reason `not_running`, saying how to start one."""
    home = Home(session.home)
    if url:
        return Server(plain(url), key or _own_key(home, url))
    up = running_up(home)
    if up is None or not up.url:
        raise SetupError(
            f"nothing runs in {home.path}",
            hint="`colonnade up` starts it; --url URL names a server elsewhere",
            code="not_running",
        )
    return Server(up.url, key or home.key())


def plain(url: str) -> str:
    """Without a trailing slash or /v1, which the OpenAI clients want and we add. Raises BadSetting for no URL."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise BadSetting(f"{url!r} is not the URL of a server", hint="--url http://HOST:PORT")
    return url.rstrip("/").removesuffix("/v1").rstrip("/")


def _own_key(home: Home, url: str) -> str:
    """The local key goes to the local `up` alone, never to a server somewhere else."""
    up = running_up(home)
    return home.key() if up is not None and up.url and plain(url) == up.url else ""
