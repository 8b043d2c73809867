"""The list of models: what one replica of each says of itself, asked once in its life."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec

from colonnade.gateway.fetch import FetchFailed, get
from colonnade.gateway.plane import Plane
from colonnade.gateway.target import Target

PATIENCE = 2.0
"""Seconds that a replica may take to say what it serves."""


async def list_models(plane: Plane) -> list[dict[str, Any]]:
    """Every name that a request may ask for; of those without a replica to ask, no more than the name."""
    return await asyncio.gather(*(_describe(plane, name) for name in plane.table.names()))


async def _describe(plane: Plane, name: str) -> dict[str, Any]:
    targets = sorted(plane.table.serving(name), key=Target.rank)
    for target in targets:
        if found := await _card(plane, target, name):
            return found
    return {"id": name, "object": "model", "created": 0, "owned_by": "colonnade", "ready": bool(targets)}


async def _card(plane: Plane, target: Target, name: str) -> dict[str, Any] | None:
    """None when the replica cannot say it now."""
    epoch = target.route.epoch
    if epoch not in plane.cards:
        try:
            status, body = await get(f"{target.route.url}/v1/models", PATIENCE)
            if status != 200:
                return None
            plane.cards[epoch] = _entries(body)
        except (FetchFailed, msgspec.DecodeError):
            return None
    entries = plane.cards[epoch]
    entry = next((e for e in entries if e.get("id") == name), entries[0] if entries else None)
    return {**entry, "id": name} if entry else None


def _entries(body: bytes) -> list[dict[str, Any]]:
    return msgspec.json.decode(body, type=_ModelList).data


class _ModelList(msgspec.Struct):
    data: list[dict[str, Any]]
