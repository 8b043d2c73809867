"""What /v1/messages takes: Anthropic's request, read as the chat that it is. Pure."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from colonnade.replica.refused import NOT_HERE, Refusal
from colonnade.replica.requests import (
    CalledFunction,
    ChatRequest,
    Count,
    JsonSchemaFormat,
    Message,
    NamedSchema,
    TextPart,
    ToolCall,
    check,
)
from colonnade.wire.errors import InvalidRequest

Cached = Any
"""A cache_control: prefixes are cached by themselves, so that it changes nothing."""


class TextBlock(msgspec.Struct, tag_field="type", tag="text"):
    text: str
    cache_control: Cached = None
    citations: None = None


class ThinkingBlock(msgspec.Struct, tag_field="type", tag="thinking"):
    thinking: str
    signature: str = ""


class RedactedBlock(msgspec.Struct, tag_field="type", tag="redacted_thinking"):
    """Of another model: it says nothing to this one."""

    data: str = ""


class ToolUseBlock(msgspec.Struct, tag_field="type", tag="tool_use"):
    id: str
    name: str
    input: dict[str, Any]
    cache_control: Cached = None


class ToolResultBlock(msgspec.Struct, tag_field="type", tag="tool_result"):
    tool_use_id: str
    content: str | list[TextBlock] | None = None
    is_error: bool | None = None
    cache_control: Cached = None


Block = TextBlock | ThinkingBlock | RedactedBlock | ToolUseBlock | ToolResultBlock


class Spoken(msgspec.Struct):
    role: Literal["user", "assistant"]
    content: str | list[Block]


class CustomTool(msgspec.Struct):
    name: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]
    input_schema: dict[str, Any]
    type: Literal["custom"] | None = None
    description: str | None = None
    strict: bool | None = None
    cache_control: Cached = None


class ToolChoice(msgspec.Struct):
    type: Literal["auto", "any", "tool", "none"]
    name: str | None = None
    disable_parallel_tool_use: bool | None = None


class Metadata(msgspec.Struct):
    user_id: str | None = None


class Thinking(msgspec.Struct):
    type: Literal["enabled", "disabled", "adaptive"]
    budget_tokens: Annotated[int, Meta(ge=1024)] | None = None
    display: Literal["summarized"] | None = None


class SchemaFormat(msgspec.Struct, tag_field="type", tag="json_schema"):
    schema: dict[str, Any]


class OutputConfig(msgspec.Struct):
    format: SchemaFormat | None = None
    effort: None = None


StopSequence = Annotated[str, Meta(min_length=1, max_length=512)]


class CountRequest(msgspec.Struct, kw_only=True):
    """/v1/messages/count_tokens."""

    model: str
    messages: Annotated[list[Spoken], Meta(min_length=1)]
    system: str | list[TextBlock] | None = None
    tools: list[CustomTool] | None = None
    tool_choice: ToolChoice | None = None
    thinking: Thinking | None = None
    output_config: OutputConfig | None = None
    cache_control: Cached = None


class MessagesRequest(CountRequest, kw_only=True):
    max_tokens: Count
    temperature: Annotated[float, Meta(ge=0, le=1)] | None = None
    top_p: Annotated[float, Meta(gt=0, le=1)] | None = None
    top_k: Annotated[int, Meta(ge=0, le=2**31 - 1)] | None = None
    stop_sequences: Annotated[list[StopSequence], Meta(max_length=16)] | None = None
    stream: bool | None = None
    metadata: Metadata | None = None


_ELSEWHERE = Refusal("nothing runs here but the model")

REFUSED: dict[str, Refusal] = {
    "container": _ELSEWHERE,
    "mcp_servers": Refusal("this replica reaches nothing outside", ([],)),
    "context_management": Refusal("conversations are taken as they are sent"),
    "diagnostics": Refusal("nothing is compared with earlier requests"),
    "inference_geo": Refusal("a replica is where it is", (), "ask a gateway of the region"),
    "service_tier": Refusal("there is one tier", ("auto", "standard_only")),
    "speed": Refusal("there is one speed", ("standard",)),
    "output_format": Refusal("the old name", (), "use output_config.format"),
    "user_profile_id": _ELSEWHERE,
    "workspace_id": _ELSEWHERE,
    "images": NOT_HERE,
}


def as_chat(request: MessagesRequest) -> ChatRequest:
    """The same question in the other form. Raises InvalidRequest."""
    chat = counted(request)
    chat.max_tokens = request.max_tokens
    chat.temperature, chat.top_p, chat.top_k = request.temperature, request.top_p, request.top_k
    chat.stop = list(request.stop_sequences or ())
    chat.stream = request.stream
    return chat


def counted(request: CountRequest) -> ChatRequest:
    """As much of it as stands in the prompt. Raises InvalidRequest."""
    choice = request.tool_choice or ToolChoice("auto")
    system = [Message("system", _text(request.system))] if request.system else []
    chat = ChatRequest(
        model=request.model,
        messages=[*system, *(each for spoken in request.messages for each in _said(spoken))],
        tools=[_tool(tool) for tool in request.tools or ()] or None,
        tool_choice=_choice(choice) if request.tools or choice.type != "auto" else None,
        parallel_tool_calls=not choice.disable_parallel_tool_use,
        enable_thinking=None if request.thinking is None else request.thinking.type != "disabled",
    )
    if request.output_config is not None and request.output_config.format is not None:
        chat.response_format = JsonSchemaFormat(NamedSchema("answer", request.output_config.format.schema))
    if request.messages[-1].role != "user":
        raise InvalidRequest(
            "messages: the last one is the assistant's, and begun answers are not gone on with",
            param="messages",
            code="unsupported_parameter",
            hint="end with a message of the user, or use /v1/completions",
        )
    check(chat)
    return chat


def _text(content: str | list[TextBlock] | None) -> str:
    return "".join(block.text for block in content) if isinstance(content, list) else content or ""


def _said(spoken: Spoken) -> list[Message]:
    """Results of tools are messages of their own, ahead of what the user says beside them."""
    if isinstance(spoken.content, str):
        return [Message(spoken.role, spoken.content)]
    blocks = spoken.content
    text: list[TextPart] = [TextPart(block.text) for block in blocks if isinstance(block, TextBlock)]
    calls = [_called(block) for block in blocks if isinstance(block, ToolUseBlock)]
    results = [_result(block) for block in blocks if isinstance(block, ToolResultBlock)]
    thoughts = "".join(block.thinking for block in blocks if isinstance(block, ThinkingBlock))
    if spoken.role == "user" and (calls or thoughts):
        raise InvalidRequest("messages: a user says text and the results of tools", param="messages")
    if spoken.role == "assistant" and results:
        raise InvalidRequest("messages: results of tools are the user's to tell", param="messages")
    said = [Message(spoken.role, text)] if text or not results else []
    if spoken.role == "assistant":
        said = [Message("assistant", text, tool_calls=calls or None, reasoning_content=thoughts or None)]
    return [*results, *said]


def _called(block: ToolUseBlock) -> ToolCall:
    return ToolCall(CalledFunction(block.name, json.dumps(block.input, ensure_ascii=False)), block.id)


def _result(block: ToolResultBlock) -> Message:
    text = _text(block.content)
    return Message("tool", f"Error: {text}" if block.is_error else text, tool_call_id=block.tool_use_id)


def _tool(tool: CustomTool) -> dict[str, Any]:
    function: dict[str, Any] = {"name": tool.name}
    if tool.description is not None:
        function["description"] = tool.description
    function["parameters"] = tool.input_schema
    if tool.strict is not None:
        function["strict"] = tool.strict
    return {"type": "function", "function": function}


def _choice(choice: ToolChoice) -> Literal["none", "auto", "required"] | dict[str, Any]:
    match choice.type:
        case "any":
            return "required"
        case "tool":
            return {"type": "function", "function": {"name": choice.name}}
        case kind:
            return kind
