import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colonnade.replica.families import (
    DEEPSEEK,
    FAMILIES,
    HERMES,
    LLAMA3,
    MISTRAL,
    PYTHON_LIMIT,
    Family,
    read_python,
    reasons,
    recognise,
)
from colonnade.replica.parts import Call, Part, Text, Thought, join
from colonnade.replica.speech import Listening, SpeechParser

BOOK = '<tool_call>\n{"name": "book", "arguments": {"day": "Monday"}}\n</tool_call>'
DAY = '{"day": "Monday"}'
LLAMA = '{"name": "book", "parameters": {"day": "Monday"}}'
FENCED = f"<｜tool▁call▁begin｜>function<｜tool▁sep｜>book\n```json\n{DAY}\n```<｜tool▁call▁end｜>"
BARE = f"<｜tool▁call▁begin｜>book<｜tool▁sep｜>{DAY}<｜tool▁call▁end｜>"
WELL = Text("Well.")
LOOK = Call("g", "{}", 1)
BROKEN = "<｜tool▁call▁begin｜>what<｜tool▁call▁end｜>"
CALL = Call("book", DAY)
SECOND = Call("book", DAY, 1)


def parse(pieces: list[str], listening: Listening) -> tuple[Part, ...]:
    parser = SpeechParser(listening)
    found = [part for piece in pieces for part in parser.feed(piece)] + parser.flush()
    calls = [part for part in found if isinstance(part, Call)]
    assert parser.calls == len(calls)
    assert [call.number for call in calls] == list(range(len(calls)))
    return join(found)


def heard(text: str, family: Family = HERMES, *, single: bool = False) -> tuple[Part, ...]:
    return parse([text], Listening(family, not single))


PARTS = st.sampled_from(
    [
        BOOK,
        LLAMA,
        FENCED,
        BARE,
        "<think>",
        "</think>",
        "[book(day='Monday')]",
        f"[TOOL_CALLS][{LLAMA}]",
        f"[TOOL_CALLS]book[ARGS]{DAY}",
        "[TOOL_CALLS]",
        "<|python_tag|>",
        "<｜tool▁calls▁begin｜>",
        "<｜tool▁calls▁end｜>",
        "<｜tool▁call▁begin｜>",
        "<tool_call>",
        "</tool_call>",
        "<tool",
        "_call>",
        '{"name": "f"}',
        '{"name": "f", "arguments": {"s": "</tool_call>"}}',
        '{"name": "f", "arguments": [1]}',
        *'"\\ <;[{}]',
        "\n\n",
        "text",
    ]
)
LISTENINGS = st.builds(
    Listening,
    st.sampled_from(list(FAMILIES.values())),
    st.sampled_from([None, True, False]),
    st.booleans(),
    st.booleans(),
)


@given(st.lists(PARTS, max_size=8).map("".join), st.lists(st.integers(0, 200), max_size=6), LISTENINGS)
def test_any_split_gives_the_same(text: str, at: list[int], listening: Listening):
    edges = sorted({0, len(text), *(cut for cut in at if cut < len(text))})
    pieces = [text[a:b] for a, b in pairwise(edges)]
    assert parse(pieces, listening) == parse([text], listening)
    assert parse(list(text), listening) == parse([text], listening)


