"""A model that comes from a hub: fetched by a process of its own, so that a replica answers meanwhile and can end."""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import PIPE
from collections.abc import Callable
from pathlib import Path

import msgspec

from colonnade.engine.folder import shipped_names
from colonnade.engine.hub.reference import Reference
from colonnade.engine.hub.said import Doing, Fetched, Said, Unfetched
from colonnade.wire.errors import BadModel, SetupError

NOTES = Path("cache") / "hub"
"""In the state folder."""


def reference_of(model: str) -> Reference | None:
    """None for what is a folder, a file or a shipped name, and for what cannot be on a hub."""
    here = Path(model).expanduser().exists() or model in shipped_names()
    return None if here else Reference.parse(model)


async def fetch(reference: Reference, home: Path, tell: Callable[[str], None]) -> Path:
    """The folder. `tell` hears what is being done. When cancelled, it ends the process. Raises BadModel, SetupError."""
    argv = [sys.executable, "-m", "colonnade.engine.hub", reference.repo, reference.revision, str(home / NOTES)]
    process = await asyncio.create_subprocess_exec(*argv, stdout=PIPE)
    try:
        assert process.stdout is not None
        last: Said | None = None
        async for line in process.stdout:
            last = msgspec.json.decode(line, type=Said)
            if isinstance(last, Doing):
                tell(last.text)
        code = await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return _result(reference, last, code)


def _result(reference: Reference, last: Said | None, code: int) -> Path:
    match last:
        case Fetched():
            return Path(last.folder)
        case Unfetched():
            kind = BadModel if last.kind == BadModel.__name__ else SetupError
            raise kind(last.message, hint=last.hint, code=last.code)
        case _:
            raise SetupError(
                f"{reference} was not fetched: the process ended with status {code}",
                hint="start again: it goes on where it ended",
                code="fetch_ended",
            )
