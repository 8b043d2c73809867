"""TLS towards clients, by the standard library: a certificate and its key, read again with the routes."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path

from colonnade.wire.errors import BadSetting

HANDSHAKE = 10.0
"""Seconds that a client may take for it."""


@dataclass(frozen=True)
class Certificate:
    """Files in PEM: the chain, the server's own first, and the key."""

    chain: Path
    key: Path

    def context(self) -> ssl.SSLContext:
        """TLS 1.2 and later, HTTP/1.1. Raises BadSetting."""
        made = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        made.set_alpn_protocols(["http/1.1"])
        self.read_into(made)
        return made

    def read_into(self, context: ssl.SSLContext) -> None:
        """New connections get what the files hold now. Raises BadSetting, and then nothing has changed."""
        try:
            ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(self.chain, self.key, _no_password)
            context.load_cert_chain(self.chain, self.key, _no_password)
        except (OSError, ValueError) as error:  # an SSLError is an OSError
            reason = f"cannot use the certificate {self.chain} with the key {self.key}: {error}"
            raise BadSetting(reason, hint="--tls-cert and --tls-key name files in PEM") from error


def _no_password() -> str:
    """Nobody is there to type one."""
    raise ValueError("the key is encrypted; a gateway takes one that is not")
