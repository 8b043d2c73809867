"""Streams that outlive their connection: found again by tenant, request id and body, until their time is over."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from colonnade.replica.identity import Identity
from colonnade.replica.spool import Spool
from colonnade.wire.errors import ColonnadeError, StreamGone

MAX_STREAMS = 1024
"""Kept at a time, running or not; beyond it the oldest that nobody reads is let go."""


class Stream(Protocol):
    """An answer that is being made, whoever makes it."""

    @property
    def identity(self) -> Identity: ...

    @property
    def spool(self) -> Spool: ...

    def cancel(self, error: ColonnadeError | None = None) -> None: ...


S = TypeVar("S", bound=Stream)


@dataclass(slots=True)
class _Kept(Generic[S]):
    generation: S
    digest: bytes
    timer: asyncio.TimerHandle | None = None


class Streams(Generic[S]):
    """`digest` is of the path and the body: only the same request goes on."""

    def __init__(self, epoch: str) -> None:
        self._epoch = epoch
        self._kept: dict[tuple[str, str], _Kept[S]] = {}

    def keep(self, generation: S, digest: bytes) -> None:
        """From now on, until `SECONDS` after its connection ends. A stream of the same id before it is let go."""
        key = _key(generation.identity)
        self._drop(key)
        while len(self._kept) >= MAX_STREAMS and self._drop_oldest():
            pass
        self._kept[key] = _Kept(generation, digest)

    def detach(self, generation: S) -> None:
        """Its connection has ended."""
        key = _key(generation.identity)
        kept = self._kept.get(key)
        if kept is None or kept.generation is not generation:
            generation.cancel()
            return
        if kept.timer is not None:
            kept.timer.cancel()
        loop = asyncio.get_running_loop()
        kept.timer = loop.call_later(generation.identity.resume, self._drop, key)

    def resume(self, identity: Identity, digest: bytes) -> tuple[S, int]:
        """The stream and the offset to go on from. Raises StreamGone."""
        kept = self._kept.get(_key(identity))
        event = identity.last_event
        if kept is None or kept.digest != digest:
            raise StreamGone("no such stream is kept here", hint="send the request again without Last-Event-ID")
        if event is None or event.epoch != self._epoch:
            raise StreamGone("Last-Event-ID is not of this replica", hint="send the request again without it")
        offset = kept.generation.spool.find(str(event))
        if offset is None:
            raise StreamGone(f"event {event} is not kept any more", hint="send the request again without Last-Event-ID")
        if kept.timer is not None:
            kept.timer.cancel()
            kept.timer = None
        return kept.generation, offset

    def _drop(self, key: tuple[str, str]) -> None:
        kept = self._kept.pop(key, None)
        if kept is None:
            return
        if kept.timer is not None:  # nobody reads it
            kept.timer.cancel()
            kept.generation.cancel()

    def _drop_oldest(self) -> bool:
        oldest = next((key for key, kept in self._kept.items() if kept.timer is not None), None)
        if oldest is not None:
            self._drop(oldest)
        return oldest is not None


def _key(identity: Identity) -> tuple[str, str]:
    return identity.tenant, identity.request_id
