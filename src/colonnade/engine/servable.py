"""What the engine's process is given to serve: a worker, its limits, and what is known about it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from colonnade.engine.drafter import Drafter
from colonnade.engine.limits import Limits
from colonnade.engine.step import Worker
from colonnade.wire.messages import Loaded


class Holder(Protocol):
    """Has the weights in memory. Called between steps, when there is no work."""

    @property
    def fingerprint(self) -> str: ...

    def update(self, folder: str) -> None:
        """Other weights from now on. What it raises has changed nothing."""
        ...

    def sleep(self, level: int) -> None: ...

    def wake(self) -> None:
        """What it raises leaves it asleep."""
        ...


@dataclass(frozen=True, slots=True)
class Servable:
    """A worker with weights in it, and what is known about it."""

    worker: Worker
    limits: Limits
    fingerprint: str
    facts: dict[str, str | int | float | bool]
    drafter: Drafter | None = None
    holder: Holder | None = None
    """None: weights stay as they are."""
    overlap: bool = False
    """Plan a step while the one before it runs."""
    named: Callable[[str], str] = str
    """From the fingerprint of weights and kernels to that of the answers."""

    def loaded(self) -> Loaded:
        """How things stand now."""
        current = self.fingerprint if self.holder is None else self.holder.fingerprint
        return Loaded(self.named(current), self.facts, self.limits.pages, self.limits.context)
