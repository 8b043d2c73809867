"""What is wrong with a package: always with the file and the line, and all of it at once."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import msgspec

from colonnade.wire.errors import BadModel

Path = tuple[str | int, ...]
"""Where in a document: keys of mappings and places in lists."""

Weight = Literal["error", "refused", "warning"]
"""`error`: it cannot be used. `refused`: it would run, but says something that is not kept, or not known. `warning`:
look at it."""


class Fault(msgspec.Struct, frozen=True, order=True):
    file: str
    line: int
    message: str
    where: str = ""
    """The key, as in `runtime.transport.kind`; empty for a whole file."""
    weight: Weight = "error"

    def __str__(self) -> str:
        where = f"{self.where}: " if self.where else ""
        mark = "" if self.weight == "error" else f"{self.weight}: "
        return f"{self.file}:{self.line}: {mark}{where}{self.message}"


class BadPackage(BadModel):
    """Carries every fault that was found."""

    code = "bad_package"

    def __init__(self, folder: str, faults: Iterable[Fault]) -> None:
        self.faults = tuple(faults)
        count = len(self.faults)
        what = "1 fault" if count == 1 else f"{count} faults"
        super().__init__(f"{folder} has {what}", hint="\n".join(str(each) for each in self.faults))
