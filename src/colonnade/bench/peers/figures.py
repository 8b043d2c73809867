"""From the moments at which tokens came to figures, and from many of them to a median with its spread. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

import msgspec

from colonnade.bench.peers.workloads import PREFILL, Workload


class Answer(msgspec.Struct, frozen=True):
    """Ids (-1 where they were not asked for) and the second at which each was there."""

    tokens: list[int]
    times: list[float]


class Done(msgspec.Struct, frozen=True):
    """A workload that a peer was through with; times by the clock of its process."""

    began: float
    answers: list[Answer]


class Spread(msgspec.Struct, frozen=True):
    """The median of `values`, and the least and the largest of them; the values in the order of the rounds."""

    median: float
    low: float
    high: float
    values: tuple[float, ...]


def spread(values: Sequence[float]) -> Spread:
    """Of at least one value."""
    assert values
    return Spread(statistics.median(values), min(values), max(values), tuple(values))


def fault(workload: Workload, done: Done) -> str:
    """What is wrong with the answers; empty where they are as many and as long as asked."""
    if len(done.answers) != len(workload.requests):
        return f"{workload.name}: {len(done.answers)} answers to {len(workload.requests)} requests"
    for request, answer in zip(workload.requests, done.answers, strict=True):
        if len(answer.tokens) != request.tokens or len(answer.times) != request.tokens:
            return f"{workload.name}: {len(answer.tokens)} tokens where {request.tokens} were asked for"
    return ""


def figure(workload: Workload, done: Done) -> float:
    """Tokens a second, of answers without a fault, from the first request on.

    Serving and decode: tokens out over the time to the last of them. Decode has the short prompts in it; no moment in
    between is read, since some peers hand over tokens some at a time. Prefill: tokens in over the time to the first
    token out of all.
    """
    times = [answer.times for answer in done.answers]
    if workload.name == PREFILL:
        return sum(len(each.prompt) for each in workload.requests) / (max(each[0] for each in times) - done.began)
    return sum(map(len, times)) / (max(each[-1] for each in times) - done.began)


def agreement(ours: Done, theirs: Done) -> float:
    """Share of the answers that are ours, token by token."""
    pairs = list(zip(ours.answers, theirs.answers, strict=True))
    return sum(a.tokens == b.tokens for a, b in pairs) / len(pairs)
