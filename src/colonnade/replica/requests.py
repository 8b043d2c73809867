"""What a client may ask for, field by field. Pure: bytes in, a struct and warnings out, or a typed InvalidRequest.

A field is honoured (a field of the structs here), refused (`REFUSED`: asking for it would be ignored otherwise) or
unknown (a warning, or a refusal when strict).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Annotated, Any, Literal, TypeVar, cast

import msgspec
from msgspec import Meta

from colonnade.replica.refused import REFUSED, Refusal
from colonnade.wire.errors import InvalidRequest

MAX_DEPTH = 64
MAX_STOPS = 16
MAX_STOP_LENGTH = 512

Count = Annotated[int, Meta(ge=1, le=2**31 - 1)]
Penalty = Annotated[float, Meta(ge=-2, le=2)]


class TextPart(msgspec.Struct, tag_field="type", tag="text"):
    text: str


Content = str | list[TextPart] | None


class CalledFunction(msgspec.Struct):
    name: str
    arguments: str


class ToolCall(msgspec.Struct):
    function: CalledFunction
    id: str = ""
    type: Literal["function"] = "function"


class Message(msgspec.Struct):
    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: Content = None
    name: str | None = None
    tool_calls: list[ToolCall] | None = None
    tool_call_id: str | None = None
    reasoning_content: str | None = None
    function_call: None = None  # of old; null is what clients send back
    audio: None = None


class Function(msgspec.Struct):
    name: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class Tool(msgspec.Struct):
    function: Function
    type: Literal["function"] = "function"


class StreamOptions(msgspec.Struct):
    include_usage: bool | None = None
    include_obfuscation: Literal[False] | None = None


class TextFormat(msgspec.Struct, tag_field="type", tag="text"):
    """Anything."""


class JsonObjectFormat(msgspec.Struct, tag_field="type", tag="json_object"):
    """Any JSON object."""


class NamedSchema(msgspec.Struct):
    """`strict` false is held to as well: there is no looser way here."""

    name: Annotated[str, Meta(min_length=1, max_length=256)]
    schema: dict[str, Any] | bool
    description: str | None = None
    strict: bool | None = None


class JsonSchemaFormat(msgspec.Struct, tag_field="type", tag="json_schema"):
    json_schema: NamedSchema


ResponseFormat = TextFormat | JsonObjectFormat | JsonSchemaFormat


class CommonRequest(msgspec.Struct, kw_only=True):
    """What both endpoints take. null is the same as absent, as it is for OpenAI."""

    model: str
    max_tokens: Count | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(gt=0, le=1)] | None = None
    top_k: Annotated[int, Meta(ge=-1, le=2**31 - 1)] | None = None
    min_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    repetition_penalty: Annotated[float, Meta(gt=0, le=10)] | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    seed: Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)] | None = None
    stop: str | list[str] | None = None
    stop_token_ids: Annotated[list[Annotated[int, Meta(ge=0)]], Meta(max_length=64)] | None = None
    n: Annotated[int, Meta(ge=1, le=8)] | None = None
    logit_bias: dict[int, Annotated[float, Meta(ge=-100, le=100)]] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    ignore_eos: bool | None = None
    response_format: ResponseFormat | None = None
    regex: str | None = None
    ebnf: str | None = None
    json_schema: str | dict[str, Any] | None = None
    cache_salt: Annotated[str, Meta(min_length=1, max_length=256)] | None = None
    user: str | None = None
    priority: Annotated[int, Meta(ge=-100, le=100)] | None = None

    def stops(self) -> tuple[str, ...]:
        """Raises InvalidRequest for too many, an empty or an over-long one."""
        stops = (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())
        if len(stops) > MAX_STOPS or any(not 0 < len(stop) <= MAX_STOP_LENGTH for stop in stops):
            raise InvalidRequest(
                f"stop: at most {MAX_STOPS} strings of 1 to {MAX_STOP_LENGTH} characters", param="stop"
            )
        return stops


class ChatRequest(CommonRequest, kw_only=True):
    messages: Annotated[list[Message], Meta(min_length=1)]
    max_completion_tokens: Count | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: Literal["none", "auto", "required"] | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    metadata: dict[str, str] | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    enable_thinking: bool | None = None


class CompletionRequest(CommonRequest, kw_only=True):
    """`max_tokens` 0: the prompt alone, for its log-probabilities."""

    prompt: Any
    max_tokens: Annotated[int, Meta(ge=0, le=2**31 - 1)] | None = None
    echo: bool | None = None
    logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None


R = TypeVar("R", bound=msgspec.Struct)
D = TypeVar("D")


def read(
    body: bytes, kind: type[R], *, strict: bool = False, refused: Mapping[str, Refusal] = REFUSED
) -> tuple[R, list[str]]:
    """The request and its warnings. Raises InvalidRequest that names the field in `param`."""
    fields = _decode(body, _FIELDS)
    unknown = unknown_in(fields, kind, refused)
    check_unknown(unknown, strict=strict)
    for name in fields.keys() & refused:
        refused[name].check(name, _decode(fields[name], _ANYTHING))
    request = cast(R, _decode(body, _decoder(kind)))
    if isinstance(request, CommonRequest):
        check(request)
    return request, warnings(unknown)


def unknown_in(fields: Mapping[str, Any], kind: type[msgspec.Struct], refused: Mapping[str, Refusal]) -> list[str]:
    """The names that are neither honoured nor refused."""
    known = kind.__struct_encode_fields__
    return [name for name in fields if name not in known and name not in refused]


def check_unknown(names: list[str], *, strict: bool) -> None:
    """Raises InvalidRequest for the first, where strict."""
    if names and strict:
        raise InvalidRequest(f"unknown field {_shown(names[0])}", param=names[0], code="unknown_parameter")


def warnings(names: list[str]) -> list[str]:
    """Of unknown fields, for headers."""
    return [f"unknown field {_shown(name)}" for name in names[:8]]


_FIELDS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ANYTHING: msgspec.json.Decoder[Any] = msgspec.json.Decoder()


@cache
def _decoder(kind: type[R]) -> msgspec.json.Decoder[R]:
    return msgspec.json.Decoder(kind)


def _decode(body: bytes | msgspec.Raw, decoder: msgspec.json.Decoder[D]) -> D:
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        raise _typed(str(error)) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidRequest(f"the body is not JSON in UTF-8: {error}", code="invalid_json") from error
    except RecursionError as error:
        raise _too_deep() from error


def _typed(text: str, prefix: str = "") -> InvalidRequest:
    """msgspec says "Expected `float`, got `str` - at `$.temperature`"."""
    what, _, where = text.partition(" - at ")
    missing = re.search(r"missing required field `([^`]+)`", what)
    path = where.rpartition("`$")[2].rstrip("`").lstrip(".")
    if missing:
        path = f"{path}.{missing[1]}" if path else missing[1]
    param = (prefix + ("." if prefix and path else "") + path) or None
    code = "missing_required_parameter" if missing else "invalid_value"
    return InvalidRequest(f"{param}: {what}" if param else what, param=param, code=code)


def _too_deep() -> InvalidRequest:
    return InvalidRequest(f"the body is nested deeper than {MAX_DEPTH} levels", code="nested_too_deep")


def _shown(name: str) -> str:
    """For a header: nothing but what stands safely in one."""
    return name if re.fullmatch(r"[A-Za-z0-9_.-]{1,64}", name) else "(a name with other characters)"


def check(request: CommonRequest) -> None:
    """Raises InvalidRequest for fields that do not go together."""
    request.stops()
    wanted = request.response_format
    schema = wanted.json_schema.schema if isinstance(wanted, JsonSchemaFormat) else request.json_schema
    if _depth(schema) > MAX_DEPTH:
        raise _too_deep()
    if request.stream_options is not None and not request.stream:
        raise InvalidRequest("stream_options: only with stream: true", param="stream_options")
    if isinstance(request, ChatRequest):
        _check_chat(request)


def _check_chat(request: ChatRequest) -> None:
    if request.top_logprobs and not request.logprobs:
        raise InvalidRequest("top_logprobs: only with logprobs: true", param="top_logprobs")
    if len(request.metadata or ()) > 16:
        raise InvalidRequest("metadata: at most 16 pairs", param="metadata")
    _check_choice(request)
    for index, message in enumerate(request.messages):
        if message.content is None and message.role != "assistant":
            raise InvalidRequest(f"messages[{index}].content: missing", param=f"messages[{index}].content")
    for index, tool in enumerate(request.tools or ()):
        _check_tool(index, tool)


def _check_choice(request: ChatRequest) -> None:
    """A call can only be asked for of functions that are there."""
    names = [named(tool) for tool in request.tools or ()]
    choice = request.tool_choice
    if choice == "required" and not names:
        raise InvalidRequest("tool_choice: required, and there are no tools", param="tool_choice")
    if isinstance(choice, dict) and (choice.get("type") != "function" or named(choice) not in names):
        raise InvalidRequest(
            'tool_choice: not {"type": "function", "function": {"name": …}} with the name of one of the tools',
            param="tool_choice",
        )


def named(tool: dict[str, Any]) -> str | None:
    """The name of a tool's function, or of the one that a tool_choice asks for."""
    function = tool.get("function")
    name = cast(dict[str, Any], function).get("name") if isinstance(function, dict) else None
    return name if isinstance(name, str) else None


def _check_tool(index: int, tool: dict[str, Any]) -> None:
    if _depth(tool) > MAX_DEPTH:
        raise _too_deep()
    try:
        msgspec.convert(tool, Tool)
    except msgspec.ValidationError as error:
        raise _typed(str(error), prefix=f"tools[{index}]") from error


def _depth(value: Any) -> int:
    """Levels of nesting, counted without recursion."""
    depth, level = 0, [value]
    while level:
        depth += 1
        level = [child for each in level for child in _children(each)]
    return depth


def _children(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        yield from value.values()
    elif isinstance(value, list):
        yield from value
