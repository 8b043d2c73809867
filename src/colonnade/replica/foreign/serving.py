"""A replica around another engine's server, from its settings to its end."""

from __future__ import annotations

import socket
from collections.abc import Callable

from colonnade.replica.foreign.app import ForeignApp
from colonnade.replica.foreign.child import words_of
from colonnade.replica.foreign.face import ForeignFace
from colonnade.replica.foreign.kinds import KINDS
from colonnade.replica.foreign.lookout import check_endpoint
from colonnade.replica.foreign.server import Server, checked_url, read_key
from colonnade.replica.server import host
from colonnade.wire.errors import BadSetting
from colonnade.wire.settings import ReplicaSettings, Resolved


def is_foreign(settings: ReplicaSettings) -> bool:
    """Raises BadSetting for settings that do not go together."""
    if settings.engine_command and not settings.engine_url:
        hint = "engine_url says where it listens once it runs"
        raise BadSetting("engine_command is set, and engine_url is not", hint=hint)
    return bool(settings.engine_url)


def check_foreign(settings: ReplicaSettings) -> None:
    """Raises BadSetting for what can be seen to be wrong before anything runs."""
    checked_url(settings.engine_url)
    check_endpoint(settings.engine_events)
    read_key(settings.engine_key_file)
    if settings.engine_command:
        words_of(settings.engine_command)


async def serve_foreign(
    model: str, epoch: str, resolved: Resolved, bound: socket.socket, announce: Callable[[ForeignFace], None]
) -> str:
    """Until it is gone; the reason, "" for a clean end. Raises BadSetting."""
    own = resolved.replica
    check_foreign(own)
    server = Server(own.engine_url, KINDS[own.engine_kind], read_key(own.engine_key_file))
    face = ForeignFace(server, model, epoch, resolved.http, own)
    return await host(face, ForeignApp(face), bound, lambda: announce(face), face.start)
