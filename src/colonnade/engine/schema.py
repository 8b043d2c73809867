"""JSON schemas, lowered to what can be enforced exactly. Pure.

`lower` only rewrites to what means the same; what it leaves, the grammar library takes or refuses:

- `format` that draft 2020-12 does not name is an annotation, as the draft says, and is taken out;
- `x-guidance`, a switch of the library's that would make it lenient, is no keyword of JSON schema, and is taken out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, cast

FORMATS = frozenset(("date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid", "uri"))
"""Enforced; every other name is an annotation."""

_MAPS = ("properties", "patternProperties", "$defs", "definitions", "dependentSchemas")
_LISTS = ("allOf", "anyOf", "oneOf", "prefixItems", "items")
_SINGLES = (
    *("items", "additionalItems", "additionalProperties", "not", "if", "then", "else", "contains", "propertyNames"),
    *("unevaluatedItems", "unevaluatedProperties"),
)

Schema = dict[str, Any]


def lower(schema: Any) -> Any:
    """An equal schema within what a library enforces, as far as that can be. The argument is not changed."""
    return _rewrite(schema, _plain)


def _rewrite(value: Any, change: Callable[[Schema], Schema]) -> Any:
    """Every subschema, the innermost first."""
    schema = mapping(value)
    if schema is None:
        return value
    rewritten = dict(schema)
    for name in _MAPS:
        if (inner := mapping(schema.get(name))) is not None:
            rewritten[name] = {key: _rewrite(each, change) for key, each in inner.items()}
    for name in _LISTS:
        if (listed := sequence(schema.get(name))) is not None:
            rewritten[name] = [_rewrite(each, change) for each in listed]
    for name in _SINGLES:
        if (inner := mapping(schema.get(name))) is not None:
            rewritten[name] = _rewrite(inner, change)
    return change(rewritten)


def _plain(schema: Schema) -> Schema:
    schema.pop("x-guidance", None)
    if isinstance(form := schema.get("format"), str) and form not in FORMATS:
        del schema["format"]
    return schema


def locate(schema: Any, keyword: str) -> str | None:
    """The subschema in which `keyword` first stands, as a JSON pointer."""
    return next((path for path, each in subschemas(schema) if keyword in each), None)


def subschemas(value: Any, path: str = "") -> Iterator[tuple[str, Schema]]:
    """Each with its JSON pointer, the outermost first."""
    schema = mapping(value)
    if schema is None:
        return
    yield path, schema
    for name in _MAPS:
        for key, each in (mapping(schema.get(name)) or {}).items():
            yield from subschemas(each, f"{path}/{name}/{_escaped(key)}")
    for name in _LISTS:
        for index, each in enumerate(sequence(schema.get(name)) or ()):
            yield from subschemas(each, f"{path}/{name}/{index}")
    for name in _SINGLES:
        yield from subschemas(schema.get(name), f"{path}/{name}")


def mapping(value: Any) -> Schema | None:
    return cast(Schema, value) if isinstance(value, dict) else None


def sequence(value: Any) -> list[Any] | None:
    return cast(list[Any], value) if isinstance(value, list) else None


def _escaped(key: str) -> str:
    """RFC 6901."""
    return key.replace("~", "~0").replace("/", "~1")
