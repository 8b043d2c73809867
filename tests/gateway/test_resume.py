"""A stream that breaks anywhere, again and again, gives what the unbroken one gives: the gateway's log against the
replica's own choices and writer, with an engine of made-up tokens between."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from colonnade.gateway.relay import EventSplitter
from colonnade.gateway.resume import FRUITLESS, LOSSES, Again, Finish, GiveUp, GoOn, Passage
from colonnade.replica.chat import ChatShape
from colonnade.replica.choice import Choice
from colonnade.replica.completions import CompletionShape
from colonnade.replica.families import HERMES
from colonnade.replica.generate_shape import Asked, GenerateShape
from colonnade.replica.generation import Generation
from colonnade.replica.identity import Identity
from colonnade.replica.message_shape import MessageShape
from colonnade.replica.order import Order
from colonnade.replica.past import split, take_in
from colonnade.replica.shape import Label, Shape
from colonnade.replica.speech import Listening
from colonnade.replica.spool import Spool
from colonnade.replica.writer import StreamWriter
from colonnade.wire.contract import violations
from colonnade.wire.messages import Delta, Logprob, Sampling, Submit
from colonnade.wire.stream import DONE, EventReader

WORDS = [
    "a",
    " b",
    "é"[:1],
    "<tool",
    "_call>",
    '{"name": "f", ',
    '"arguments": {}}',
    "</tool_call>",
    "ST",
    "OP",
    " ",
    "<",
]
HALVES = {12: b"\xc3", 13: b"\xa9", 15: b"<think>", 16: b"</think>"}
END = 14
"""Token of the end of the turn."""
LENGTH = 14


def decode(tokens: Any) -> str:
    return b"".join(HALVES.get(token) or WORDS[token].encode() for token in tokens if token != END).decode(
        "utf-8", "replace"
    )


class Engine:
    """Draws what the script says for (choice, position); one token a choice and step."""

    def __init__(self, scripts: list[list[int]]) -> None:
        self.scripts = scripts
        self.running: dict[str, tuple[Submit, Any, int]] = {}

    def submit(self, submit: Submit, listener: Any) -> None:
        self.running[submit.key] = (submit, listener, len(submit.replay))
        assert submit.replay == self.scripts[submit.choice][: len(submit.replay)]

    def abort(self, key: str) -> None:
        self.running.pop(key, None)

    def step(self) -> None:
        for key, (submit, listener, position) in list(self.running.items()):
            if key not in self.running:
                continue
            token = self.scripts[submit.choice][position]
            finish = "stop" if token == END else "length" if position + 1 == submit.sampling.max_tokens else None
            self.running[key] = (submit, listener, position + 1)
            if finish:
                del self.running[key]
            logprobs = [Logprob(token, -0.1 * position - 1)] if submit.sampling.logprobs is not None else None
            listener(Delta(key, position, [token], logprobs, finish))


class Watch:
    def first_token(self) -> None: ...

    def tokens(self, choice: int, count: int) -> None: ...

    def over(self, generation: Generation, outcome: str) -> None:
        assert outcome == "ok"


SHAPES: dict[str, Callable[[Label, Order], Shape]] = {
    "chat": lambda label, order: ChatShape(label, order.include_usage, order.sampling[0].logprobs),
    "completions": lambda label, order: CompletionShape(label, order.include_usage, order.sampling[0].logprobs),
    "messages": lambda label, _: MessageShape(label),
    "generate": lambda label, order: GenerateShape(label, Asked("r", (2,), order.n, True, False, False)),
}


def replica(epoch: str, order: Order, scripts: list[list[int]], kind: str, replay: bytes = b"") -> Iterator[bytes]:
    """The bytes of a stream, as the steps bring them."""
    told, body = split(replay + b"body", len(replay))
    assert body == b"body"
    choices = [Choice(decode, (), order.stops, order.listening) for _ in range(order.choices)]
    past = take_in(told, order, choices, "fp") if told else None
    label = Label("r", 1, "m", "fp", lambda token: HALVES.get(token) or WORDS[token].encode())
    shape = SHAPES[kind](label, order)
    writer = StreamWriter(shape, epoch, order.choices, past)
    spool, engine, identity = Spool(None, keep=False), Engine(scripts), Identity("r", 1, 1)
    generation = Generation("1", order, identity, choices, writer, spool, engine, Watch(), past)
    generation.start()
    sent = 0
    while True:
        data = spool.take(sent)
        spool.deliver(sent := sent + len(data))
        yield data
        if spool.ended:
            return
        engine.step()


def _of_generate(body: Any) -> int:
    """Choices may come in any order; the events of one in theirs."""
    return body["index"] if "meta_info" in body else 0


def meaning(stream: bytes) -> Any:
    """What equality is about: all events but for the epochs in their ids; and the tokens of each choice."""
    events = EventReader().feed(stream)
    tokens: dict[int, list[int]] = {}
    for event in events:
        for choice, ids in event.tokens():
            tokens.setdefault(choice, []).extend(ids)
    bodies = [json.loads(event.data) for event in events if event.data != "[DONE]"]
    by_choice: dict[int, list[Any]] = {}
    for body in bodies:
        for choice in body.get("choices", ()):
            by_choice.setdefault(choice["index"], []).append(choice)
    rest = sorted((body for body in bodies if not body.get("choices")), key=_of_generate)
    return tokens, by_choice, rest, events[-1].data, [event.usage() for event in events[-3:]]


@st.composite
def orders(draw: st.DrawFn) -> tuple[Order, list[list[int]], str]:
    kind = draw(st.sampled_from(sorted(SHAPES)))
    n = 1 if kind == "messages" else draw(st.integers(1, 3))
    logprobs = None if kind in ("messages", "generate") else draw(st.sampled_from([None, 0]))
    sampling = Sampling(max_tokens=LENGTH, stop_token_ids=(END,), logprobs=logprobs)
    stops = draw(st.sampled_from([(), ("STOP",), ("<", "OP")]))
    heard = st.builds(Listening, st.just(HERMES), st.sampled_from([None, True, False]), st.booleans(), st.booleans())
    listening = None if kind in ("completions", "generate") else draw(st.none() | heard)
    order = Order(
        ((1, 2),), (sampling,), n, stops, True, kind in ("chat", "completions") and draw(st.booleans()), listening
    )
    scripts = [draw(st.lists(st.integers(0, 16), min_size=LENGTH, max_size=LENGTH)) for _ in range(n)]
    return order, scripts, kind


def broken(order: Order, scripts: list[list[int]], kind: str, breaks: list[int], split_at: int) -> bytes:
    """What a client gets while replica after replica dies, each after so many bytes."""
    passage = Passage(partial=False)
    delivered, replay, life = b"", b"", 0
    while True:
        splitter = EventSplitter(1 << 20)
        budget = breaks[life] if life < len(breaks) else 1 << 30
        for data in replica(f"e{life}", order, scripts, kind, replay):
            lived, budget = data[:budget], budget - len(data)
            for start in range(0, len(lived), split_at):
                delivered += passage.take(splitter.feed(lived[start : start + split_at]))[0]
            if budget < 0:
                break
        else:
            assert passage.whole
            return delivered
        life += 1
        match passage.lost("fp"):
            case GoOn(replay, "fp"):
                pass
            case Finish(rest):
                return delivered + rest
            case Again():
                assert not delivered
                replay = b""
            case GiveUp() as gave_up:
                assert gave_up.why == ""
                return b""


@given(orders(), st.lists(st.integers(0, 3000), max_size=5), st.integers(1, 400))
@settings(max_examples=300, deadline=None)
def test_any_breaks_give_the_same_stream(
    made: tuple[Order, list[list[int]], str], breaks: list[int], split_at: int
) -> None:
    order, scripts, kind = made
    calm = b"".join(replica("e0", order, scripts, kind))
    got = broken(order, scripts, kind, breaks, split_at)
    if not got:  # three replicas without a block between
        return
    assert meaning(got) == meaning(calm)
    assert violations(got) == []


def test_every_single_byte_is_a_place_to_break() -> None:
    order = Order(
        ((1,),),
        (Sampling(max_tokens=6, stop_token_ids=(END,), logprobs=0),),
        2,
        ("STOP",),
        True,
        True,
        Listening(HERMES, True),
    )
    scripts = [[0, 8, 10, 12, 13, 14], [3, 4, 5, 6, 7, 11]]
    calm = b"".join(replica("e0", order, scripts, "chat"))
    for at in range(len(calm)):
        got = broken(order, scripts, "chat", [at], 64)
        assert meaning(got) == meaning(calm), at
        assert violations(got) == []


def test_every_single_byte_of_a_message_is_a_place_to_break() -> None:
    """A block of reasoning, one of text, a call: some tokens give several events, with ids that tell them apart."""
    listening = Listening(HERMES, True, reasoning=True)
    order = Order(((1,),), (Sampling(max_tokens=12, stop_token_ids=(END,)),), 1, (), True, False, listening)
    scripts = [[15, 0, 16, 1, 3, 4, 5, 6, 7, 14]]
    calm = b"".join(replica("e0", order, scripts, "messages"))
    names = [event.name for event in EventReader().feed(calm)]
    block = ["content_block_start", "content_block_delta", "content_block_stop"]
    assert names == ["message_start", *block * 3, "message_delta", "message_stop", ""]
    for at in range(len(calm)):
        got = broken(order, scripts, "messages", [at], 64)
        assert meaning(got) == meaning(calm), at
        assert violations(got) == []


def test_a_long_stream_is_kept_as_tokens_alone() -> None:
    block = b': tokens 0 7\nid: e/%d\ndata: {"x": "' + b"x" * 300 + b'"}\n\n'
    passage = Passage(partial=False)
    passage.take(b": usage prompt=3 cached=2 completion=0\n" + block % 1)
    for number in range(2, 2000):
        passage.take(block % number)
    plan = passage.lost("fp")
    assert isinstance(plan, GoOn)
    told, _ = split(plan.replay, len(plan.replay))
    assert told is not None
    assert (len(told.lines), told.cached, told.finished) == (1999, 2, [False])


def test_errors_that_another_replica_mends_are_not_delivered() -> None:
    passage = Passage(partial=False)
    good = b': tokens 0 7\nid: e/1\ndata: {"x": 1}\n\n'
    drained = b': tokens 0 8\ndata: {"error":{"code":"draining","message":"off"}}\n\n'
    assert passage.take(good + drained) == (good, "off")
    assert passage.take(drained) == (b"", "off")
    assert not passage.whole
    mine = b'data: {"error":{"code":"internal_error"}}\n\n'
    assert passage.take(mine) == (mine, "")
    assert passage.whole
    assert passage.lost("fp") == Finish(b"")
    for odd in (b'data: {"error": 3}\n\n', b'data: {"error":\n\n'):
        assert Passage(partial=False).take(odd) == (odd, "")


@pytest.mark.parametrize(
    ("blocks", "partial", "fingerprint"),
    [
        (b"data: 1\n\n", False, "fp"),
        (b": tokens 0 7\nid: e/1\ndata: 1\n\n", True, "fp"),
        (b": tokens 0 7\nid: e/1\ndata: 1\n\n", False, ""),
        (b": tokens 0 7\nid: e/2\ndata: 1\n\n", False, "fp"),
        (b": tokens 1 7\nid: e/1\ndata: 1\n\n", False, "fp"),
        (b": tokens 0 7\nid: what\ndata: 1\n\n", False, "fp"),
    ],
)
def test_what_cannot_go_on_says_why(blocks: bytes, partial: bool, fingerprint: str) -> None:
    passage = Passage(partial=partial)
    passage.take(blocks)
    plan = passage.lost(fingerprint)
    assert isinstance(plan, GiveUp)
    assert plan.why


def test_patience_ends() -> None:
    passage = Passage(partial=False)
    assert [passage.lost("fp") for _ in range(FRUITLESS)] == [Again()] * (FRUITLESS - 1) + [GiveUp()]
    slow = Passage(partial=False)
    plans = [slow.lost("fp", stalled=True) for _ in range(LOSSES)]
    assert (plans[:-1], plans[-1]) == ([Again()] * (LOSSES - 1), GiveUp())


def test_a_stream_that_lacks_its_end_alone_needs_no_replica() -> None:
    order = replace(Order(((1,),), (Sampling(max_tokens=2),), 1, (), True, False), include_usage=False)
    calm = b"".join(replica("e0", order, [[0, 1]], "chat"))
    passage = Passage(partial=False)
    passage.take(calm.removesuffix(DONE))
    assert passage.lost("fp") == Finish(DONE)
