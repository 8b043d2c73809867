"""When a failed call is made again. Decided from what is known of the failure; chance comes from outside."""

from __future__ import annotations

from dataclasses import dataclass

BASE = 0.02
CAP = 0.5
EARNED = 0.1
"""Of a retry that each call earns: retries are at most a tenth of the calls, once the first ones are spent."""
SAVED = 10.0
PATIENCE = 20.0
"""Seconds for which a step that cannot be reached is sought: it may be starting again."""


@dataclass(frozen=True)
class Failure:
    """`carried`: the call may have been carried out. Of what was never sent, or was refused unseen, it was not."""

    retryable: bool
    carried: bool


class RetryBudget:
    """A bucket for all calls over one edge."""

    def __init__(self) -> None:
        self.tokens = SAVED

    def called(self) -> None:
        self.tokens = min(SAVED, self.tokens + EARNED)

    def spend(self) -> bool:
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True


def pause(
    failure: Failure, *, idempotent: bool, attempt: int, retries: int, left: float, noise: float, budget: RetryBudget
) -> float | None:
    """Seconds until the next try, or None for no further one.

    `attempt` counts from 1, `left` is the call's time, `noise` is in [0, 1). The pause is drawn from all of an
    exponentially growing span ("full jitter", M. Brooker, "Exponential backoff and jitter", 2015), so that callers that
    failed together do not come back together.
    """
    if not failure.retryable or (failure.carried and not idempotent) or attempt > retries:
        return None
    seconds = noise * min(CAP, BASE * 2**attempt)
    if seconds >= left or not budget.spend():
        return None
    return seconds


def seek(attempt: int, waited: float, left: float, noise: float) -> float | None:
    """The same for a step that could not be reached: nothing was sent, so every call may go on trying for a while."""
    seconds = (0.5 + noise / 2) * min(CAP / 2, BASE * 2**attempt)
    return None if waited + seconds >= min(PATIENCE, left) else seconds
