"""Schemas lowered to what the library enforces: the same values, by what is admitted token by token."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from test_grammar import admits

from colonnade.engine.schema import locate, lower
from colonnade.wire.messages import Grammar

AB = {
    "type": "object",
    "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
    "additionalProperties": False,
}
NONE, A, B, BOTH = ("{}", '{"a": 1}', '{"b": 1}', '{"a": 1, "b": 1}')


@pytest.mark.parametrize(
    ("schema", "good", "bad"),
    [
        (AB | {"dependencies": {"a": ["b"]}}, [NONE, B, BOTH], [A]),
        (AB | {"dependentRequired": {"b": ["a"]}}, [NONE, A, BOTH], [B]),
        (AB | {"dependentSchemas": {"a": {"properties": {"b": {"maximum": 0}}}}}, [NONE, A, B], [BOTH]),
        (AB | {"not": {"required": ["a"]}}, [NONE, B], [A, BOTH]),
        (AB | {"not": {"required": ["a", "b"]}}, [NONE, A, B], [BOTH]),
        (AB | {"not": {"not": {"required": ["a"]}}}, [A, BOTH], [NONE, B]),
        (AB | {"oneOf": [{"required": ["a"]}, {"required": ["b"]}]}, [A, B], [NONE, BOTH]),
        (AB | {"if": {"required": ["a"]}, "then": {"required": ["b"]}}, [NONE, B, BOTH], [A]),
        (AB | {"if": {"required": ["a"]}, "else": {"required": ["b"]}}, [A, B, BOTH], [NONE]),
        (AB | {"if": {"pattern": "a"}}, [NONE], []),
        (AB | {"then": False}, [NONE], []),
        ({"not": {"type": ["object", "number", "array"]}}, ['"a"', "true", "null"], ["1", "{}", "[]"]),
        ({"type": "string", "not": {"minLength": 3}}, ['"ab"'], ['"abc"']),
        ({"type": "integer", "not": {"minimum": 3}}, ["2"], ["3", "4"]),
        ({"enum": [None, True, False, 1], "not": {"enum": [None, True]}}, ["false", "1"], ["null", "true"]),
        ({"not": {}}, [], ["1"]),
        ({"type": "integer", "not": {"anyOf": [{"minimum": 5}, {"maximum": 2}]}}, ["3", "4"], ["2", "5"]),
        ({"type": "integer", "not": {"allOf": [{"minimum": 3}, {"maximum": 4}]}}, ["2", "5"], ["3", "4"]),
        (
            AB | {"not": {"properties": {"a": {"maximum": 1}}, "required": ["b"]}},
            [NONE, A, '{"a": 2, "b": 1}'],
            [B, BOTH],
        ),
        ({"oneOf": [{"type": "integer"}, {"type": "string"}]}, ["1", '"a"'], ["null"]),
        ({"$defs": {"n": {"type": "null"}}, "oneOf": [{"$ref": "#/$defs/n"}, {"const": "a"}]}, ["null", '"a"'], ["1"]),
        (
            {
                "oneOf": [
                    {
                        "type": "object",
                        "properties": {"k": {"const": kind}, "v": {"type": kind}},
                        "required": ["k", "v"],
                    }
                    for kind in ("integer", "string")
                ]
            },
            ['{"k": "integer", "v": 1}', '{"k": "string", "v": "a"}'],
            ['{"k": "string", "v": 1}', '{"k": "other", "v": 1}'],
        ),
        (
            {"type": "array", "maxItems": 1, "uniqueItems": True, "items": {"type": "integer"}},
            ["[]", "[1]"],
            ["[1, 1]"],
        ),
    ],
)
def test_the_same_values_are_admitted(schema: Any, good: list[str], bad: list[str]) -> None:
    grammar = Grammar("json_schema", json.dumps(schema))
    before = copy.deepcopy(schema)
    lower(schema)
    assert schema == before
    if good:
        assert [text for text in good if not admits(grammar, text)] == []
        assert [text for text in bad if admits(grammar, text)] == []
    else:
        assert lower(schema)["allOf"] == [False]


@pytest.mark.parametrize(
    "schema",
    [
        {"not": {"type": "integer"}},
        {"not": {"const": "a"}},
        {"not": {"pattern": "a"}},
        {"not": {"exclusiveMinimum": True}},
        {"not": {"$ref": "#/$defs/missing"}},
        {"not": {"$ref": "other.json"}},
        {"not": {"$ref": "#/$defs/a", "type": "null"}, "$defs": {"a": True}},
        {"not": {"$ref": "#/$defs/a"}, "$defs": {"a": {"$id": "x", "type": "null"}}},
        {"not": "nonsense"},
        {"oneOf": [{"pattern": "a"}, {"pattern": "b"}]},
        {"oneOf": [{"minimum": n} for n in range(7)]},
        {"if": {"pattern": "a"}, "then": {"maxLength": 3}},
    ],
)
def test_what_has_no_exact_form_stays(schema: Any) -> None:
    (keyword,) = schema.keys() & {"not", "oneOf", "if"}
    assert keyword in lower(schema)


def test_a_keyword_is_located_among_names_that_look_like_one() -> None:
    schema = {"properties": {"not": {"type": "string"}, "a": {"items": [{}, {"not": {}}]}}}
    assert locate(schema, "not") == "/properties/a/items/1"
    assert locate({"properties": {"not": {}}}, "not") is None
    assert lower({"properties": {"not": {"type": "string"}}}) == {"properties": {"not": {"type": "string"}}}
