import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colonnade.replica.toolcalls import Call, Found, ToolCallParser

BOOK = '<tool_call>\n{"name": "book", "arguments": {"day": "Monday"}}\n</tool_call>'
CALL = Call("book", '{"day": "Monday"}')


def parse(pieces: list[str], *, single: bool = False) -> Found:
    parser = ToolCallParser(single=single)
    found = [*(parser.feed(piece) for piece in pieces), parser.flush()]
    whole = Found("".join(each.text for each in found), tuple(call for each in found for call in each.calls))
    assert parser.calls == len(whole.calls)
    return whole


PARTS = st.sampled_from(
    [
        BOOK,
        "<tool_call>",
        "</tool_call>",
        "<tool",
        "_call>",
        '{"name": "f"}',
        '{"name": "f", "arguments": {"s": "</tool_call>"}}',
        '{"name": "f", "arguments": [1]}',
        '"',
        "\\",
        " ",
        "\n\n",
        "text",
        "<",
    ]
)


@given(st.lists(PARTS, max_size=8).map("".join), st.lists(st.integers(0, 200), max_size=6), st.booleans())
def test_any_split_gives_the_same(text: str, at: list[int], single: bool):
    edges = sorted({0, len(text), *(cut for cut in at if cut < len(text))})
    pieces = [text[a:b] for a, b in pairwise(edges)]
    assert parse(pieces, single=single) == parse([text], single=single)
    assert parse(list(text), single=single) == parse([text], single=single)


@given(st.lists(PARTS, max_size=8).map("".join))
def test_text_without_calls_is_untouched(text: str):
    found = parse([text])
    if not found.calls:
        assert found.text == text


@given(
    st.dictionaries(
        st.text(),
        st.recursive(
            st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
            max_leaves=6,
        ),
        max_size=3,
    ),
    st.booleans(),
)
def test_any_arguments_come_through(arguments: dict[str, object], ascii_only: bool):
    text = json.dumps({"name": "f", "arguments": arguments}, ensure_ascii=ascii_only)
    (call,) = parse(list(f"<tool_call>{text}</tool_call>")).calls
    assert json.loads(call.arguments) == arguments


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (f"Let me look. \n{BOOK}\n", Found("Let me look.", (CALL,))),
        (f"{BOOK}\n{BOOK}", Found("", (CALL, CALL))),
        (f"{BOOK}\nDone.", Found("\nDone.", (CALL,))),
        (BOOK.removesuffix("</tool_call>"), Found("", (CALL,))),
        ('<tool_call>{"name": "f"}</tool_call>', Found("", (Call("f", "{}"),))),
        ('<tool_call>{"name": ""}</tool_call>', Found('<tool_call>{"name": ""}</tool_call>')),
        ("a <tool_call>{oops</tool_call> b ", Found("a <tool_call>{oops</tool_call> b ")),
        ("<tool_call>{oops", Found("<tool_call>{oops")),
        ("say <tool", Found("say <tool")),
        ("a  \n", Found("a  \n")),
    ],
)
def test_what_is_found(text: str, found: Found):
    assert parse([text]) == found


def test_deep_nesting_is_text():
    text = '<tool_call>{"name": "f", "arguments": {"a": ' + "[" * 5000 + "]" * 5000 + "}}</tool_call>"
    assert parse([text]) == Found(text)


def test_single_drops_what_follows_the_first_call():
    assert parse([f"One: {BOOK} two: {BOOK}"], single=True) == Found("One:", (CALL,))
