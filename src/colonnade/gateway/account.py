"""What is written down of a request: what it is reckoned to take; when it has ended, what it took, counts, times, and a
line of the access log."""

from __future__ import annotations

import time

from colonnade.gateway.admission import Peek
from colonnade.gateway.delivery import Delivery
from colonnade.gateway.fairness import Waiting
from colonnade.gateway.http1 import Head
from colonnade.gateway.plane import Access, Plane
from colonnade.gateway.quota import Quota
from colonnade.gateway.target import Target
from colonnade.gateway.usage import Usage
from colonnade.wire.errors import RateLimited
from colonnade.wire.routes import Allowance, KeyRecord, TokenSum


class Account:
    """Of one request."""

    __slots__ = (
        "_allowance",
        "_key",
        "_late",
        "_likely",
        "_path",
        "_plane",
        "_prompt",
        "_quota",
        "_reserved",
        "_size",
        "_standing",
        "label",
        "model",
        "started",
        "tenant",
    )

    def __init__(self, plane: Plane, head: Head, body: bytes) -> None:
        self._plane = plane
        self._path = head.path
        self._size = len(body)
        self._key = ""
        self._standing: Waiting | None = None
        self._quota: Quota | None = None
        self._prompt = self._reserved = self._likely = 0.0
        self._allowance: Allowance
        self._late: float
        self.started = plane.now()
        self.model = ""
        self.tenant = ""
        self.label = ""
        """The model, once a replica was found for it: clients cannot make up metrics' labels."""

    def admit(self, record: KeyRecord, peek: Peek, late: float) -> None:
        """What its key allows. What it may take is reserved: raises RateLimited. `late`: when its time is over. Raises
        what `Budgets.check` raises."""
        plane = self._plane
        self._key = record.name
        self._allowance, self._late = record.allowance, late
        most, self._likely = peek.most(plane.table.usual)
        self._prompt = self._size * plane.table.index.tokens_per_byte
        plane.budgets.check(record.name, str(peek.model), time.time(), plane.silence())
        quota = plane.quotas.of(record)
        if quota is not None:
            self._reserve(quota, record.name, self._prompt + most)

    def stand(self) -> Waiting:
        """How it waits. Only of those that waited is the service counted: what nobody else wanted is owed to nobody."""
        allowed = self._allowance
        self._standing = Waiting(
            self.tenant,
            self._prompt + self._likely,
            self._size,
            allowed.priority,
            allowed.weight,
            min(self._late, self.started + self._plane.settings.queue_timeout),
            self.started,
        )
        return self._standing

    def _reserve(self, quota: Quota, key: str, tokens: float) -> None:
        try:
            quota.reserve(tokens, self.started)
        except RateLimited as error:
            self._plane.stats.limited[key, error.reason.removesuffix("_limited")] += 1
            raise
        self._quota, self._reserved = quota, tokens

    def close(self, request_id: bytes, status: int, delivery: Delivery, target: Target | None, *, sent: bool) -> None:
        """`sent`: a replica has had it; what none has had costs nothing."""
        plane, began = self._plane, self.started
        first, whole = delivery.first_at - began, plane.now() - began
        plane.stats.requests[self.label, status] += 1
        used = delivery.used() if delivery.begun else None
        if delivery.begun:
            plane.stats.took(self.label, first, whole)
            if target is not None:
                plane.stats.answered(target.route.model, target.route.version, status, first)
            if target is not None and delivery.streams:
                plane.table.answered(target, whole - first)
        self._settle(used, status, sent=sent)
        if plane.access is None:
            return
        plane.access(
            Access(
                request_id=request_id.decode("latin-1"),
                path=self._path.decode("latin-1"),
                model=self.model,
                tenant=self.tenant,
                replica=target.route.replica if target else "",
                status=status,
                first_byte_s=round(first, 6),
                duration_s=round(whole, 6),
                request_bytes=self._size,
                prompt_tokens=used.prompt if used else None,
                completion_tokens=used.completion if used else None,
            )
        )

    def _settle(self, used: Usage | None, status: int, *, sent: bool) -> None:
        """Set right what was reckoned."""
        plane = self._plane
        if used is not None:
            plane.stats.used(self.tenant, used.prompt, used.completion)
            sum = TokenSum(int(time.time() // 3600), self._key, self.label or self.model, used.prompt, used.completion)
            plane.bill.add(sum)
        if self._standing is not None:
            taken = self._taken(used, status, self._standing.tokens) if sent else 0.0
            plane.lobby.settle(self.model, self._standing, taken)
        if self._quota is not None and sent:
            self._quota.settle(self._reserved, self._taken(used, status, self._reserved), plane.now())
        elif self._quota is not None:
            self._quota.give_back(self._reserved, plane.now())

    def _taken(self, used: Usage | None, status: int, reckoned: float) -> float:
        """Tokens that it took; where no replica says, as far as it can be told."""
        if used is not None:
            return used.prompt + used.completion
        if status == 499:
            return self._prompt
        return 0.0 if status >= 400 else reckoned