@given(st.lists(PARTS, max_size=8).map("".join))
def test_text_without_calls_is_untouched(text: str):
    found = heard(text)
    if not any(isinstance(part, Call) for part in found):
        assert "".join(part.text for part in found if isinstance(part, Text)) == text


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(st.text(), VALUES, max_size=3), st.booleans(), st.sampled_from(sorted(FAMILIES)))
def test_any_arguments_come_through(arguments: dict[str, object], ascii_only: bool, name: str):
    said = json.dumps(arguments, ensure_ascii=ascii_only)
    spoken = json.dumps({"name": "f", "parameters": arguments}, ensure_ascii=ascii_only)
    text = {
        "hermes": f"<tool_call>{spoken}</tool_call>",
        "llama3": spoken,
        "mistral": f"[TOOL_CALLS]f[ARGS]{said}",
        "deepseek": f"<｜tool▁call▁begin｜>f<｜tool▁sep｜>{said}<｜tool▁call▁end｜>",
    }[name]
    (call,) = parse(list(text), Listening(FAMILIES[name], True))
    assert isinstance(call, Call)
    assert json.loads(call.arguments) == arguments


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (f"Let me look. \n{BOOK}\n", (Text("Let me look."), CALL)),
        (f"{BOOK}\n{BOOK}", (CALL, SECOND)),
        (f"{BOOK}\nDone.", (CALL, Text("\nDone."))),
        (BOOK.removesuffix("</tool_call>"), (CALL,)),
        ('<tool_call>{"name": "f"}</tool_call>', (Call("f", "{}"),)),
        ('<tool_call>{"name": ""}</tool_call>', (Text('<tool_call>{"name": ""}</tool_call>'),)),
        ("a <tool_call>{oops</tool_call> b ", (Text("a <tool_call>{oops</tool_call> b "),)),
        ("<tool_call>{oops", (Text("<tool_call>{oops"),)),
        ("say <tool", (Text("say <tool"),)),
        ("a  \n", (Text("a  \n"),)),
        (" ", (Text(" "),)),
        ("", ()),
    ],
)
def test_what_is_found(text: str, found: tuple[Part, ...]):
    assert heard(text) == found


@pytest.mark.parametrize(
    ("family", "text", "found"),
    [
        (LLAMA3, LLAMA, (CALL,)),
        (LLAMA3, f"<|python_tag|>{LLAMA}", (CALL,)),
        (LLAMA3, f"<|python_tag|>{LLAMA}; {LLAMA}", (CALL, SECOND)),
        (LLAMA3, f"\n{LLAMA};{LLAMA}\n", (CALL, SECOND)),
        (LLAMA3, f"{LLAMA};", (CALL, Text(";"))),
        (LLAMA3, f"{LLAMA} and so on", (CALL, Text(" and so on"))),
        (LLAMA3, '{"name": "Ada", "age": 36}', (Text('{"name": "Ada", "age": 36}'),)),
        (LLAMA3, f"So: {LLAMA}", (Text(f"So: {LLAMA}"),)),
        (LLAMA3, "<|python_tag|>print(1)", (Text("<|python_tag|>print(1)"),)),
        (LLAMA3, '[book(day="Monday"), book(day="Monday")]', (CALL, SECOND)),
        (LLAMA3, '[a.f(x=[1, {"k": None}], y="\\d]")]', (Call("a.f", '{"x": [1, {"k": null}], "y": "\\\\d]"}'),)),
        (LLAMA3, "[1, 2]", (Text("[1, 2]"),)),
        (LLAMA3, "[f(1)]", (Text("[f(1)]"),)),
        (LLAMA3, "[]", (Text("[]"),)),
        (LLAMA3, "[f(x=g())]", (Text("[f(x=g())]"),)),
        (MISTRAL, f'[TOOL_CALLS] [{{"name": "book", "arguments": {DAY}}}, {{"name": "g"}}]', (CALL, LOOK)),
        (MISTRAL, f"Well.[TOOL_CALLS]book[ARGS]{DAY}[TOOL_CALLS]book[CALL_ID]a1[ARGS]{DAY}", (WELL, CALL, SECOND)),
        (MISTRAL, f"[TOOL_CALLS]book{DAY}", (CALL,)),
        (MISTRAL, "[TOOL_CALLS]book[ARGS]{oops}", (Text("[TOOL_CALLS]book[ARGS]{oops}"),)),
        (MISTRAL, "[TOOL_CALLS]none", (Text("[TOOL_CALLS]none"),)),
        (DEEPSEEK, f"Yes.<｜tool▁calls▁begin｜>{FENCED}\n{FENCED}<｜tool▁calls▁end｜>", (Text("Yes."), CALL, SECOND)),
        (DEEPSEEK, f"<｜tool▁calls▁begin｜>{BARE}<｜tool▁calls▁end｜>", (CALL,)),
        (DEEPSEEK, BROKEN, (Text(BROKEN),)),
    ],
)  # fmt: skip
def test_each_family(family: Family, text: str, found: tuple[Part, ...]):
    assert heard(text, family) == found


