"""An answer's past: what another replica has delivered of it, taken in as if it had been generated here. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from colonnade.replica.choice import Choice
from colonnade.replica.order import Order
from colonnade.wire.errors import Conflict, InvalidRequest
from colonnade.wire.replay import HEADER, LIMIT, Replay, decode


@dataclass(frozen=True, slots=True)
class Past:
    """Of each choice: the tokens delivered, whether it has finished, and how many of its last tokens the engine draws
    again, because their log-probabilities were not delivered yet."""

    tokens: tuple[tuple[int, ...], ...]
    finished: tuple[bool, ...]
    owed: tuple[int, ...]
    cached: int

    @property
    def completion(self) -> int:
        return sum(map(len, self.tokens))

    def replay(self, choice: int) -> list[int]:
        """What the engine takes as given."""
        tokens = self.tokens[choice]
        return list(tokens[: len(tokens) - self.owed[choice]])


def replay_length(declared: str) -> int:
    """Of the header's value, "" where there is none. Raises InvalidRequest."""
    if not declared:
        return 0
    if not (declared.isascii() and declared.isdecimal()) or not 0 < int(declared) <= LIMIT:
        raise InvalidRequest(f"the header {HEADER} must be 1 to {LIMIT}", param=HEADER)
    return int(declared)


def split(body: bytes, length: int) -> tuple[Replay | None, bytes]:
    """The replay, if there is one, and the body as the client sent it. Raises InvalidRequest."""
    if not length:
        return None, body
    replay = decode(body[:length])
    if replay is None:
        raise InvalidRequest("the body does not begin with a replay", param=HEADER, hint="see docs/stream-contract.md")
    return replay, body[length:]


def take_in(replay: Replay, order: Order, choices: Sequence[Choice], fingerprint: str) -> Past:
    """Feed each choice with its past. Raises Conflict (another fingerprint's) or InvalidRequest (another request's)."""
    if replay.fingerprint != fingerprint:
        raise Conflict(
            "this replica's numerics are not those that the answer began with",
            hint="send the request again without a replay",
            code="other_fingerprint",
        )
    if not order.stream or len(replay.finished) != len(choices):
        raise _misfit("it is of another request")
    lines: list[list[list[int]]] = [[] for _ in choices]
    for choice, tokens in replay.lines:
        lines[choice].append(tokens)
    logprobs = order.sampling[0].logprobs is not None
    owed: list[int] = []
    for choice, its, done in zip(choices, lines, replay.finished, strict=True):
        owed.append(0 if done else _feed(choice, its, logprobs))
        if done:
            choice.finish = "stop"  # which finish it was, its reader knows
    whole = tuple(tuple(token for tokens in each for token in tokens) for each in lines)
    return Past(whole, tuple(replay.finished), tuple(owed), replay.cached)


def _feed(choice: Choice, lines: list[list[int]], logprobs: bool) -> int:
    for tokens in lines:
        choice.recall(tokens, logprobs=logprobs)
        if choice.finish is not None:
            raise _misfit("a choice that is said to go on has ended in it")
    return choice.owed


def _misfit(why: str) -> InvalidRequest:
    return InvalidRequest(f"the replay does not fit the request: {why}", param=HEADER)
