"""Where a step listens: `unix:///path` on one host, `tcp://host:port` anywhere."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from colonnade.wire.errors import BadSetting


@dataclass(frozen=True)
class Address:
    path: str = ""
    host: str = ""
    port: int = 0

    def __str__(self) -> str:
        if self.path:
            return f"unix://{self.path}"
        return f"tcp://[{self.host}]:{self.port}" if ":" in self.host else f"tcp://{self.host}:{self.port}"


def parse_address(text: str) -> Address:
    """Raises BadSetting."""
    parts = urlsplit(text)
    try:
        if parts.scheme == "unix" and not parts.netloc and parts.path.startswith("/"):
            return Address(path=parts.path)
        if parts.scheme == "tcp" and parts.hostname and parts.port is not None and not parts.path:
            return Address(host=parts.hostname, port=parts.port)
    except ValueError:
        pass
    raise BadSetting(f"{text!r} is not the address of a step", hint="accepted: unix:///path or tcp://host:port")
