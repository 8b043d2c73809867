"""Grammars over real tokens: what they allow, what they refuse, and where."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import numpy as np
import pytest

from colonnade.engine.folder import SHIPPED
from colonnade.engine.grammar import Unenforceable, allowed, word_count
from colonnade.engine.llguidance_grammar import LlguidanceCompiler
from colonnade.wire.messages import Grammar

VOCABULARY, END = 1024, 2
CALL = '<tool_call>\n{"name": "book", "arguments": {"day": "Monday"}}\n</tool_call>'
DAY = {"properties": {"day": {"type": "string"}}, "required": ["day"], "additionalProperties": False}


@cache
def compiler(*, guess: bool = True) -> LlguidanceCompiler:
    text = (SHIPPED / "colonnade-tiny" / "tokenizer.json").read_text("utf-8")
    return LlguidanceCompiler(text, VOCABULARY, (END,), guess=guess)


def schema(value: Any) -> Grammar:
    return Grammar("json_schema", json.dumps(value))


def calls(**fields: Any) -> Grammar:
    functions = [{"name": "book", "parameters": DAY}, {"name": "cancel"}]
    return Grammar("calls", json.dumps({"functions": functions} | fields))


def admits(grammar: Grammar, text: str) -> bool:
    """Each token by the masks, as the sampler goes; the end only where it is allowed."""
    matcher, words_W = compiler().compile(grammar).copy(), np.zeros(word_count(VOCABULARY), dtype=np.uint32)
    for token in [*compiler().tokenizer.tokenize_str(text, parse_special=True), END]:
        matcher.fill(words_W)
        if not allowed(words_W, VOCABULARY)[token]:
            with pytest.raises(ValueError, match="is not allowed"):
                matcher.accept(token)
            return False
        matcher.accept(token)
    return True


def refusal(grammar: Grammar) -> Unenforceable:
    with pytest.raises(Unenforceable) as caught:
        compiler().compile(grammar)
    return caught.value


@pytest.mark.parametrize(
    ("grammar", "good", "bad"),
    [
        (Grammar("regex", "[a-c]{2}"), ["ab"], ["a", "abc", "ad", ""]),
        (Grammar("ebnf", 'root ::= "yes" | "no"'), ["yes", "no"], ["maybe", "yesno"]),
        (Grammar("ebnf", 'start: "yes" | "no"'), ["yes"], [""]),
        (schema({"type": "integer", "minimum": 3}), ["3", "40"], ["2", "3.5", '"3"']),
        (schema({"type": "string", "format": "date"}), ['"2026-11-23"'], ['"today"']),
        (schema({"type": "string", "format": "colour"}), ['"red"'], ["red"]),
        (schema({"x-guidance": {"lenient": True}, "const": 1}), ["1"], ["2"]),
        (calls(), [CALL], ["", "Hi", CALL + "\n" + CALL, CALL.replace("day", "hour"), CALL.replace("book", "read")]),
        (calls(several=True), [CALL, CALL + "\n" + CALL], [CALL + CALL, ""]),
        (calls(text=True), ["", "Hi", CALL, f"Hi\n{CALL}"], ["Hi <tool_call>", CALL.replace("day", "hour")]),
        (calls(text=True, several=True), [f"Hi\n{CALL}\n{CALL}"], []),
        (calls(otherwise={"type": "integer"}), ["12", CALL], ["Hi"]),
    ],
)
def test_what_is_admitted(grammar: Grammar, good: list[str], bad: list[str]) -> None:
    assert [text for text in good if not admits(grammar, text)] == []
    assert [text for text in bad if admits(grammar, text)] == []


def test_a_function_without_parameters_takes_none() -> None:
    empty = '<tool_call>\n{"name": "cancel", "arguments": {}}\n</tool_call>'
    assert admits(calls(), empty)
    assert not admits(calls(), empty.replace("{}", '{"a": 1}'))


def test_arguments_come_in_other_orders_too() -> None:
    parameters = {"type": "object", "properties": {name: {"type": "null"} for name in "abc"}}
    grammar = Grammar("calls", json.dumps({"functions": [{"name": "book", "parameters": parameters}]}))
    for names in ("abc", "cab", "ba"):
        arguments = json.dumps(dict.fromkeys(names))
        assert admits(grammar, f'<tool_call>\n{{"name": "book", "arguments": {arguments}}}\n</tool_call>')


@pytest.mark.parametrize(
    ("grammar", "keyword", "path"),
    [
        (schema({"not": {"pattern": "a"}}), "not", ""),
        (schema({"properties": {"a/b": {"items": {"uniqueItems": True}}}}), "uniqueItems", "/properties/a~1b/items"),
        (schema({"x-guidance": {"lenient": True}, "contains": {"type": "integer"}}), "contains", ""),
        (
            Grammar("calls", json.dumps({"functions": [{"name": "f", "parameters": {"type": "array"}}]})),
            "type",
            "/functions/0/parameters",
        ),
        (calls(otherwise={"properties": {"a": {"not": {"pattern": "a"}}}}), "not", "/otherwise/properties/a"),
        (Grammar("ebnf", 'start: %json {"x-guidance": {"lenient": true}}'), "x-guidance", ""),
        (Grammar("regex", "(a"), "", ""),
        (Grammar("ebnf", "root ::= missing"), "", ""),
        (Grammar("ebnf", "start: missing"), "", ""),
        (Grammar("json_schema", "{"), "", ""),
    ],
)
def test_what_is_refused_and_where(grammar: Grammar, keyword: str, path: str) -> None:
    error = refusal(grammar)
    assert (error.keyword, error.path) == (keyword, path)
    assert error.message


def test_a_copy_goes_its_own_way() -> None:
    matcher, words_W = compiler().compile(Grammar("regex", "[ab]")), np.zeros(word_count(VOCABULARY), dtype=np.uint32)
    (token,) = compiler().tokenizer.tokenize_str("a")
    matcher.copy().accept(token)
    matcher.fill(words_W)
    assert allowed(words_W, VOCABULARY)[token]
