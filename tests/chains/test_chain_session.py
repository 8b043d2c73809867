"""The protocol's state: a caller and a host joined by bytes, in every order; what breaks the rules is refused."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from colonnade.chains import notes
from colonnade.chains.frames import Frame, FrameReader, Kind, encode
from colonnade.chains.notes import WINDOW, Closing, Hello, Order, Report
from colonnade.chains.session import Came, Cancelled, Ended, Granted, Greeted, Opened, Session, weight_of
from colonnade.wire.errors import ReplicaLost

FAILED = Closing(Report("ValueError", "bad"))


class Pair:
    """Two sessions; `deliver` moves some bytes and gives the events that come of them."""

    def __init__(self) -> None:
        self.caller, self.host = Session("caller"), Session("host")
        self.wires = {"caller": bytearray(), "host": bytearray()}
        self._readers = {"caller": FrameReader(), "host": FrameReader()}
        self.say("host", self.host.greet(Hello("Step")))
        assert self.deliver("caller") == [Greeted(Hello("Step"))]

    def say(self, who: str, buffers: list) -> None:
        """`who` sends: it is the other's to receive."""
        self.wires["host" if who == "caller" else "caller"] += b"".join(buffers)

    def deliver(self, to: str, count: int | None = None) -> list:
        wire = self.wires[to]
        data, self.wires[to] = bytes(wire[:count]), wire[count:] if count is not None else bytearray()
        session = self.caller if to == "caller" else self.host
        events = [session.received(frame) for frame in self._readers[to].feed(data)]
        return [event for event in events if event is not None]

    def open(self, feeds: bool = False) -> int:
        stream, out = self.caller.call(Order(1.0, feeds=feeds), [b"args"])
        self.say("caller", out)
        return stream


def plain(event: object) -> object:
    match event:
        case Came(stream, parts, _):
            return ("item", stream, [bytes(part) for part in parts])
        case Ended(stream, parts, closing):
            return ("end", stream, [bytes(part) for part in parts], closing.report)
        case _:
            return event


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_every_run_delivers_a_prefix_and_ends_once(data: st.DataObject) -> None:
    """Random actions on both sides, random portions on the wire. What is received is a prefix of what was sent, and at
    the end of an undisturbed call all of it; credit never allows more than a window and one item."""
    pair = Pair()
    calls: dict[int, dict] = {}
    for _ in range(data.draw(st.integers(5, 40))):
        action = data.draw(st.sampled_from(["open", "item", "end", "fail", "cancel", "take", "deliver"]))
        side = data.draw(st.sampled_from(["caller", "host"]))
        other = "host" if side == "caller" else "caller"
        session = pair.caller if side == "caller" else pair.host
        live = [s for s, call in calls.items() if side in call["open"] and (side == "caller" or call["seen"])]
        stream = data.draw(st.sampled_from(live)) if live else 0
        if action == "open":
            stream = pair.open(feeds=True)
            calls[stream] = {"open": {"caller", "host"}, "seen": False, "sent": {"caller": [], "host": []},
                             "got": {"caller": [], "host": []}, "room": {"caller": [], "host": []}, "over": False,
                             "ended": {"caller": 0, "host": 0}}  # fmt: skip
        elif action == "deliver":
            count = data.draw(st.integers(0, len(pair.wires[side])))
            for event in pair.deliver(side, count):
                note(calls, side, event)
        elif action == "take" and stream and (weights := calls[stream]["room"][side]):
            pair.say(side, session.taken(stream, weights.pop(0)))
        elif stream:
            call = calls[stream]
            if action == "item" and session.credit(stream) > 0:
                size = data.draw(st.sampled_from([0, 1, 1000, WINDOW]))
                pair.say(side, session.item(stream, [b"x" * size]))
                call["sent"][side].append(size)
                assert sum(call["sent"][side]) - sum(call["got"][other]) <= 2 * WINDOW
            elif action in ("end", "fail"):
                pair.say(side, session.end(stream, FAILED if action == "fail" else Closing(), ()))
                call["open"].discard(side)
            elif action == "cancel" and side == "caller":
                pair.say(side, session.cancel(stream))
                call["open"] -= {"caller"}
                call["over"] = True
    for _ in range(2):
        for side in ("host", "caller"):
            for event in pair.deliver(side):
                note(calls, side, event)
    for call in calls.values():
        for side, other in (("caller", "host"), ("host", "caller")):
            assert call["got"][other] == call["sent"][side][: len(call["got"][other])]
            assert call["ended"][side] <= 1
        if not call["over"] and "host" not in call["open"]:
            assert call["got"]["caller"] == call["sent"]["host"]


def note(calls: dict, side: str, event: object) -> None:
    match event:
        case Opened(stream):
            calls[stream]["seen"] = True
        case Came(stream, parts, weight):
            calls[stream]["got"][side].append(len(parts[0]))
            calls[stream]["room"][side].append(weight)
        case Ended(stream):
            calls[stream]["ended"][side] += 1
        case Cancelled(stream):
            calls[stream]["open"].discard("host")
        case _:
            assert isinstance(event, Granted)


