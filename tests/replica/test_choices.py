"""The choices of one request, as the engine gets them."""

from __future__ import annotations

from collections.abc import Callable

from colonnade.replica.choice import Choice
from colonnade.replica.completions import CompletionShape
from colonnade.replica.generation import Generation
from colonnade.replica.identity import Identity
from colonnade.replica.order import Order
from colonnade.replica.shape import Label
from colonnade.replica.spool import Spool
from colonnade.replica.writer import StreamWriter
from colonnade.wire.errors import ColonnadeError
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
