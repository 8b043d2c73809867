"""API keys: 256 random bits, shown once, kept as a keyed digest.

A plain digest would do against guessing; the pepper makes a stolen table useless without the place it is kept in.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets

PREFIX = "cln_"


def new_key() -> str:
    return PREFIX + secrets.token_urlsafe(32)


def new_pepper() -> str:
    """In hex, as `Routes` carries it."""
    return secrets.token_hex(32)


def digest(pepper: str, key: str) -> str:
    """What `wire.routes.KeyRecord` holds."""
    return hmac.new(bytes.fromhex(pepper), key.encode(), hashlib.sha256).hexdigest()
