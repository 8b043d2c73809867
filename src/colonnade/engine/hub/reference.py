"""What a model is called on a hub: `org/name`, or `org/name@revision`. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

_PART = r"[A-Za-z0-9](?:[A-Za-z0-9_-]|\.(?!\.)){0,95}"
_FORM = re.compile(rf"({_PART}/{_PART})(?:@([A-Za-z0-9](?:[\w/-]|\.(?!\.)){{0,199}}))?", re.ASCII)

MAIN = "main"


@dataclass(frozen=True, slots=True)
class Reference:
    """`revision`: a branch, a tag or a commit."""

    repo: str
    revision: str = MAIN

    @classmethod
    def parse(cls, text: str) -> Reference | None:
        """None for what has not the form; a folder that has it goes first, which is the caller's to see."""
        found = _FORM.fullmatch(text)
        return None if found is None else cls(found[1], found[2] or MAIN)

    @property
    def name(self) -> str:
        """What requests call it."""
        return self.repo.partition("/")[2]

    @property
    def slug(self) -> str:
        """One part of a path."""
        return f"{self.repo}@{self.revision}".replace("/", "--")

    def __str__(self) -> str:
        return self.repo if self.revision == MAIN else f"{self.repo}@{self.revision}"
