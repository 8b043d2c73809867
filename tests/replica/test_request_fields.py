import contextlib
import inspect
import json
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
from anthropic.types import message_count_tokens_params, message_create_params
from hypothesis import given
from hypothesis import strategies as st
from openai.types import completion_create_params, embedding_create_params
from openai.types.chat import completion_create_params as chat_create_params

from colonnade.replica import completions, messages
from colonnade.replica.embeddings import EmbeddingRequest
from colonnade.replica.form import chat_form
from colonnade.replica.messages import CountRequest, MessagesRequest
from colonnade.replica.refused import REFUSED
from colonnade.replica.requests import ChatRequest, CompletionRequest, read
from colonnade.wire.errors import InvalidRequest

CHAT = {"model": "tiny", "messages": [{"role": "user", "content": "Hi"}]}
TEXT = {"model": "tiny", "prompt": "Hi"}


def chat(**fields: Any) -> tuple[ChatRequest, list[str]]:
    return read(json.dumps(CHAT | fields).encode(), ChatRequest)


def refused(body: bytes, kind: Any = ChatRequest) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        read(body, kind)
    return caught.value


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"temperature": "hot"}, "temperature"),
        ({"temperature": 2.1}, "temperature"),
        ({"temperature": True}, "temperature"),
        ({"top_p": 0}, "top_p"),
        ({"n": 9}, "n"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_completion_tokens": 10**12}, "max_completion_tokens"),
        ({"seed": 2**64}, "seed"),
        ({"stop": [""]}, "stop"),
        ({"stop": ["a"] * 17}, "stop"),
        ({"stop": ["a", 1]}, "stop[1]"),
        ({"logit_bias": {"x": 1}}, "logit_bias"),
        ({"logit_bias": {"1": 101}}, "logit_bias[...]"),
        ({"top_logprobs": 3}, "top_logprobs"),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [{"role": "robot", "content": ""}]}, "messages[0].role"),
        ({"messages": [{"content": ""}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages[0].content[0].type"),
        ({"tools": [{"type": "function", "function": {"name": "a b"}}]}, "tools[0].function.name"),
        ({"tools": [{"type": "function", "function": {"name": "a", "strict": 1}}]}, "tools[0].function.strict"),
        ({"tools": [{"type": "function"}]}, "tools[0].function"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tool_choice": {"type": "function", "function": {"name": "f"}}}, "tool_choice"),
        ({"tool_choice": {"type": "allowed_tools"}}, "tool_choice"),
        ({"response_format": {"type": "xml"}}, "response_format.type"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
        ({"metadata": {str(n): "" for n in range(17)}}, "metadata"),
        ({"model": None}, "model"),
    ],
)
def test_a_bad_field_is_named(fields: dict[str, Any], param: str):
    error = refused(json.dumps(CHAT | fields).encode())
    assert error.param == param
    assert error.status == 400
    assert param.partition("[")[0].partition(".")[0] in error.message


def test_a_missing_field_is_named():
    error = refused(b'{"model": "tiny"}')
    assert (error.param, error.reason) == ("messages", "missing_required_parameter")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'"text"',
        b'{"a": 1} x',
        b'{"model": "\xff"}',
        b'{"model": "\\ud800"}',
        b'{"model": "\xed\xa0\x80", "prompt": ""}',
        b'{"model": NaN}',
        b'{"x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"prompt": ' + b'{"a":' * 3000 + b"1" + b"}" * 3000 + b"}",
    ],
)
def test_what_is_not_a_request_is_refused(body: bytes):
    assert refused(body, CompletionRequest).status == 400


def test_tools_may_not_be_nested_too_deep():
    deep: dict[str, Any] = {}
    for _ in range(70):
        deep = {"items": [deep]}
    tool = {"type": "function", "function": {"name": "f", "parameters": deep}}
    assert refused(json.dumps(CHAT | {"tools": [tool]}).encode()).reason == "nested_too_deep"


@given(
    st.binary(max_size=60)
    | st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from([*CHAT, "stop", "tools", "content", "role"]), inner, max_size=4)
        ),
        max_leaves=12,
    ).map(lambda value: json.dumps(value).encode())
)
def test_any_bytes_are_read_or_refused(body: bytes):
    with contextlib.suppress(InvalidRequest):
        assert read(body, ChatRequest)[0].messages


