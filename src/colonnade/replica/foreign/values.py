"""JSON and MessagePack of others, of which nothing is known beforehand. Pure."""

from __future__ import annotations

from typing import Any, cast


def fields_of(value: Any) -> dict[str, Any] | None:
    """The value, if it is an object."""
    return cast("dict[str, Any]", value) if isinstance(value, dict) else None


def items_of(value: Any) -> list[Any] | None:
    """The value, if it is a list."""
    return cast("list[Any]", value) if isinstance(value, list) else None
