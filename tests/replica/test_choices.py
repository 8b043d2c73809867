"""The choices of one request, as the engine gets them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from colonnade.replica.choice import Choice, Piece
from colonnade.replica.completions import CompletionShape
from colonnade.replica.generation import Generation
from colonnade.replica.identity import Identity
from colonnade.replica.order import Order
from colonnade.replica.shape import Label, Usage
from colonnade.replica.spool import Spool
from colonnade.replica.writer import StreamWriter, WholeWriter
from colonnade.wire.errors import ColonnadeError, Internal
from colonnade.wire.messages import Delta, Namespace, Sampling, Submit

ORDER = Order(((1, 2), (3,)), (Sampling(max_tokens=2),) * 2, 2, (), True, False, salt="s")


class Engine:
    def __init__(self) -> None:
        self.submits: list[Submit] = []
        self.listeners: list[Callable[[Delta | ColonnadeError], None]] = []

    def submit(self, submit: Submit, listener: Callable[[Delta | ColonnadeError], None]) -> None:
        self.submits.append(submit)
        self.listeners.append(listener)

    def abort(self, key: str) -> None: ...


class Watch:
    def first_token(self) -> None: ...

    def tokens(self, choice: int, count: int) -> None: ...

    def over(self, generation: Generation, outcome: str) -> None: ...


def test_the_first_of_each_prompt_goes_first_and_others_follow_an_answer_that_has_begun() -> None:
    engine = Engine()
    choices = [Choice(lambda tokens: "a" * len(tokens), (), (), None) for _ in range(4)]
    shape = CompletionShape(Label("r", 1, "m", "fp", lambda token: b"a"), False, None)
    identity = Identity("r", 1, 1, "tenant", priority=3)
    writer, spool = StreamWriter(shape, "e", 4), Spool(None, keep=False)
    Generation("1", ORDER, identity, choices, writer, spool, engine, Watch()).start()
    engine.listeners[0](Delta("1.0", 0, [7]))
    told = [(each.key, each.prompt, each.choice, each.begun) for each in engine.submits]
    assert told == [("1.0", [1, 2], 0, False), ("1.2", [3], 0, False), ("1.1", [1, 2], 1, True)]
    assert {(each.namespace, each.priority) for each in engine.submits} == {(Namespace("tenant", "s"), 3)}


def test_an_answer_that_cannot_be_written_ends_with_an_error() -> None:
    """Also where it was the last that was missing: else nothing would ever end it."""

    class Broken(CompletionShape):
        def whole(self, pieces: Sequence[Piece], usage: Usage) -> dict[str, Any]:
            raise ValueError("a mistake of ours")

    engine, order = Engine(), replace(ORDER, prompts=((1,),), n=1, stream=False)
    writer = WholeWriter(Broken(Label("r", 1, "m", "fp", lambda token: b"a"), False, None), 1)
    spool, choices = Spool(None, keep=False), [Choice(lambda tokens: "", (), (), None)]
    generation = Generation("1", order, Identity("r", 1, 1), choices, writer, spool, engine, Watch())
    generation.start()
    with pytest.raises(ValueError, match="a mistake of ours"):
        engine.listeners[0](Delta("1.0", 0, [7], finish="length"))
    engine.listeners[0](Internal("something went wrong here"))
    assert spool.ended
    assert isinstance(generation.error, Internal)


@pytest.mark.parametrize(("header", "body", "counts"), [(3, 9, 3), (0, 9, 0), (None, 9, 9), (None, -100, -100)])
def test_the_headers_priority_goes_before_the_bodys(header: int | None, body: int, counts: int) -> None:
    """Who runs the replica sets the header, a gateway takes it from no client; 0 there is said, too."""
    engine, order = Engine(), replace(ORDER, priority=body)
    choices = [Choice(lambda tokens: "", (), (), None) for _ in range(4)]
    shape = CompletionShape(Label("r", 1, "m", "fp", lambda token: b"a"), False, None)
    writer, spool = StreamWriter(shape, "e", 4), Spool(None, keep=False)
    identity = Identity("r", 1, 1, priority=header)
    Generation("1", order, identity, choices, writer, spool, engine, Watch()).start()
    assert {each.priority for each in engine.submits} == {counts}
