"""What the process that fetches tells the one that waits for it. Values only."""

from __future__ import annotations

import msgspec


class Doing(msgspec.Struct, frozen=True, tag="doing"):
    """In words, with how far it is."""

    text: str


class Fetched(msgspec.Struct, frozen=True, tag="fetched"):
    folder: str


class Unfetched(msgspec.Struct, frozen=True, tag="unfetched"):
    """`kind` is the class of the error."""

    message: str
    hint: str
    code: str
    kind: str


Said = Doing | Fetched | Unfetched
