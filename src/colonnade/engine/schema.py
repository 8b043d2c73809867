"""JSON schemas, lowered to what can be enforced exactly. Pure.

`lower` only rewrites to what means the same; what it leaves, the grammar library takes or refuses:

- `format` that draft 2020-12 does not name is an annotation, as the draft says, and is taken out;
- `x-guidance`, a switch of the library's that would make it lenient, is no keyword of JSON schema, and is taken out;
- `dependencies` and its kin become alternatives: the property is absent, or what depends on it holds;
- `not` becomes the opposite, where that can be told (`engine/negation.py`);
- `oneOf` becomes `anyOf` where no value can be of two of its schemas, else each one with the opposites of the others;
- `if` becomes alternatives, where its opposite can be told; `then` and `else` without it say nothing;
- `uniqueItems` of at most one item says nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import unquote

from colonnade.engine.negation import Inexact, Resolve, disjoint, mapping, opposite, sequence

FORMATS = frozenset(("date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid", "uri"))
"""Enforced; every other name is an annotation."""

MOST_ALTERNATIVES = 6
"""Schemas of a `oneOf` that are told apart by opposites: it grows with the square."""

_MAPS = ("properties", "patternProperties", "$defs", "definitions", "dependentSchemas")
_LISTS = ("allOf", "anyOf", "oneOf", "prefixItems", "items")
_SINGLES = (
    *("items", "additionalItems", "additionalProperties", "not", "if", "then", "else", "contains", "propertyNames"),
    *("unevaluatedItems", "unevaluatedProperties"),
)

Schema = dict[str, Any]


def lower(schema: Any) -> Any:
    """An equal schema within what a library enforces, as far as that can be. The argument is not changed."""

    embedded = any("$id" in each or "id" in each for path, each in subschemas(schema) if path)

    def resolve(reference: str) -> Any:
        if embedded:  # a reference may start from another place than the root
            raise Inexact
        return _resolve(schema, reference)

    return _rewrite(schema, lambda each: _lowered(each, resolve))


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


def _lowered(schema: Schema, resolve: Resolve) -> Schema:
    """`schema` is a copy, its own to change; what has no exact rewriting stays as it is."""
    schema.pop("x-guidance", None)
    if isinstance(form := schema.get("format"), str) and form not in FORMATS:
        del schema["format"]
    if schema.get("uniqueItems") is False or schema.get("maxItems") in (0, 1):
        schema.pop("uniqueItems", None)
    conditions = _dependencies(schema)
    for name, rewrite in (("not", _not), ("oneOf", _one_of), ("if", _if)):
        if name in schema:
            conditions += _try(schema, rewrite, resolve)
    if "then" not in schema and "else" not in schema:
        schema.pop("if", None)
    if "if" not in schema:
        schema.pop("then", None)
        schema.pop("else", None)
    if (
        len(conditions) == 1
        and {"allOf", "anyOf"}.isdisjoint(schema)
        and list(mapping(conditions[0]) or ()) == ["anyOf"]
    ):
        schema |= conditions[0]
    elif conditions:
        schema["allOf"] = [*(sequence(schema.get("allOf")) or ()), *conditions]
    return schema


def _try(schema: Schema, rewrite: Callable[[Schema, Resolve], Any], resolve: Resolve) -> list[Any]:
    try:
        return [rewrite(schema, resolve)]
    except Inexact:
        return []


def _not(schema: Schema, resolve: Resolve) -> Any:
    condition = opposite(schema["not"], resolve)
    del schema["not"]
    return condition


def _if(schema: Schema, resolve: Resolve) -> Any:
    """`if` that holds and `then`, or its opposite and `else`."""
    holds, fails = schema["if"], opposite(schema["if"], resolve)
    then, other = schema.get("then", True), schema.get("else", True)
    del schema["if"]
    return {"anyOf": [{"allOf": [holds, then]}, {"allOf": [fails, other]}]}


def _one_of(schema: Schema, resolve: Resolve) -> Any:
    listed = sequence(schema["oneOf"]) or []
    pairs = [(one, other) for number, one in enumerate(listed) for other in listed[:number]]
    if all(disjoint(one, other, resolve) for one, other in pairs):
        alternatives = listed
    elif len(listed) > MOST_ALTERNATIVES:
        raise Inexact
    else:
        opposites = [opposite(each, resolve) for each in listed]
        alternatives = [
            {"allOf": [each, *opposites[:number], *opposites[number + 1 :]]} for number, each in enumerate(listed)
        ]
    del schema["oneOf"]
    return {"anyOf": alternatives}


def _dependencies(schema: Schema) -> list[Any]:
    """For each: the property is absent, or what depends on it holds."""
    found: list[Any] = []
    for name in ("dependencies", "dependentRequired", "dependentSchemas"):
        for key, wanted in (mapping(schema.pop(name, None)) or {}).items():
            names = sequence(wanted)
            condition = wanted if names is None else {"required": names}
            present = {"properties": {key: True}}  # first, for the order of properties
            found.append({"anyOf": [{"properties": {key: False}}, {"allOf": [present, condition]}]})
    return found


def _resolve(root: Any, reference: Any) -> Any:
    """What a JSON pointer within the schema leads to. Raises Inexact for any other reference."""
    if not isinstance(reference, str) or not reference.startswith("#") or reference[1:2] not in ("", "/"):
        raise Inexact
    found = root
    for part in unquote(reference[1:]).split("/")[1:]:
        key = part.replace("~1", "/").replace("~0", "~")
        schema = mapping(found) or {}
        if key not in schema:
            raise Inexact
        found = schema[key]
    return found


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


def _escaped(key: str) -> str:
    """RFC 6901."""
    return key.replace("~", "~0").replace("/", "~1")