def test_a_call_and_its_answer() -> None:
    pair = Pair()
    stream = pair.open()
    (opened,) = pair.deliver("host")
    assert isinstance(opened, Opened)
    assert (opened.order.budget, bytes(opened.parts[0])) == (1.0, b"args")
    pair.say("host", pair.host.end(stream, Closing(), [b"answer"]))
    assert [plain(event) for event in pair.deliver("caller")] == [("end", stream, [b"answer"], None)]
    assert pair.caller.open_calls == pair.host.open_calls == 0
    assert pair.host.end(stream, Closing()) == pair.caller.cancel(stream) == pair.host.item(stream, [b""]) == []
    assert pair.caller.taken(stream, WINDOW) == []
    assert pair.caller.credit(stream) > 0


def test_credit_comes_back_in_portions() -> None:
    pair = Pair()
    stream = pair.open()
    pair.deliver("host")
    pair.say("host", pair.host.item(stream, [b"x" * WINDOW]))
    assert pair.host.credit(stream) <= 0
    (came,) = pair.deliver("caller")
    assert pair.caller.taken(stream, 1) == []
    pair.say("caller", pair.caller.taken(stream, came.weight - 1))
    assert pair.deliver("host") == [Granted(stream)]
    assert pair.host.credit(stream) == WINDOW
    assert weight_of([b"abc"]) == 67


def test_cancelling_ends_it_for_both() -> None:
    pair = Pair()
    stream = pair.open()
    pair.deliver("host")
    pair.say("host", pair.host.item(stream, [b"late"]))
    pair.say("caller", pair.caller.cancel(stream))
    assert pair.deliver("host") == [Cancelled(stream)]
    assert pair.deliver("caller") == []
    assert pair.host.open_calls == 0


def frame(kind: Kind, stream: int = 1, note: object = None) -> Frame:
    return FrameReader().feed(b"".join(encode(kind, stream, b"" if note is None else notes.encode(note))))[0]


WRONG = [
    ("caller", [frame(Kind.ITEM)]),
    ("caller", [frame(Kind.HELLO, 0, Hello("s", protocol=9))]),
    ("caller", [frame(Kind.HELLO, 0, "x")]),
    ("caller", [frame(Kind.HELLO, 0, Hello("s"))] * 2),
    ("caller", [frame(Kind.HELLO, 0, Hello("s")), frame(Kind.CALL, 1, Order(1.0))]),
    ("caller", [frame(Kind.HELLO, 0, Hello("s")), frame(Kind.ITEM, 2)]),
    ("caller", [frame(Kind.HELLO, 0, Hello("s")), frame(Kind.CANCEL, 1)]),
    ("caller", [frame(Kind.HELLO, 0, Hello("s")), frame(Kind.CREDIT, 1, -5)]),
    ("caller", [frame(Kind.HELLO, 0, Hello("s")), frame(Kind.END, 1, FAILED)]),
    ("host", [frame(Kind.HELLO, 0, Hello("s"))]),
    ("host", [frame(Kind.CALL, 1, Order(1.0)), frame(Kind.CALL, 1, Order(1.0))]),
    ("host", [frame(Kind.CALL, 0, Order(1.0))]),
    ("host", [frame(Kind.CALL, 1, Order(1.0)), frame(Kind.ITEM, 1)]),
    ("host", [frame(Kind.CALL, 1, Order(1.0)), frame(Kind.END, 1, Closing())]),
    ("host", [frame(Kind.CALL, 1, "no order")]),
    ("host", [frame(Kind.CALL, 1, Order(float("nan")))]),
    ("host", [frame(Kind.CALL, 1, Order(1.0, feeds=True)), frame(Kind.FAIL, 1, Closing())]),
]


@pytest.mark.parametrize(("role", "arrived"), WRONG)
def test_what_breaks_the_rules_is_refused(role: str, arrived: list[Frame]) -> None:
    session = Session(role)  # pyright: ignore
    if role == "caller":
        session.call(Order(1.0), [])
    for each in arrived[:-1]:
        session.received(each)
    with pytest.raises(ReplicaLost) as lost:
        session.received(arrived[-1])
    assert lost.value.reason == "garbled"


def test_a_short_call_may_overtake_a_long_one() -> None:
    session = Session("host")
    for stream in (3, 1, 2):
        assert session.received(frame(Kind.CALL, stream, Order(1.0)))
    assert session.open_calls == 3
    assert session.received(frame(Kind.CANCEL, 1)) == Cancelled(1)
    assert session.received(frame(Kind.CANCEL, 1)) is None


def test_an_overrun_window_is_refused() -> None:
    session = Session("host")
    session.received(frame(Kind.CALL, 1, Order(1.0, feeds=True)))
    big = FrameReader().feed(b"".join(encode(Kind.ITEM, 1, b"", [b"x" * WINDOW])))[0]
    assert isinstance(session.received(big), Came)
    with pytest.raises(ReplicaLost):
        session.received(big)
