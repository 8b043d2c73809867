"""The command of a package with a server of its own, as it is run here. Pure."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping

import msgspec

from colonnade.packages.schema.running import DockerServer

MOUNTED = ("/app", "/secrets")
"""Folders that Truss's images have."""


class Command(msgspec.Struct, frozen=True):
    """`argv` of the process, and where it will listen."""

    argv: tuple[str, ...]
    port: int
    predict: str
    ready: str
    live: str


def command_of(server: DockerServer, port: int, places: Mapping[str, str]) -> Command:
    """`port`: where it is to listen. Another one than config.yaml's is written into the command, where the command
    names its port. `places`: what stands here for folders of `MOUNTED`.

    Raises ValueError for a command that no shell can read.
    """
    text = server.start_command or ""
    for folder, place in places.items():
        text = re.sub(rf"(?<![\w./-]){re.escape(folder)}(?=/|\s|$|[\"')])", lambda _, place=place: place, text)
    if port != server.server_port:
        text = re.sub(rf"(?<![\w.]){server.server_port}(?![\w.])", str(port), text)
    argv = tuple(shlex.split(text))
    return Command(argv, port, server.predict_endpoint, server.readiness_endpoint, server.liveness_endpoint)


def names_its_port(server: DockerServer) -> bool:
    """Whether the command says where to listen, so that it can be told to listen elsewhere."""
    return re.search(rf"(?<![\w.]){server.server_port}(?![\w.])", server.start_command or "") is not None
