"""What is written down of a request when it has ended: counts, times, a line of the access log."""

from __future__ import annotations

from colonnade.gateway.delivery import Delivery
from colonnade.gateway.http1 import Head
from colonnade.gateway.plane import Access, Plane
from colonnade.gateway.target import Target


class Account:
    """Of one request."""

    __slots__ = ("_path", "_plane", "_size", "_started", "label", "model", "tenant")

    def __init__(self, plane: Plane, head: Head, body: bytes) -> None:
        self._plane = plane
        self._path = head.path
        self._size = len(body)
        self._started = plane.now()
        self.model = ""
        self.tenant = ""
        self.label = ""
        """The model, once a replica was found for it: clients cannot make up metrics' labels."""

    def close(self, request_id: bytes, status: int, delivery: Delivery, target: Target | None) -> None:
        plane, began = self._plane, self._started
        first, whole = delivery.first_at - began, plane.now() - began
        plane.stats.requests[self.label, status] += 1
        if delivery.begun:
            plane.stats.took(self.label, first, whole)
            if target is not None and delivery.streams:
                plane.table.answered(target, whole - first)
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
            )
        )
