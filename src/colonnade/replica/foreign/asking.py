"""From a client's body to the one that the foreign server gets; what it cannot do is refused, with the reason. Pure.

What is neither ours to change nor to refuse goes on as it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from colonnade.replica.foreign.kinds import Kind
from colonnade.replica.foreign.values import fields_of, items_of
from colonnade.wire.errors import InvalidRequest

MOST_CHOICES = 128


@dataclass(frozen=True, slots=True)
class Asked:
    """`usage`: the client wants it in a chunk of its own; `ids`: it asked for token ids by itself; `numbered`: the
    engine tells them."""

    body: bytes
    stream: bool
    choices: int
    usage: bool
    ids: bool
    numbered: bool


@dataclass(frozen=True, slots=True)
class Names:
    """Of the model: `ours` is what requests ask for here, `theirs` what the server knows."""

    ours: str
    theirs: str


def asked(body: bytes, kind: Kind, names: Names, tenant: str = "") -> Asked:
    """Raises InvalidRequest."""
    fields = _fields(body)
    _check_name(fields, names)
    for feature, param in needs(fields):
        refuse(kind, feature, param)
    stream = fields.get("stream") is True
    options = fields_of(fields.get("stream_options")) or {}
    if stream:
        fields["stream_options"] = {**options, **kind.asks_stream, "include_usage": True}
    if tenant and kind.abilities["cache_salt"].standing == "exact":
        fields["cache_salt"] = f"{tenant}\n{fields.get('cache_salt') or ''}"
    sent = {**fields, **kind.asks, "model": names.theirs}
    return Asked(
        body=msgspec.json.encode(sent),
        stream=stream,
        choices=_choices(fields),
        usage=options.get("include_usage") is True,
        ids=fields.get("return_token_ids") is True,
        numbered=kind.abilities["token_ids"].standing == "exact",
    )


def refuse(kind: Kind, feature: str, param: str) -> None:
    """Raises InvalidRequest where the kind has no such ability."""
    ability = kind.abilities[feature]
    if ability.standing == "refused":
        raise InvalidRequest(
            f"{param}: {kind.title} cannot do this: {ability.why}",
            param=param,
            code="unsupported_parameter",
            hint="docs/foreign-engines.md says what each engine can do",
        )


def needs(fields: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """(feature, field) of what a body asks for beyond text."""
    for feature, names in _FIELDS.items():
        yield from ((feature, name) for name in names if _is_set(fields.get(name)))
    if fields.get("n") not in (None, 1):
        yield "n", "n"
    form = fields_of(fields.get("response_format")) or {}
    if form.get("type") not in (None, "text"):
        yield "json_schema", "response_format"
    prompt = items_of(fields.get("prompt"))
    if prompt and not isinstance(prompt[0], str):
        yield "token_prompts", "prompt"


def _is_set(value: Any) -> bool:
    """Zero is a value."""
    return value is not None and value is not False and value not in ([], "")


_FIELDS: Mapping[str, tuple[str, ...]] = {
    "seed": ("seed",),
    "logprobs": ("logprobs",),
    "tools": ("tools",),
    "grammar": ("regex", "ebnf"),
    "cache_salt": ("cache_salt",),
    "token_ids": ("return_token_ids",),
}


def _fields(body: bytes) -> dict[str, Any]:
    try:
        fields = fields_of(msgspec.json.decode(body))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRequest(f"the body is not JSON: {error}", hint="send one JSON object") from error
    if fields is None:
        raise InvalidRequest("the body is not a JSON object", hint="send one JSON object")
    return fields


def _check_name(fields: Mapping[str, Any], names: Names) -> None:
    if fields.get("model") != names.ours:
        raise InvalidRequest(
            f"model: {fields.get('model')!r} is not served here; {names.ours!r} is",
            param="model",
            code="model_not_found",
            hint="GET /v1/models lists what is served",
        )


def _choices(fields: Mapping[str, Any]) -> int:
    """Of all prompts. Raises InvalidRequest."""
    n, prompt = fields.get("n"), items_of(fields.get("prompt"))
    n = 1 if n is None else n
    prompts = len(prompt) if prompt and not isinstance(prompt[0], int) else 1
    if not isinstance(n, int) or not 1 <= n <= MOST_CHOICES:
        raise InvalidRequest(f"n: not 1 to {MOST_CHOICES}", param="n")
    if n * prompts > MOST_CHOICES:
        raise InvalidRequest(f"prompt: more than {MOST_CHOICES} choices in all", param="prompt")
    return n * prompts
