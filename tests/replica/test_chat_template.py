import pytest

from colonnade.replica.chat import conversation, offered_tools
from colonnade.replica.requests import CalledFunction, ChatRequest, Message, TextPart, ToolCall
from colonnade.replica.template import ChatTemplate
from colonnade.wire.errors import BadModel, InvalidRequest

USER = [{"role": "user", "content": "Hi"}]


def render(source: str, **tokens: str) -> str:
    return ChatTemplate(source, tokens).render(USER, [{"a": "<é>"}], 1700000000)


def test_it_renders_as_transformers_does():
    source = """{%- for m in messages %}
    {%- if loop.index > 5 %}{% break %}{% endif %}
{{ bos_token }}{{ m.role }}: {% generation %}{{ m.content }}{% endgeneration %}

{% endfor %}
{{ tools | tojson }}{{ add_generation_prompt }}"""
    assert render(source, bos_token="<s>") == '<s>user: Hi\n[{"a": "<é>"}]True'


def test_now_is_when_the_request_was_admitted():
    assert render("{{ strftime_now('%Y-%m-%d') }}") == "2023-11-14"


@pytest.mark.parametrize(
    "source",
    [
        "{{ raise_exception('roles must alternate') }}",
        "{{ messages.nothing.at_all }}",
        "{{ ''.__class__.__mro__ }}",
        "{{ messages.append(1) }}",
        "{{ 1 / 0 }}",
        "{{ messages[0] + 1 }}",
        "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    ],
)
def test_a_template_that_refuses_is_the_requests_fault(source: str):
    with pytest.raises(InvalidRequest, match="chat template refuses") as caught:
        render(source)
    assert caught.value.param == "messages"


def test_a_broken_template_is_a_bad_model():
    with pytest.raises(BadModel, match="does not compile"):
        ChatTemplate("{% if %}", {})


def test_messages_become_what_templates_expect():
    call = ToolCall(CalledFunction("book", '{"day": "Monday"}'), id="call_1")
    request = ChatRequest(
        model="m",
        messages=[
            Message("developer", "Be kind.", name="boss"),
            Message("user", [TextPart("a"), TextPart("b")]),
            Message("assistant", None, tool_calls=[call]),
            Message("tool", "ok", tool_call_id="call_1"),
        ],
    )
    function = {"name": "book", "arguments": {"day": "Monday"}}
    assert conversation(request) == [
        {"role": "system", "content": "Be kind.", "name": "boss"},
        {"role": "user", "content": "ab"},
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [{"type": "function", "id": "call_1", "function": function}],
        },
        {"role": "tool", "content": "ok", "tool_call_id": "call_1"},
    ]


def test_arguments_that_are_no_json_are_named():
    call = ToolCall(CalledFunction("book", "{"))
    with pytest.raises(InvalidRequest) as caught:
        conversation(ChatRequest(model="m", messages=[Message("assistant", tool_calls=[call])]))
    assert caught.value.param == "messages[0].tool_calls[0].function.arguments"


def test_tool_choice_none_hides_the_tools():
    tools = [{"type": "function", "function": {"name": "f"}}]
    request = ChatRequest(model="m", messages=[], tools=tools)
    assert offered_tools(request) == tools
    request.tool_choice = "none"
    assert offered_tools(request) is None
