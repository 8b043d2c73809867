"""How many tokens a message prefix safely stands for, with the shipped model's own template and tokenizer."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from colonnade.engine.radix import prefix_digest, prefix_digests
from colonnade.replica.landmarks import KNOWN, LEAST, Landmarks, Mark, Prompt, chat_reach, counts, said_by, text_reach
from colonnade.replica.marks import EXPECTED, Marks
from colonnade.replica.model import ServedModel
from colonnade.replica.template_process import common
from colonnade.wire.messages import Marked, Removed, Stored, Unmarked
from colonnade.wire.prefix import Link, read

MODEL = ServedModel.open("colonnade-tiny")
Messages = list[dict[str, Any]]

texts = st.text(max_size=40) | st.sampled_from(
    ["Book a table ", "for two\nat nine", 'a "quote" \\ here', "été 北京 🙂", " "]
)
contents = st.lists(texts, min_size=1, max_size=60).map("".join)


def conversation(said: list[str]) -> Messages:
    return [{"role": "user" if n % 2 == 0 else "assistant", "content": each} for n, each in enumerate(said)]


def prompt_of(messages: Messages, body: bytes) -> Prompt:
    template = MODEL.template
    assert template is not None
    text = template.render(messages, None, 0)
    encoding = MODEL.vocabulary.encoding(text, special=False)

    links, contents = read(body, "t"), [each["content"] for each in messages]
    wanted = counts(links.links)
    ends = {n: common(text, template.render(messages[:n], None, 0, answer=False)) for n in wanted}
    reach = chat_reach(text, links.parts, contents, ends)
    return Prompt(encoding.ids, lambda: encoding.offsets, MODEL.vocabulary.begins, reach)


def marks_of(messages: Messages, known: Landmarks | None = None) -> tuple[list[Mark], list[int]]:
    body = msgspec.json.encode({"model": "m", "messages": messages})
    prompt = prompt_of(messages, body)
    return (known or Landmarks()).find("t", read(body, "t").links, prompt), list(prompt.tokens)


@settings(deadline=None, max_examples=150)
@given(st.lists(contents, min_size=1, max_size=3), st.lists(contents, max_size=2), texts)
def test_a_mark_stands_for_the_same_tokens_in_every_continuation(said: list[str], more: list[str], tail: str) -> None:
    marks, tokens = marks_of(conversation(said))
    longer = [conversation(said + more), conversation([*said[:-1], said[-1] + tail])]
    for messages in longer:
        body = msgspec.json.encode({"model": "m", "messages": messages})
        theirs = {link.digest for link in read(body, "t").links}
        continued = prompt_of(messages, body).tokens
        for mark in marks:
            if mark.link in theirs:
                assert list(continued[: mark.length]) == tokens[: mark.length]
                assert mark.tokens == prefix_digest("t", tokens[: mark.length])


def test_a_turn_stands_for_nearly_all_of_it() -> None:
    said = ["You are a clerk. " * 200, "Good day, how can I help you?", "Book a table for two on Tuesday at nine."]
    marks, tokens = marks_of(conversation(said))
    assert len(tokens) - marks[-1].length < 12
    assert len(marks) == 6, "three messages, and the first cut in four"
    assert [mark.length for mark in marks] == sorted(mark.length for mark in marks)
    assert marks_of(conversation(["Hi"]))[0] == [], "not worth knowing"


def test_what_was_learned_is_kept_until_it_is_wrong() -> None:
    known = Landmarks()
    messages = conversation(["You are a clerk of the town hall. Be kind to the people who ask."])
    (mark,), tokens = marks_of(messages, known)
    body = msgspec.json.encode({"model": "m", "messages": messages})
    asked = read(body, "t").links

    def unread() -> list[tuple[int, int]]:
        raise AssertionError("it is known")

    same = Prompt(tokens, unread, MODEL.vocabulary.begins, lambda link: 0)
    assert known.find("t", asked, same) == [mark]
    other = prompt_of(messages, body)._replace(tokens=[tokens[0] + 1, *tokens[1:]])
    (moved,) = known.find("t", asked, other)
    assert moved.tokens != mark.tokens
    assert known.find("t", asked, other) == [moved]
    short = Prompt(tokens[:LEAST], list, MODEL.vocabulary.begins, lambda link: 0)
    assert known.find("t", asked, short) == []


def test_what_must_be_rendered() -> None:
    said = ["You are a clerk of the town hall. Be kind to the people who ask. " * 40, "Good day, how can I help you?"]
    messages, known = conversation([*said, "Book a table for two on Tuesday at nine."]), Landmarks()
    body = msgspec.json.encode({"model": "m", "messages": messages})
    asked, prompt = read(body, "t"), prompt_of(messages, body)
    assert counts(known.fresh(asked.links)) == [1, 2, 3]
    marks = known.find("t", asked.links[:-1], prompt)
    assert counts(known.fresh(asked.links)) == [3], "the others are known"
    unrendered = prompt._replace(reach=chat_reach("", asked.parts, [""] * 3, {}))
    assert known.find("t", asked.links, unrendered) == marks, "no mark where there is no rendering"
    assert known.find("t", asked.links, unrendered._replace(tokens=[0, *prompt.tokens])) == []
    assert counts(known.fresh(asked.links)) == [1, 2, 3], "what no longer agrees is fresh again"
    inside = chat_reach("abc", [b"", b'{"content":"abc"}'], ["", "abc"], {})
    assert inside(Link(b"", 0, 1, 14)) == 0, "inside a message whose beginning is not known"


def test_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    said = [f"This is what was said as number {n} of many things." for n in range(40)]
    known = Landmarks()
    assert len(marks_of(conversation(said), known)[0]) == 8
    for _ in range(3):
        marks, _ = marks_of(conversation(said), known)
    assert len(marks) == 16, "the first and the last of those known"
    monkeypatch.setattr("colonnade.replica.landmarks.KNOWN", 2)
    marks_of(conversation(["Something else that is quite new to everybody here today."]), known)
    assert KNOWN > 2


def test_completions() -> None:
    text = "Once upon a time there was a \u20ac and a \U0001f642. " * 60
    body = msgspec.json.encode({"model": "m", "prompt": text})
    asked = read(body, "t")
    encoding = MODEL.vocabulary.encoding(text, special=True)
    prompt = Prompt(encoding.ids, lambda: encoding.offsets, MODEL.vocabulary.begins, text_reach(text, asked.parts[0]))
    marks = Landmarks().find("t", asked.links, prompt)
    assert len(marks) == len(asked.links) == 3
    assert len(encoding.ids) - marks[-1].length < 20


def test_what_a_part_of_a_message_holds() -> None:
    raw = b'{"role":"user","content":"a\\u00e9\\ud83d\\ude42\xc3\xa9b","name":"x"}'
    whole = "aé🙂éb"
    held = [said_by(raw[:cut], whole) for cut in range(len(raw))]
    assert held == sorted(held)
    assert set(held) == {0, 1, 2, 3, 4, 5}
    assert said_by(b'{"content":[{"type":"text"', "a") == 0
    assert said_by(b'{"name":"content","content":"ab', "ab") == 0, "a value that looks like the key"
    assert said_by(b'{"tool_calls":[{}],"content":"ab', "ab") == 0
    assert said_by(b'{"content":"' + b"\\" * 31, "a") == 0
    assert said_by(b'{"content":"ab', "xy") == 0


@given(st.text(alphabet="ab", max_size=20), st.text(alphabet="ab", max_size=20))
def test_common(left: str, right: str) -> None:
    length = common(left, right)
    assert left[:length] == right[:length]
    assert length == min(len(left), len(right)) or left[length] != right[length]


@given(st.lists(st.integers(0, 99), max_size=30), st.data())
def test_digests_of_several_prefixes(tokens: list[int], data: st.DataObject) -> None:
    lengths = sorted(data.draw(st.lists(st.integers(0, len(tokens)), max_size=5)))
    assert prefix_digests("n", tokens, lengths) == [prefix_digest("n", tokens[:length]) for length in lengths]


def test_marks_follow_the_cache() -> None:
    marks = Marks()
    one, alias, other = Mark(b"1", 10, b"T"), Mark(b"2", 10, b"T"), Mark(b"1", 12, b"U")
    assert marks.expect([one], ()) == []
    assert marks.note(Stored(b"T", 10)) == [Marked(b"1", 10)]
    assert marks.note(Stored(b"T", 10)) == []
    assert marks.expect([one, alias], {b"T"}) == [Marked(b"2", 10)], "what is held is told at once"
    assert marks.expect([other], {b"T"}) == [Unmarked(b"1")], "it stands for other tokens now"
    assert marks.note(Stored(b"U", 12)) == [Marked(b"1", 12)]
    assert marks.note(Removed(b"T")) == [Unmarked(b"2")]
    assert marks.note(Removed(b"T")) == []
    assert marks.note(Removed(b"U")) == [Unmarked(b"1")]
    assert marks.held == {}


def test_what_never_comes_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    assert EXPECTED > 2
    monkeypatch.setattr("colonnade.replica.marks.EXPECTED", 2)
    marks = Marks()
    marks.expect([Mark(b"%d" % n, 10, b"t%d" % n) for n in range(5)], {b"t0"})
    assert marks.note(Stored(b"t1", 10)) == []
    assert marks.note(Stored(b"t4", 10)) == [Marked(b"4", 10)]
    assert marks.held.keys() == {b"0", b"4"}
