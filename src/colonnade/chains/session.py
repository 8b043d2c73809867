"""One connection's state: frames in, events out; actions in, frames out. No socket, no clock, no task.

The side that dialled opens calls, the other answers them. Each direction of a call is a stream of items with one
terminal frame. A sender may send while it has credit; what an item weighs is taken from it, and given back when the
reader has taken the item: so a stream holds at most a window and one item in memory, whoever stops reading.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import msgspec

from colonnade.chains import notes
from colonnade.chains.frames import Buffer, Frame, Kind, Parts, encode, garbled
from colonnade.chains.notes import PROTOCOL, WINDOW, Closing, Hello, Order

LONGEST = 1e9
"""Seconds."""
OVERHEAD = 64
"""Bytes that an item weighs beside its own."""


class Greeted(NamedTuple):
    hello: Hello


class Opened(NamedTuple):
    stream: int
    order: Order
    parts: Parts


class Came(NamedTuple):
    """An item of the other side's direction; say `taken` with its weight when it has been read."""

    stream: int
    parts: Parts
    weight: int


class Ended(NamedTuple):
    """The other side's direction has ended: with the answer in `parts`, if it has one, or with `closing.report`."""

    stream: int
    parts: Parts
    closing: Closing


class Granted(NamedTuple):
    stream: int


class Cancelled(NamedTuple):
    """The caller wants no answer any more."""

    stream: int


Event = Greeted | Opened | Came | Ended | Granted | Cancelled


@dataclass
class _Call:
    """`credit`: what we may still send. `room`: what they may. `owed`: taken by our reader and not yet told them."""

    credit: int = WINDOW
    room: int = WINDOW
    owed: int = 0
    ours_open: bool = True
    theirs_open: bool = True


def weight_of(parts: Parts) -> int:
    return OVERHEAD + sum(map(len, parts))


class Session:
    """`role` is `caller` for the side that dialled."""

    def __init__(self, role: Literal["caller", "host"]) -> None:
        self._caller = role == "caller"
        self._calls: dict[int, _Call] = {}
        self._last = 0
        self._greeted = False

    @property
    def open_calls(self) -> int:
        return len(self._calls)

    # What we do: each gives the buffers to send.

    def greet(self, hello: Hello) -> list[Buffer]:
        return encode(Kind.HELLO, 0, notes.encode(hello))

    def call(self, order: Order, parts: Parts) -> tuple[int, list[Buffer]]:
        """Raises InvalidRequest when it is too large."""
        out = encode(Kind.CALL, self._last + 1, notes.encode(order), parts)
        self._last += 1
        self._calls[self._last] = _Call(ours_open=order.feeds)
        return self._last, out

    def credit(self, stream: int) -> int:
        """What may be sent now; endless for a call that is over, as nothing is sent then."""
        call = self._calls.get(stream)
        return WINDOW if call is None else call.credit

    def item(self, stream: int, parts: Parts) -> list[Buffer]:
        """Nothing for a call that is over. There must be credit."""
        call = self._calls.get(stream)
        if call is None:
            return []
        assert call.ours_open
        assert call.credit > 0
        out = encode(Kind.ITEM, stream, b"", parts)
        call.credit -= weight_of(parts)
        return out

    def end(self, stream: int, closing: Closing, parts: Parts = ()) -> list[Buffer]:
        """Our direction's end; from the host it is the end of the call. Nothing for a call that is over."""
        call = self._calls.get(stream)
        if call is None or not call.ours_open:
            return []
        out = encode(Kind.FAIL if closing.report else Kind.END, stream, notes.encode(closing), parts)
        call.ours_open = False
        if not self._caller:
            del self._calls[stream]
        return out

    def cancel(self, stream: int) -> list[Buffer]:
        """The caller's. Nothing for a call that is over."""
        return [] if self._calls.pop(stream, None) is None else encode(Kind.CANCEL, stream)

    def taken(self, stream: int, weight: int) -> list[Buffer]:
        """Our reader took an item: credit goes back, in portions of a quarter of the window."""
        call = self._calls.get(stream)
        if call is None or not call.theirs_open:
            return []
        call.owed += weight
        if call.owed < WINDOW // 4:
            return []
        amount, call.owed = call.owed, 0
        call.room += amount
        return encode(Kind.CREDIT, stream, notes.encode(amount))

    # What comes.

    def received(self, frame: Frame) -> Event | None:
        """None for what concerns a call that is over. Raises ReplicaLost (`garbled`)."""
        try:
            return self._received(frame)
        except msgspec.DecodeError as error:
            raise garbled(f"a frame's meta: {error}") from error

    def _received(self, frame: Frame) -> Event | None:
        if frame.kind == Kind.HELLO:
            return self._hello(frame)
        if self._caller and not self._greeted:
            raise garbled("a frame came before the greeting")
        if frame.kind == Kind.CALL:
            return self._opened(frame)
        call = self._calls.get(frame.stream)
        if call is None:
            if not 0 < frame.stream <= self._last:
                raise garbled("a frame is for a call that was never made")
            return None
        match frame.kind:
            case Kind.ITEM:
                return self._came(frame, call)
            case Kind.CREDIT:
                return self._granted(frame, call)
            case Kind.CANCEL:
                return self._cancelled(frame)
            case _:
                return self._ended(frame, call)

    def _hello(self, frame: Frame) -> Event:
        hello = notes.hello(frame.meta)
        if not self._caller or self._greeted:
            raise garbled("a greeting that nobody waits for")
        if hello.protocol != PROTOCOL:
            raise garbled(f"it speaks version {hello.protocol}, this is {PROTOCOL}")
        self._greeted = True
        return Greeted(hello)

    def _opened(self, frame: Frame) -> Event:
        """A short call may overtake a long one, so they need not come in the order of their numbers."""
        if self._caller or frame.stream in self._calls or not frame.stream:
            raise garbled("a call that may not be opened")
        order = notes.order(frame.meta)
        if not 0 <= order.budget < LONGEST:
            raise garbled(f"a call with a budget of {order.budget} seconds")
        self._last = max(self._last, frame.stream)
        self._calls[frame.stream] = _Call(theirs_open=order.feeds)
        return Opened(frame.stream, order, frame.parts)

    def _came(self, frame: Frame, call: _Call) -> Event:
        if not call.theirs_open or call.room <= 0:
            raise garbled("an item that may not be sent")
        weight = weight_of(frame.parts)
        call.room -= weight
        return Came(frame.stream, frame.parts, weight)

    def _granted(self, frame: Frame, call: _Call) -> Event:
        amount = notes.amount(frame.meta)
        if amount <= 0:
            raise garbled("credit that is none")
        call.credit += amount
        return Granted(frame.stream)

    def _cancelled(self, frame: Frame) -> Event:
        if self._caller:
            raise garbled("only a caller cancels")
        del self._calls[frame.stream]
        return Cancelled(frame.stream)

    def _ended(self, frame: Frame, call: _Call) -> Event:
        closing = notes.closing(frame.meta)
        if not call.theirs_open or (frame.kind == Kind.FAIL) != (closing.report is not None):
            raise garbled("an end that may not come")
        call.theirs_open = False
        if self._caller:
            del self._calls[frame.stream]
        return Ended(frame.stream, frame.parts, closing)
