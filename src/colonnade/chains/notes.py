"""What the frames carry beside values: greetings, orders, endings, reports of errors, spans of time."""

from __future__ import annotations

from typing import Any

import msgspec

PROTOCOL = 2
WINDOW = 256 << 10
"""Bytes that a stream may have under way before its reader has taken any."""


class Hello(msgspec.Struct, frozen=True, array_like=True):
    """The first frame of the side that was dialled. `graph` names the state of the whole chain: steps of two states
    do not call each other. `signature` is run_remote's."""

    step: str
    graph: str = ""
    signature: str = ""
    protocol: int = PROTOCOL


class Order(msgspec.Struct, frozen=True, array_like=True):
    """Opens a call. `budget` is what is left of its time, in seconds; clocks differ. `feeds`: items follow."""

    budget: float
    request: str = ""
    trace: bool = False
    feeds: bool = False


class Line(msgspec.Struct, frozen=True, array_like=True):
    """One line of a stack."""

    file: str
    line: int
    function: str
    text: str = ""


class Hop(msgspec.Struct, frozen=True, array_like=True):
    """Where an error passed: the step, and its stack there, the raising line last."""

    step: str
    stack: tuple[Line, ...] = ()


class Report(msgspec.Struct, frozen=True, array_like=True):
    """An error as it travels. `kind` is its class's name, `hops` begins where it was raised."""

    kind: str
    message: str
    status: int = 500
    code: str = "step_failed"
    hint: str = ""
    retryable: bool = False
    hops: tuple[Hop, ...] = ()

    def __str__(self) -> str:
        """The outermost hop first, as a traceback has it: the root is at the bottom."""
        lines: list[str] = []
        for depth, hop in enumerate(reversed(self.hops)):
            indent = "  " * depth
            lines.append(f"{indent}in step {hop.step}:")
            lines += [f"{indent}  {each.file}:{each.line} {each.function}: {each.text}" for each in hop.stack]
        return "\n".join([*lines, f"{self.kind}: {self.message}"])


class Span(msgspec.Struct, frozen=True, array_like=True):
    """A call. `start` is seconds since the start of the span around it, `queued` the part before it ran."""

    step: str
    start: float
    seconds: float
    queued: float = 0.0
    outcome: str = "ok"
    inner: tuple[Span, ...] = ()


class Closing(msgspec.Struct, frozen=True, array_like=True):
    """How a direction of a call ends: well, or with `report`. `span` where a trace was asked for."""

    report: Report | None = None
    span: Span | None = None


_encoder = msgspec.msgpack.Encoder()
_hello = msgspec.msgpack.Decoder(Hello)
_order = msgspec.msgpack.Decoder(Order)
_closing = msgspec.msgpack.Decoder(Closing)
_amount = msgspec.msgpack.Decoder(int)


def encode(note: Any) -> bytes:
    return _encoder.encode(note)


def hello(meta: Any) -> Hello:
    return _hello.decode(meta)


def order(meta: Any) -> Order:
    return _order.decode(meta)


def closing(meta: Any) -> Closing:
    return _closing.decode(meta)


def amount(meta: Any) -> int:
    return _amount.decode(meta)
