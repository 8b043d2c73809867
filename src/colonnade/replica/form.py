"""The form that a request asks of its answer, as a grammar. Pure.

response_format, regex, ebnf, json_schema    one of them
tool_choice required or a function           calls and nothing else
a strict function                            text, and calls with arguments of its schema
"""

from __future__ import annotations

import json
from typing import Any

import msgspec

from colonnade.engine.call_grammar import Calls, Function
from colonnade.replica.requests import ChatRequest, CommonRequest, JsonObjectFormat, JsonSchemaFormat, named
from colonnade.wire.errors import InvalidRequest
from colonnade.wire.messages import Grammar

Form = tuple[Grammar, str]
"""A grammar, and the field that asks for it."""

_NAMES = ("response_format", "regex", "ebnf", "json_schema")


def asked_form(request: CommonRequest) -> Form | None:
    """Raises InvalidRequest where several are asked for at once."""
    forms = [form for name in _NAMES if (form := _form(request, name)) is not None]
    if len(forms) > 1:
        raise InvalidRequest(f"{forms[0][1]} and {forms[1][1]}: only one can be held to", param=forms[1][1])
    if forms and request.ignore_eos:
        raise InvalidRequest(f"ignore_eos: an answer ends where its {forms[0][1]} does", param="ignore_eos")
    return forms[0] if forms else None


def _form(request: CommonRequest, name: str) -> Form | None:
    value = getattr(request, name)
    match value:
        case JsonObjectFormat():
            return _schema({"type": "object"}), name
        case JsonSchemaFormat():
            return _schema(value.json_schema.schema), "response_format.json_schema.schema"
        case str():
            return Grammar(name, value), name  # pyright: ignore[reportArgumentType]  the names are its kinds
        case dict():
            return _schema(value), name
        case _:
            return None


def _schema(schema: Any) -> Grammar:
    return Grammar("json_schema", json.dumps(schema))


def chat_form(request: ChatRequest) -> Form | None:
    """With what the tools add. Raises InvalidRequest."""
    form = asked_form(request)
    choice = request.tool_choice
    tools = request.tools or []
    if not tools or choice == "none":
        return form
    if isinstance(choice, dict):
        return _calls([tool for tool in tools if named(tool) == named(choice)][:1], several=False), "tools"
    several = request.parallel_tool_calls is not False
    if choice == "required":
        return _calls(tools, several=several), "tools"
    if form is not None:
        return _calls(tools, several=several, otherwise=_otherwise(form)), form[1]
    if any(tool["function"].get("strict") for tool in tools):
        return _calls(tools, several=several, text=True), "tools"
    return None


def _otherwise(form: Form) -> Any:
    if form[0].kind != "json_schema":
        raise InvalidRequest(
            f"{form[1]}: not together with tools that may be called",
            param=form[1],
            code="unsupported_parameter",
            hint="use response_format, or tool_choice none",
        )
    try:
        return json.loads(form[0].text)
    except (ValueError, RecursionError) as error:
        raise InvalidRequest(f"{form[1]}: not JSON: {error}", param=form[1], code="grammar_refused") from error


def _calls(tools: list[dict[str, Any]], *, several: bool, text: bool = False, otherwise: Any = None) -> Grammar:
    """Among text, only strict functions are held to their schemas; the others to calls that are whole."""
    functions = [_function(tool["function"], loose=text and not tool["function"].get("strict")) for tool in tools]
    return Grammar("calls", msgspec.json.encode(Calls(functions, several, text, otherwise)).decode())


def _function(spoken: dict[str, Any], *, loose: bool) -> Function:
    return Function(spoken["name"], {"type": "object"} if loose else spoken.get("parameters"))
