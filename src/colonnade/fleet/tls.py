"""TLS between agents elsewhere and the control plane, by the standard library.

The control plane speaks it where agents dial in (`Door`), with a certificate that its operator gives. A one-time token
carries the SHA-256 of it, so the agent knows whom it talks to before it sends the token; with its own token the agent
gets the certificate that signs the control plane's, the last of the chain, and trusts that alone from then on. The
control plane's own certificate may be renewed as long as the signing one stays.
"""

from __future__ import annotations

import hashlib
import re
import ssl
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from colonnade.gateway.tls import Certificate
from colonnade.wire.errors import BadSetting, SetupError

_BLOCK = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)


@dataclass(frozen=True)
class Door:
    """Where agents elsewhere dial in."""

    host: str
    port: int
    certificate: Certificate

    def pin(self) -> str:
        """SHA-256 of the control plane's own certificate, in hexadecimal."""
        return hashlib.sha256(ssl.PEM_cert_to_DER_cert(self._chain()[0])).hexdigest()

    def authority(self) -> str:
        """The certificate that signs it, in PEM; its own where it signs itself."""
        return self._chain()[-1] + "\n"

    def _chain(self) -> list[str]:
        return _BLOCK.findall(self.certificate.chain.read_text(encoding="ascii"))


def door_of(listen: str, chain: Path | None, key: Path | None) -> Door | None:
    """None where nothing was said. Raises BadSetting."""
    if not listen and chain is None and key is None:
        return None
    host, _, port = listen.rpartition(":")
    if not (host and port.isdecimal() and chain is not None and key is not None):
        hint = "--listen HOST:PORT, --tls-cert FILE and --tls-key FILE go together"
        raise BadSetting("agents elsewhere need an address, a certificate and its key", hint=hint)
    certificate = Certificate(chain, key)
    certificate.context()
    return Door(host.strip("[]"), int(port), certificate)


def trust(authority: Path) -> ssl.SSLContext | bool:
    """What an agent trusts: the file that it was given when it enrolled, else what this machine does."""
    return ssl.create_default_context(cafile=str(authority)) if authority.exists() else True


def check_url(url: str) -> None:
    """Raises SetupError for a token's way in clear over a network."""
    parts = urlsplit(url)
    if parts.scheme != "https" and not _is_loopback(parts.hostname or ""):
        hint = "name it by https://: `python -m colonnade.fleet control --listen` speaks TLS"
        raise SetupError(f"the agent's token would go to {url} in clear", hint=hint)


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