THINKS = Listening(HERMES, True, reasoning=True)
GOES_ON = Listening(HERMES, None, reasoning=True, thinking=True)


@pytest.mark.parametrize(
    ("listening", "text", "found"),
    [
        (THINKS, "<think>\nHm. <tool_call>\n</think>\n\nYes.", (Thought("Hm. <tool_call>"), Text("Yes."))),
        (THINKS, f"<think>\n\n</think>\n\n{BOOK}", (CALL,)),
        (THINKS, f"<think>a</think>{BOOK}", (Thought("a"), CALL)),
        (THINKS, "<think>never closed </th", (Thought("never closed </th"),)),
        (THINKS, "<think>a</think> \n", (Thought("a"),)),
        (THINKS, "I <think> so</think>", (Text("I <think> so</think>"),)),
        (THINKS, "<thin", (Text("<thin"),)),
        (GOES_ON, "\nHm.\n</think>\n\n<think>", (Thought("Hm."), Text("<think>"))),
        (GOES_ON, f" \n</think> {BOOK}", (Text(BOOK),)),
        (Listening(HERMES), "<think>a</think>", (Text("<think>a</think>"),)),
    ],
)
def test_reasoning(listening: Listening, text: str, found: tuple[Part, ...]):
    assert parse([text], listening) == found
    assert parse(list(text), listening) == found


def test_deep_nesting_is_text():
    text = '<tool_call>{"name": "f", "arguments": {"a": ' + "[" * 5000 + "]" * 5000 + "}}</tool_call>"
    assert heard(text) == (Text(text),)
    deep = "[TOOL_CALLS]f[ARGS]" + '{"a":' * 5000 + "1" + "}" * 5000
    assert heard(deep, MISTRAL) == (Text(deep),)
    python = "[f(x=" + "[" * 5000 + "]" * 5000 + ")]"
    assert heard(python, LLAMA3) == (Text(python),)
    assert read_python("[f()]" + " " * PYTHON_LIMIT) is None


def test_single_drops_what_follows_the_first_call():
    assert heard(f"One: {BOOK} two: {BOOK}", single=True) == (Text("One:"), CALL)
    assert heard(f"[TOOL_CALLS][{LLAMA}, {LLAMA}]", MISTRAL, single=True) == (CALL,)


@pytest.mark.parametrize(
    ("template", "architecture", "name"),
    [
        ("{{ '<tool_call>' }}", "LlamaForCausalLM", "hermes"),
        ("{{ '[TOOL_CALLS]' }}", "MistralForCausalLM", "mistral"),
        ("<｜tool▁calls▁begin｜>", "DeepseekV3ForCausalLM", "deepseek"),
        ("<|start_header_id|>", "LlamaForCausalLM", "llama3"),
        ("", "DeepseekV3ForCausalLM", "deepseek"),
        ("", "Qwen3ForCausalLM", "hermes"),
    ],
)
def test_the_chat_template_tells_the_family(template: str, architecture: str, name: str):
    assert recognise(template, architecture) == name
    assert not reasons(template)


def test_the_markers_of_a_family_stay_in_the_text():
    assert DEEPSEEK.markers[:3] == ("<｜tool▁call▁begin｜>", "<｜tool▁call▁end｜>", "<｜tool▁calls▁begin｜>")
    assert MISTRAL.markers == ("[TOOL_CALLS]", "<think>", "</think>")
    assert reasons("{% if '</think>' in content %}")
