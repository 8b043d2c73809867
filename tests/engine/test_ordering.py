"""Objects in other orders than their schema's: more is admitted, and nothing that is not of the schema."""

from __future__ import annotations

import copy
import itertools
import json
from typing import Any

import pytest
from test_grammar import admits

from colonnade.engine.ordering import MOST, any_order
from colonnade.engine.schema import lower
from colonnade.wire.messages import Grammar

PROPERTIES = {"a": {"type": "integer"}, "b": {"type": "boolean"}, "c": {"type": "null"}}
VALUES = {"a": 1, "b": True, "c": None}
OBJECT = {"type": "object", "properties": PROPERTIES}


def texts(*names: str) -> list[str]:
    """Of an object with these properties, in every order."""
    orders = itertools.permutations(names)
    return [json.dumps({name: VALUES.get(name, 0) for name in order}) for order in orders]


def admitted(schema: Any, texts: list[str]) -> list[str]:
    grammar = Grammar("json_schema", json.dumps(schema))
    return [text for text in texts if admits(grammar, text)]


@pytest.mark.parametrize("names", ["", "a", "ab", "bc", "abc"])
def test_what_is_optional_comes_in_any_order(names: str) -> None:
    assert admitted(OBJECT, texts(*names)) == texts(*names)


def test_what_is_required_comes_first_in_its_order_or_as_the_schema_has_it() -> None:
    schema = OBJECT | {"required": ["c", "a"], "additionalProperties": False}
    assert admitted(schema, texts("a", "c")) == texts("a", "c")
    assert admitted(schema, texts(*"abc")) == [text for text in texts(*"abc") if not text.startswith('{"b"')][:1] + [
        text for text in texts(*"abc") if text.endswith('"b": true}')
    ]
    assert admitted(schema, [*texts("a"), *texts("b", "c"), *texts(*"abc", "d")]) == []


def test_three_that_are_required_come_in_two_orders() -> None:
    schema = OBJECT | {"required": ["c", "b", "a"]}
    assert admitted(schema, texts(*"abc")) == [texts(*"abc")[0], texts(*"abc")[-1]]


def test_values_are_held_to_their_schemas_in_every_order() -> None:
    assert admitted(OBJECT, ['{"b": 1, "a": 1}', '{"c": null, "a": true}', '{"b": true, "a": 1, "b": 3}']) == []


def test_orders_within_and_beside() -> None:
    inner = OBJECT | {"required": ["b"]}
    schema = {
        "type": ["object", "null"],
        "properties": {"one": inner, "more": {"type": "array", "items": inner}, "d": {"$ref": "#/definitions/d"}},
        "definitions": {"d": inner},
    }
    good = [
        '{"more": [{"b": true, "c": null, "a": 1}], "one": {"b": false, "a": 2}}',
        '{"d": {"b": true, "a": 1}, "one": {"a": 1, "b": true}}',
        "null",
    ]
    assert admitted(schema, [*good, '{"d": {"a": 1}}', '{"more": [{"c": null}]}']) == good


def test_other_patterns_stay() -> None:
    schema = OBJECT | {"patternProperties": {"^x": {"type": "integer"}}, "required": ["x"]}
    good = ['{"x": 1, "b": true, "a": 1}', '{"x": 2, "x1": 3, "c": null}']
    assert admitted(schema, [*good, '{"x1": 3}', '{"x": true}', '{"x": 1, "xb": true}']) == good


def test_conditions_beside_hold() -> None:
    """What one of them requires comes first, too."""
    for name in ("anyOf", "oneOf"):
        schema = OBJECT | {name: [{"required": ["a"]}, {"required": ["b"]}]}
        assert admitted(schema, texts("c", "b")) == ['{"b": true, "c": null}']
        assert admitted(schema, texts("c")) == []
        assert admitted(schema, texts(*"ab")) == (texts(*"ab") if name == "anyOf" else [])


REFERENCES = {"type": "object", "properties": {"b": {"type": "null"}, "a": {"$ref": "#/properties/b"}}}


@pytest.mark.parametrize(
    "schema",
    [
        True,
        {"type": "object", "properties": {"a": {}}},
        {"type": "array", "properties": PROPERTIES},
        OBJECT | {"maxProperties": 2},
        OBJECT | {"properties": {'"': {}, "b": {}}},
        OBJECT | {"patternProperties": {"^a": {}}},
        OBJECT | {"patternProperties": {"(": {}}},
        OBJECT | {"patternProperties": 3},
        OBJECT | {"allOf": 3},
        OBJECT | {"allOf": [{"properties": {f"p{n}": {} for n in range(30)}}]},
        OBJECT | {"$defs": {"any-order-0": {}}},
        {"definitions": {"d": OBJECT}, "allOf": [{"$ref": "#/definitions/d"}]},
        REFERENCES,
        {"properties": {"one": OBJECT | {"$id": "other"}}},
        {"properties": {"one": OBJECT | {"$anchor": "here"}}},
        {"allOf": [OBJECT]},
    ],
)
def test_what_is_left_as_it_is(schema: Any) -> None:
    assert any_order(schema) == schema


def test_the_argument_is_not_changed_and_names_that_are_none_do_no_harm() -> None:
    schema = OBJECT | {"required": [3, "b"], "items": [OBJECT], "prefixItems": [OBJECT]}
    before = copy.deepcopy(schema)
    assert any_order(schema) != before == schema


def test_there_is_a_bound() -> None:
    many = {"properties": {f"p{n}": OBJECT for n in range(MOST + 10)}}
    rewritten = json.dumps(any_order(lower(many)))
    assert rewritten.count("anyOf") == MOST
