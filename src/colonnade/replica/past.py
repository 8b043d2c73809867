"""An answer's past: what another replica has delivered of it, taken in as if it had been generated here. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from colonnade.replica.choice import Choice, Piece
from colonnade.replica.order import Order
from colonnade.wire.errors import Conflict, InvalidRequest
from colonnade.wire.messages import Sampling
from colonnade.wire.replay import HEADER, LIMIT, Replay, decode


@dataclass(frozen=True, slots=True)
class Past:
    """Of each choice: the tokens delivered, whether it has finished, and how many of its last tokens the engine draws
    again, because their log-probabilities were not delivered yet. `pieces` are what came of the tokens, in order, each
    with its choice; of the last one's events, `event` more were delivered than one."""

    tokens: tuple[tuple[int, ...], ...]
    finished: tuple[bool, ...]
    owed: tuple[int, ...]
    cached: int
    pieces: tuple[tuple[int, Piece], ...] = ()
    event: int = 0

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
    tokens: list[list[int]] = [[] for _ in choices]
    counts = Counter(choice for choice, _ in replay.lines)
    pieces: list[tuple[int, Piece]] = []
    for index, line in replay.lines:
        counts[index] -= 1
        tokens[index] += line
        ends = replay.finished[index] and not counts[index]
        sampling = order.sampling[index // order.n]
        pieces.append((index, _recall(choices[index], line, sampling, ends=ends)))
    for choice, done in zip(choices, replay.finished, strict=True):
        choice.finish = choice.finish or ("stop" if done else None)  # of one that never said a token
    owed = tuple(choice.owed for choice in choices)
    return Past(tuple(map(tuple, tokens)), tuple(replay.finished), owed, replay.cached, tuple(pieces), replay.event)


def _recall(choice: Choice, line: list[int], sampling: Sampling, *, ends: bool) -> Piece:
    """Its last line ends a choice that has finished: by a stop token, by itself, or by its length."""
    if choice.finish is not None:
        raise _misfit("it goes on after a choice's end")
    finish = ("stop" if line[-1] in sampling.stop_token_ids else "length") if ends else None
    piece = choice.recall(line, logprobs=sampling.logprobs is not None, finish=finish)
    if choice.finish is not None and not ends:
        raise _misfit("a choice that is said to go on has ended in it")
    return replace(piece, logprobs=())


def _misfit(why: str) -> InvalidRequest:
    return InvalidRequest(f"the replay does not fit the request: {why}", param=HEADER)
