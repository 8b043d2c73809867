"""Calls of functions as a grammar: the Hermes form that `replica.speech` reads, with arguments of their schemas.

    <tool_call>
    {"name": "book", "arguments": {"day": "Monday"}}
    </tool_call>

Pure. The grammar is in Lark's notation with the JSON schemas inline, as llguidance takes it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from colonnade.engine.grammar import Unenforceable
from colonnade.engine.negation import mapping
from colonnade.engine.schema import locate

OPEN = "<tool_call>"
CLOSE = "</tool_call>"


class Function(msgspec.Struct):
    """`parameters` is the JSON schema of an object; None: it takes none."""

    name: str
    parameters: Any = None


class Calls(msgspec.Struct):
    functions: list[Function]
    several: bool = False
    """More than one call may follow."""
    text: bool = False
    """Calls may be left out, and text may stand around them."""
    otherwise: Any = None
    """A JSON schema: the answer may be a value of it, instead of calls."""


def to_lark(calls: Any, is_token: Callable[[str], bool], layout: Mapping[str, Any], lower: Callable[[Any], Any]) -> str:
    """`is_token` tells whether the model's tokenizer has a marker as one token of its own; `layout` is how the JSON may
    be laid out, in the library's words; `lower` makes a schema such as the library takes. Raises Unenforceable."""
    spoken = msgspec.convert(calls, Calls)
    rules = [_start(spoken), f"call: {' | '.join(f'call_{n}' for n in range(len(spoken.functions)))}"]
    opening, closing = (_marker(each, is_token) for each in (OPEN, CLOSE))
    for number, function in enumerate(spoken.functions):
        head = json.dumps("\n" + f'{{"name": {json.dumps(function.name)}, "arguments": ')
        tail = json.dumps("}\n")
        rules.append(f"call_{number}: {opening} {head} arguments_{number} {tail} {closing}")
        rules.append(f"arguments_{number}: %json {_laid_out(_arguments(number, function, lower), layout)}")
    if spoken.otherwise is not None:
        rules.append(f"otherwise: %json {_laid_out(lower(spoken.otherwise), layout)}")
    if spoken.text:
        rules.append(f"TEXT: /(?s:.*)/ & ~/(?s:.*){OPEN}(?s:.*)/")
    return "\n".join(rules)


def _laid_out(schema: Any, layout: Mapping[str, Any]) -> str:
    """With the library's switch for it; a schema that is true or false has no place for one, and gets it."""
    found = mapping(schema)
    keywords = {"anyOf": [schema]} if found is None else found
    return json.dumps({"x-guidance": dict(layout), **keywords})


def _start(calls: Calls) -> str:
    if calls.text:
        return "start: TEXT (call TEXT)*" if calls.several else "start: TEXT (call TEXT)?"
    required = 'call ("\\n" call)*' if calls.several else "call"
    return f"start: {required} | otherwise" if calls.otherwise is not None else f"start: {required}"


def _marker(text: str, is_token: Callable[[str], bool]) -> str:
    return text if is_token(text) else json.dumps(text)


def _arguments(number: int, function: Function, lower: Callable[[Any], Any]) -> Any:
    """The schema of an object, whatever else it says: arguments are one."""
    if function.parameters is None:
        return {"type": "object", "properties": {}, "additionalProperties": False}
    schema = mapping(function.parameters)
    if schema is None or schema.get("type", "object") != "object":
        raise Unenforceable("parameters must be the schema of an object", "type", f"/functions/{number}/parameters")
    return lower(schema | {"type": "object"})


def locate_call(calls: Any, keyword: str) -> str:
    """Where `keyword` first stands in one of the schemas, as a JSON pointer; "" if nowhere."""
    spoken = msgspec.convert(calls, Calls)
    schemas = [(f"/functions/{n}/parameters", each.parameters) for n, each in enumerate(spoken.functions)]
    for where, schema in [*schemas, ("/otherwise", spoken.otherwise)]:
        found = locate(schema, keyword)
        if found is not None:
            return where + found
    return ""
