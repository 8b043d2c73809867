"""A key of config.yaml that goes beyond a Python class in a folder, and what becomes of it here. Pure."""

from __future__ import annotations

from typing import Literal

import msgspec

Outcome = Literal["kept", "mapped", "refused"]


class Wish(msgspec.Struct, frozen=True):
    """`key` of config.yaml, what becomes of it, and how or why. Refused, one that `decides` leaves nothing to serve."""

    key: str
    verdict: Outcome
    said: str
    decides: bool = False
