"""A face with its engine, from a model's name to the first request: where it is from, and the engine's command line."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from functools import cached_property
from pathlib import Path

from colonnade.replica.arrival import fetch, reference_of
from colonnade.replica.backend import EngineArgv
from colonnade.replica.face import Face
from colonnade.replica.metrics import Metrics
from colonnade.replica.model import ServedModel
from colonnade.replica.spare import Spares
from colonnade.wire.settings import Resolved, to_argv

ENGINE = "colonnade.engine"

Open = Callable[[str, str, str, str], ServedModel]
"""`ServedModel.open`, or one that has it open already."""


class BringingUp:
    """`start` has its face take requests, once its engine says so. A face that was made is to be stopped."""

    def __init__(
        self,
        model: str,
        epoch: str,
        resolved: Resolved,
        *,
        opens: Open = ServedModel.open,
        spares: Spares | None = None,
        metrics: Metrics | None = None,
        module: str = ENGINE,
    ) -> None:
        """`model`: a folder, a shipped name, or one on a hub. Raises BadModel."""
        self._reference = reference_of(model)
        self._resolved = resolved
        self._opens = opens
        self._module = module
        self._epoch = epoch
        self._spares = spares or Spares()
        self._metrics = metrics or Metrics()
        self._served = self._opened(model, resolved.replica.served_name) if self._reference is None else None

    @cached_property
    def face(self) -> Face:
        """Made when it is first asked for, on the event loop."""
        resolved = self._resolved
        return Face(self._served, self._epoch, resolved.http, resolved.replica, self._spares, self._metrics)

    async def start(self) -> None:
        """Raises BadModel, SetupError."""
        if self._reference is not None:
            folder = await fetch(self._reference, self._resolved.home, self.face.fetching)
            name = self._resolved.replica.served_name or self._reference.name
            self.face.adopt(await asyncio.to_thread(self._opened, str(folder), name))
        await self.face.start(engine_argv(self._module, self.face.model.folder.path, self._resolved))

    def _opened(self, path: str, name: str) -> ServedModel:
        own = self._resolved.replica
        return self._opens(path, name, own.tool_parser, own.reasoning_parser)


def engine_argv(module: str, folder: Path, resolved: Resolved) -> EngineArgv:
    """The engine's command line, with all of its settings as they were resolved here."""

    def argv(commands: str, reports: str) -> list[str]:
        return [
            *(sys.executable, "-m", module, "--model", str(folder)),
            *("--commands", commands, "--reports", reports, f"--home={resolved.home}"),
            *(*to_argv(resolved.engine), *to_argv(resolved.replica), *to_argv(resolved.log)),
        ]

    return argv
