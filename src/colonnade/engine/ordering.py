"""JSON schemas whose objects may name their properties in another order than the schema's. Pure; the same meaning.

The library wants properties in the order of `properties`, but those of `patternProperties` in any. A property is the
same as a pattern that matches its name alone. So an object may have the order of its schema; or its required properties
come first, in the order of `required` (of two, in either), and then the others in any. What is optional may then stand
there twice, of which a reader takes the last.

Only plain objects are rewritten: none whose keywords must be combined with others', and none in a schema whose
references lead anywhere but to definitions. A schema that has many stays as it is beyond `MOST` of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from colonnade.engine.negation import Schema, mapping, sequence
from colonnade.engine.schema import subschemas

MOST = 100
"""Objects rewritten of one schema."""

FEW = 24
"""Subschemas of an object that is rewritten although it is to be combined with others."""

_MAPS = ("properties", "patternProperties", "$defs", "definitions")
_LISTS = ("anyOf", "prefixItems")
_SINGLES = ("items", "additionalItems", "additionalProperties")
_OF_OBJECTS = ("type", "properties", "required", "patternProperties", "additionalProperties")
_COMBINED = frozenset(
    (
        *("not", "if", "$ref", "$dynamicRef", "$recursiveRef", "enum", "const"),
        *("propertyNames", "minProperties", "maxProperties", "unevaluatedProperties"),
        *("dependencies", "dependentSchemas", "dependentRequired"),
    )
)
_SHARED = "any-order-"
"""How the names of definitions begin that are added here."""

_DEFINITION = re.compile(r"#(/(\$defs|definitions)/[^/]+)?")
_SPELLED = re.compile(r"[\w .:@$/#-]+")
"""Names that need no care in an expression but for what `re.escape` does."""


def any_order(schema: Any) -> Any:
    """An equal schema. The argument is not changed."""
    root = mapping(schema)
    if root is None or not _movable(root):
        return schema
    shared: Schema = {}
    changed = _Rewriter(shared, _combined(root)).visit(root)
    if shared:
        changed["$defs"] = {**(mapping(changed.get("$defs")) or {}), **shared}
    return changed


def _movable(root: Schema) -> bool:
    """Whether no reference breaks when schemas move, and no definition is in the way."""
    if any(name.startswith(_SHARED) for name in mapping(root.get("$defs")) or {}):
        return False
    for path, each in subschemas(root):
        reference = each.get("$ref", "#")
        if not isinstance(reference, str) or not _DEFINITION.fullmatch(reference):
            return False
        if "$anchor" in each or "$dynamicAnchor" in each or (path and ("$id" in each or "id" in each)):
            return False
    return True


def _combined(root: Schema) -> set[str]:
    """References to schemas that are combined with others: each order of one would meet each order of the other."""
    every = [part for _, each in subschemas(root) for part in sequence(each.get("allOf")) or ()]
    return {str(each["$ref"]) for part in every for _, each in subschemas(part) if "$ref" in each}


class _Rewriter:
    """`shared` gets what several orders have in common, by the name of its definition; `combined` are left alone."""

    def __init__(self, shared: Schema, combined: set[str]) -> None:
        self._shared = shared
        self._combined = combined
        self._count = 0

    def visit(self, value: Any) -> Any:
        schema = mapping(value)
        if schema is None:
            return value
        orders = list(_orders(schema)) if self._count < MOST else []
        self._count += bool(orders)
        changed = dict(schema)
        for name in _MAPS:
            if (inner := mapping(schema.get(name))) is not None:
                changed[name] = {key: self._entry(name, key, each) for key, each in inner.items()}
        for name in _LISTS:
            if (listed := sequence(schema.get(name))) is not None:
                changed[name] = [self.visit(each) for each in listed]
        for name in _SINGLES:
            if name in schema:
                changed[name] = self.visit(schema[name])
        return self._ordered(changed, orders) if orders else changed

    def _entry(self, name: str, key: str, value: Any) -> Any:
        return value if f"#/{name}/{key}" in self._combined else self.visit(value)

    def _ordered(self, schema: Schema, orders: list[list[str]]) -> Schema:
        properties = {name: self._share(each) for name, each in schema["properties"].items()}
        own = {name: schema[name] for name in _OF_OBJECTS if name in schema} | {"properties": properties}
        rest = {name: each for name, each in schema.items() if name not in _OF_OBJECTS}
        either = {"anyOf": [own, *(_in_order(own, order) for order in orders)]}
        if {"allOf", "anyOf", "oneOf"}.isdisjoint(rest):
            return rest | either
        others = [{name: rest.pop(name)} for name in ("anyOf", "oneOf") if name in rest]
        return {**rest, "allOf": [either, *others, *rest.get("allOf", ())]}  # the first one says in which order

    def _share(self, value: Any) -> Any:
        """A name for it, if it is large."""
        schema = mapping(value)
        if schema is None or not any(name in schema for name in (*_MAPS, *_LISTS, *_SINGLES, "allOf")):
            return value
        name = f"{_SHARED}{len(self._shared)}"
        self._shared[name] = schema
        return {"$ref": f"#/$defs/{name}"}


def _orders(schema: Schema) -> Iterator[list[str]]:
    """Of the required properties, those that say more than the schema's own order; of each, all others follow."""
    properties = mapping(schema.get("properties")) or {}
    if len(properties) < 2 or not _plain(schema) or not _apart(schema, properties):
        return
    required = [name for name in sequence(schema.get("required")) or () if isinstance(name, str)]
    wanted = [name for name in dict.fromkeys(required) if name in properties]
    elsewhere = len(wanted) < len(set(required))
    others = [name for name in properties if name not in wanted]
    if elsewhere or len(others) > 1 or [*wanted, *others] != list(properties):
        yield wanted
    if len(wanted) == 2:
        yield wanted[::-1]


def _plain(schema: Schema) -> bool:
    """Whether it is the schema of an object, and is combined with others at most where these are few."""
    kind = schema.get("type", "object")
    if "object" not in (sequence(kind) or [kind]) or not _COMBINED.isdisjoint(schema):
        return False
    if "allOf" in schema and sequence(schema["allOf"]) is None:
        return False
    return {"allOf", "anyOf", "oneOf"}.isdisjoint(schema) or sum(1 for _ in subschemas(schema)) <= FEW


def _apart(schema: Schema, properties: Schema) -> bool:
    """Whether properties can be patterns, and no pattern of the schema matches one, as far as that can be told."""
    if mapping(schema.get("patternProperties", {})) is None or not all(map(_SPELLED.fullmatch, properties)):
        return False
    try:
        patterns = [re.compile(each) for each in schema.get("patternProperties", {})]
    except re.error:
        return False
    return not any(each.search(name) for each in patterns for name in properties)


def _in_order(own: Schema, order: list[str]) -> Schema:
    properties = own["properties"]
    others = {f"^{re.escape(name)}$": each for name, each in properties.items() if name not in order}
    patterns = {"patternProperties": {**own.get("patternProperties", {}), **others}} if others else {}
    return {**own, "type": "object", "properties": {name: properties[name] for name in order}, **patterns}
