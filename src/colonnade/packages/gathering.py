"""When a batch is full, or has waited long enough. Pure."""

from __future__ import annotations

from typing import Generic, TypeVar

T = TypeVar("T")


class Gathering(Generic[T]):
    """`size` items make a batch, and so do fewer `wait` seconds after the first of them came."""

    def __init__(self, size: int, wait: float) -> None:
        self._size = size
        self._wait = wait
        self._items: list[T] = []
        self.due: float | None = None
        """When the batch that is gathered now has waited long enough; None without one."""

    def add(self, item: T, now: float) -> list[T]:
        """The batch that this item makes full; empty otherwise."""
        if not self._items:
            self.due = now + self._wait
        self._items.append(item)
        return self._take() if len(self._items) >= self._size else []

    def tick(self, now: float) -> list[T]:
        """The batch that has waited long enough; empty otherwise."""
        return self._take() if self.due is not None and now >= self.due else []

    def _take(self) -> list[T]:
        taken, self._items, self.due = self._items, [], None
        return taken
