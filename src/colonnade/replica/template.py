"""A conversation to the prompt's text, by the model's own chat template.

The environment is the one of transformers (sandboxed, immutable, `tojson` without HTML escapes, `raise_exception`,
`strftime_now`, `{% generation %}`), except that `strftime_now` tells the time at which the request was admitted:
equal requests give equal prompts. `template_process` runs it where it can be killed.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any, cast

import jinja2
from jinja2 import nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from colonnade.wire.errors import BadModel, InvalidRequest


class _Generation(Extension):
    """`{% generation %}` marks the assistant's own words for training; for a prompt it is its content."""

    tags = {"generation"}  # noqa: RUF012  as the base class has it

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def _environment() -> ImmutableSandboxedEnvironment:
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols]
    )
    environment.filters["tojson"] = _to_json
    cast(dict[str, Any], environment.globals)["raise_exception"] = _raise
    return environment


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _raise(message: str) -> None:
    raise jinja2.TemplateError(message)


class ChatTemplate:
    """`tokens` are the special tokens that templates name (`bos_token`, `eos_token`). Raises BadModel."""

    def __init__(self, source: str, tokens: dict[str, str]) -> None:
        try:
            self._template = _environment().from_string(source)
        except jinja2.TemplateError as error:
            raise BadModel(f"the chat template does not compile: {error}", hint="see chat_template.jinja") from error
        self._tokens = tokens

    def render(
        self,
        messages: list[dict[str, Any]],
        tools: list[dict[str, Any]] | None,
        created: int,
        thinks: bool | None = None,
        *,
        answer: bool = True,
    ) -> str:
        """The prompt, with `answer` ready for the assistant's; `thinks`, where it is said, as Qwen has it.

        Raises InvalidRequest with the template's own reason."""
        more = {} if thinks is None else {"enable_thinking": thinks}

        def strftime_now(form: str) -> str:
            return datetime.fromtimestamp(created, UTC).strftime(form)

        try:
            return self._template.render(
                messages=messages,
                tools=tools,
                documents=None,
                add_generation_prompt=answer,
                strftime_now=strftime_now,
                **more,
                **self._tokens,
            )
        except (jinja2.TemplateError, TypeError, ValueError, KeyError, ArithmeticError, RecursionError) as error:
            raise InvalidRequest(
                f"messages: the model's chat template refuses them: {error}", param="messages", code="template_error"
            ) from error
