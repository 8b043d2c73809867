"""Who waits, who goes next, who is refused. Pure: offers, service and `now` come in.

    next = the highest priority; of those the tenant that got the least service; of its requests the one that came first
    service[tenant] += tokens / weight          when a request goes, as guessed; set right when it is over

After the Virtual Token Counter (Sheng et al., OSDI 2024): a tenant that comes after a pause starts at the least
service of those that wait, less a small credit, so that nobody saves up more; at what those have had for sure, since a
guess may be far too high. The credit is the warp of Borrowed Virtual Time (Duda and Cheriton, SOSP 1999): without it,
one that asks for little, but for three things at once, waits for two turns of one that asks without end.

Requests are held here and go when there is room (late binding), so that a late, more important one overtakes. When
count or bytes are full, the lowest priority goes, of it the tenant with most waiting, of it the last to come; a
newcomer that is no better than that is refused itself.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from colonnade.wire.errors import CapacityError, DeadlineExceeded, Overloaded

_FADE = 0.98
CREDIT = 4096.0
"""Tokens, times weight, that a tenant which asked for little may have at once before it takes turns."""


@dataclass(slots=True, eq=False)
class Waiting:
    """`tokens`: service it is expected to take; `deadline` and `since` in seconds of the same clock as `now`."""

    tenant: str
    tokens: float
    size: int = 0
    priority: int = 0
    weight: float = 1.0
    deadline: float = float("inf")
    since: float = 0.0
    counted: bool = False
    """Its tenant's service has it, as guessed: it went, and is not settled."""


Refusal = tuple[Waiting, CapacityError | DeadlineExceeded]


class FairQueue:
    """Bounded by `most` requests and `most_bytes` of their bodies."""

    def __init__(self, most: int = 4096, most_bytes: int = 256 << 20) -> None:
        self._most, self._most_bytes = most, most_bytes
        self._queues: dict[tuple[int, str], deque[Waiting]] = {}
        self._service: dict[str, float] = {}
        self._guessed: dict[str, float] = {}
        """Of the service, what is not settled yet."""
        self._highest = 0.0
        """The most service that anyone had for sure: where a tenant starts that comes when nobody waits."""
        self._bytes = self._count = 0
        self._gap = 0.0
        self._went_at: float | None = None

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Waiting]:
        for queue in list(self._queues.values()):
            yield from list(queue)

    @property
    def bytes(self) -> int:
        return self._bytes

    def offer(self, item: Waiting, now: float) -> list[Refusal]:
        """The item waits, unless it is in what is returned: those refused for want of room."""
        self._lift(item.tenant)
        self._put(item)
        refused: list[Refusal] = []
        while self._count > self._most or self._bytes > self._most_bytes:
            refused.append((self._shed(), self._full()))
        return refused

    def next(self, now: float) -> tuple[Waiting | None, list[Refusal]]:
        """The one to go now, whose service is counted; and those whose deadline has passed before it was their turn."""
        late: list[Refusal] = []
        while self._queues:
            key = min(self._queues, key=lambda key: (-key[0], self._service[key[1]]))
            item = self._take(key, last=False)
            if item.deadline > now:
                self._count_in(item, item.tokens)
                item.counted = True
                self._pace(now)
                return item, late
            late.append((item, too_late()))
        return None, late

    def put_back(self, item: Waiting) -> None:
        """It was to go and could not: it is again where it was, and its service is not counted."""
        self._count_in(item, -item.tokens)
        item.counted = False
        self._put(item, first=True)

    def withdraw(self, item: Waiting) -> None:
        """It waits no longer, if it did."""
        key = (item.priority, item.tenant)
        queue = self._queues.get(key)
        if queue is not None and item in queue:
            queue.remove(item)
            self._left(key, item)

    def settle(self, item: Waiting, tokens: float) -> None:
        """It took so many tokens, not those that were expected; one that did not go from here took none of ours."""
        if not item.counted:
            return
        item.counted = False
        self._count_in(item, -item.tokens)
        self._service[item.tenant] += tokens / item.weight
        self._highest = max(self._highest, self._sure(item.tenant))

    def retry_after(self) -> float:
        """Seconds until those that wait now will have gone, at the pace of late."""
        return max(1.0, self._count * self._gap)

    def _count_in(self, item: Waiting, tokens: float) -> None:
        self._service[item.tenant] += tokens / item.weight
        self._guessed[item.tenant] += tokens / item.weight

    def _lift(self, tenant: str) -> None:
        if any(key[1] == tenant for key in self._queues):
            return
        least = min((self._sure(key[1]) for key in self._queues), default=self._highest)
        guessed = self._guessed.setdefault(tenant, 0.0)
        self._service[tenant] = max(self._service.get(tenant, 0.0), least + guessed - CREDIT)

    def _sure(self, tenant: str) -> float:
        return self._service[tenant] - self._guessed[tenant]

    def _shed(self) -> Waiting:
        lowest = min(priority for priority, _ in self._queues)
        key = max((key for key in self._queues if key[0] == lowest), key=lambda key: len(self._queues[key]))
        return self._take(key, last=True)

    def _put(self, item: Waiting, *, first: bool = False) -> None:
        queue = self._queues.setdefault((item.priority, item.tenant), deque())
        if first:
            queue.appendleft(item)
        else:
            queue.append(item)
        self._count += 1
        self._bytes += item.size

    def _take(self, key: tuple[int, str], *, last: bool) -> Waiting:
        queue = self._queues[key]
        item = queue.pop() if last else queue.popleft()
        self._left(key, item)
        return item

    def _left(self, key: tuple[int, str], item: Waiting) -> None:
        if not self._queues[key]:
            del self._queues[key]
        self._count -= 1
        self._bytes -= item.size

    def _pace(self, now: float) -> None:
        """Of those that go while others wait: the time after the last one that waited says nothing of it."""
        if self._went_at is not None:
            self._gap = self._gap * _FADE + (now - self._went_at) * (1 - _FADE) if self._gap else now - self._went_at
        self._went_at = now if self._queues else None

    def _full(self) -> Overloaded:
        after = self.retry_after()
        return Overloaded(
            f"{self._count} requests of {self._bytes} bytes wait, and this one is the least of them",
            hint=f"send it again in {after:.0f} s; gateway.queue_limit and gateway.queue_bytes are the knobs",
            code="queue_full",
            after=after,
        )


def too_late() -> DeadlineExceeded:
    return DeadlineExceeded(
        "its deadline passed while it waited",
        hint="Colonnade-Timeout and gateway.queue_timeout are the knobs",
        code="deadline_exceeded",
    )
