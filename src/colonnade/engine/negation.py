"""The opposite of a JSON schema, and whether two schemas can have a value in common. Pure; exact, or not at all.

A schema is a conjunction of its keywords, so its opposite is the disjunction of theirs. Most keywords speak of one
type and hold for all others; the opposite of such a one names its type.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, cast

Schema = dict[str, Any]
Resolve = Callable[[str], Any]
"""The schema that a `$ref` names. Raises Inexact for one that cannot be found."""

TYPES = ("object", "array", "string", "number", "boolean", "null")
DEEPEST = 16
"""References followed one after the other."""

_BOUNDS = {
    "minLength": ("string", "maxLength", -1),
    "maxLength": ("string", "minLength", 1),
    "minItems": ("array", "maxItems", -1),
    "maxItems": ("array", "minItems", 1),
    "minimum": ("number", "exclusiveMaximum", 0),
    "maximum": ("number", "exclusiveMinimum", 0),
    "exclusiveMinimum": ("number", "maximum", 0),
    "exclusiveMaximum": ("number", "minimum", 0),
}
_OTHER = frozenset(
    (
        *("pattern", "format", "multipleOf", "uniqueItems", "contains", "minContains", "maxContains", "items"),
        *("prefixItems", "additionalItems", "unevaluatedItems", "additionalProperties", "patternProperties", "if"),
        *("propertyNames", "unevaluatedProperties", "minProperties", "maxProperties", "dependencies", "then", "else"),
        *("dependentRequired", "dependentSchemas", "oneOf", "$dynamicRef", "$recursiveRef"),
    )
)


class Inexact(Exception):
    """There is no exact answer."""


def mapping(value: Any) -> Schema | None:
    return cast(Schema, value) if isinstance(value, dict) else None


def sequence(value: Any) -> list[Any] | None:
    return cast(list[Any], value) if isinstance(value, list) else None


def opposite(value: Any, resolve: Resolve, depth: int = 0) -> Any:
    """What holds for a value exactly when `value` does not. Raises Inexact."""
    schema = mapping(value)
    if schema is None:
        return not _boolean(value)
    if depth > DEEPEST or ("$ref" in schema and _meaningful(schema) != ["$ref"]):
        raise Inexact
    parts = [part for name in _meaningful(schema) for part in _opposites(name, schema[name], resolve, depth + 1)]
    return _any([part for part in parts if part is not False])


def _meaningful(schema: Schema) -> list[str]:
    known = {"type", "required", "properties", "enum", "const", "not", "allOf", "anyOf", "$ref", *_BOUNDS} | _OTHER
    return [name for name in schema if name in known]


def _boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise Inexact
    return value


def _any(parts: list[Any]) -> Any:
    if not parts or True in parts:
        return bool(parts)
    return parts[0] if len(parts) == 1 else {"anyOf": parts}


def _opposites(name: str, value: Any, resolve: Resolve, depth: int) -> Iterator[Any]:
    """The opposite of one keyword, as alternatives."""
    match name:
        case "$ref":
            yield opposite(resolve(value), resolve, depth)
        case "not":
            yield value
        case "type":
            yield _other_types(value)
        case "enum" | "const":
            yield from _other_values(value if name == "enum" else [value])
        case "required":
            yield from ({"type": "object", "properties": {each: False}} for each in value)
        case "properties":
            for key, each in (mapping(value) or {}).items():
                yield from _with_property(key, opposite(each, resolve, depth))
        case "allOf":
            yield from (opposite(each, resolve, depth) for each in value)
        case "anyOf":
            yield {"allOf": [opposite(each, resolve, depth) for each in value]}
        case _ if name in _BOUNDS:
            yield _other_bound(name, value)
        case _:
            raise Inexact


def _with_property(key: str, schema: Any) -> Iterator[Any]:
    if schema is not False:
        yield {"type": "object", "required": [key], "properties": {key: schema}}


def _other_types(value: Any) -> Any:
    named = set(sequence(value) or [value])
    if "integer" in named and "number" not in named:
        raise Inexact  # numbers with a fraction have no name
    return {"type": [each for each in TYPES if each not in named]} if named < {*TYPES} else False


def _other_values(values: list[Any]) -> Iterator[Any]:
    """Only null, true and false have others that can be told."""
    if any(value is not None and not isinstance(value, bool) for value in values):
        raise Inexact
    yield {"type": ["object", "array", "string", "number"]}
    rest = [value for value in (None, True, False) if not any(value is each for each in values)]
    if rest:
        yield {"enum": rest}


def _other_bound(name: str, value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float):  # draft 4 had true and false
        raise Inexact
    kind, other, step = _BOUNDS[name]
    return {"type": kind, other: value + step} if value + step >= 0 or not step else False


# Values in common.


def disjoint(first: Any, second: Any, resolve: Resolve) -> bool:
    """Whether no value can be of both, as far as types and required constants tell. False: perhaps one can."""
    both = kinds(first, resolve) & kinds(second, resolve)
    if not both:
        return True
    if both != frozenset(("object",)):
        return False
    constants, others = _constants(first, resolve), _constants(second, resolve)
    return any(not _overlap(constants[key], others[key]) for key in constants.keys() & others.keys())


def kinds(value: Any, resolve: Resolve, depth: int = 0) -> frozenset[str]:
    """Types that a value of this schema may have, or more of them."""
    schema = mapping(value)
    if schema is None or depth > DEEPEST:
        return frozenset() if value is False else frozenset(TYPES)
    found = frozenset(TYPES)
    if "type" in schema:
        named = sequence(schema["type"]) or [schema["type"]]
        found &= {"number" if each == "integer" else str(each) for each in named}
    for values in (sequence(schema.get("enum")), [schema["const"]] if "const" in schema else None):
        if values is not None:
            found &= {_kind(each) for each in values}
    for each in sequence(schema.get("allOf")) or ():
        found &= kinds(each, resolve, depth + 1)
    for name in ("anyOf", "oneOf"):
        if (listed := sequence(schema.get(name))) is not None:
            found &= frozenset[str]().union(*(kinds(each, resolve, depth + 1) for each in listed))
    if "$ref" in schema:  # in old drafts all beside it counts for nothing
        return kinds(_found(schema["$ref"], resolve), resolve, depth + 1)
    return found


def _found(reference: Any, resolve: Resolve) -> Any:
    try:
        return resolve(reference)
    except Inexact:
        return True


def _kind(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int() | float():
            return "number"
        case str():
            return "string"
        case list():
            return "array"
        case _:
            return "object"


def _constants(value: Any, resolve: Resolve) -> dict[str, Sequence[Any]]:
    """Properties that an object must have, with the values that they may take, where these are listed."""
    schema = mapping(value) or {}
    for _ in range(DEEPEST):
        if "$ref" in schema:
            schema = mapping(_found(schema["$ref"], resolve)) or {}
    required = sequence(schema.get("required")) or []
    listed = {name: mapping(each) or {} for name, each in (mapping(schema.get("properties")) or {}).items()}
    values = {name: [each["const"]] if "const" in each else sequence(each.get("enum")) for name, each in listed.items()}
    return {name: found for name, found in values.items() if found is not None and name in required}


def _overlap(first: Sequence[Any], second: Sequence[Any]) -> bool:
    """Python's 1 == True only makes this true more often."""
    return any(one == other for one in first for other in second)