def test_unknown_fields_warn_and_strictly_are_refused():
    body = json.dumps(CHAT | {"tempersture": 1, "a\nb": 2}).encode()
    assert read(body, ChatRequest)[1] == [
        "unknown field tempersture",
        "unknown field (a name with other characters)",
    ]
    with pytest.raises(InvalidRequest) as caught:
        read(body, ChatRequest, strict=True)
    assert caught.value.param == "tempersture"


@pytest.mark.parametrize("schema", ["", "{{ 1 }}", "1" + "0" * 5000, "[" * 100_000])
def test_a_schema_that_is_no_json_is_refused_beside_tools_too(schema: str):
    tool = {"type": "function", "function": {"name": "f", "parameters": {}}}
    request, _ = chat(tools=[tool], json_schema=schema)
    with pytest.raises(InvalidRequest) as caught:
        chat_form(request)
    assert (caught.value.param, caught.value.reason) == ("json_schema", "grammar_refused")


def test_null_is_absent():
    names = {field.name for field in msgspec.structs.fields(ChatRequest)} - {"model", "messages"}
    request, warnings = chat(**dict.fromkeys([*names, *REFUSED]))
    assert warnings == []
    assert request == chat()[0]


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_refused_fields_are_refused_unless_they_ask_for_nothing(name: str):
    for value in REFUSED[name].neutral:
        chat(**{name: value})
    error = refused(json.dumps(CHAT | {name: {"ask": "much"}}).encode())
    assert (error.param, error.reason) == (name, "unsupported_parameter")


def test_a_completion_is_read():
    request, _ = read(json.dumps(TEXT | {"stop": "a", "best_of": 1}).encode(), CompletionRequest)
    assert (request.prompt, request.stops()) == ("Hi", ("a",))


def test_no_field_is_both_honoured_and_refused():
    for kind in (ChatRequest, CompletionRequest):
        refused = set(completions.HERE if kind is CompletionRequest else REFUSED)
        assert not set(kind.__struct_encode_fields__) & refused


def test_false_is_not_zero():
    assert refused(json.dumps(TEXT | {"best_of": True}).encode(), CompletionRequest).param == "best_of"


def fields_of(params: Any) -> set[str]:
    """Of the client's base class and of the ones for a stream and for none."""
    found = inspect.getmembers(params, inspect.isclass)
    kinds = [kind for name, kind in found if re.search("(Create|CountTokens)Params", name)]
    return {name for kind in kinds for name in kind.__annotations__}


@pytest.mark.parametrize(
    ("params", "kind", "refusals"),
    [
        (chat_create_params, ChatRequest, REFUSED),
        (completion_create_params, CompletionRequest, completions.HERE),
        (embedding_create_params, EmbeddingRequest, {}),
        (message_create_params, MessagesRequest, messages.REFUSED),
        (message_count_tokens_params, CountRequest, messages.REFUSED),
    ],
)
def test_every_field_of_the_official_clients_is_honoured_or_refused(params: Any, kind: Any, refusals: dict[str, Any]):
    known = {field.encode_name for field in msgspec.structs.fields(kind)} | set(refusals)
    assert fields_of(params) - HEADERS - known == set()
    page = (Path(__file__).parents[2] / "docs" / "api.md").read_text("utf-8")
    told = {name for name in kind.__struct_encode_fields__ if f"`{name}`" not in page and f"{name}." not in page}
    assert told == set(), "fields that the page does not tell of"


HEADERS = {"betas", "user_profile_id"}
"""What Anthropic's client sends in headers and not in the body."""
