"""How much a key may ask for: requests and tokens a minute. Pure: reserve when a request comes, settle when it is over.

A leaking bucket each: it holds a minute's worth and fills evenly. What was reserved and not used comes back;
what was used beyond is owed, and the next one waits for it.
"""

from __future__ import annotations

from math import ceil

from colonnade.wire.errors import RateLimited

MINUTE = 60.0


class Bucket:
    """`a_minute` None: no limit. May be changed at any time: what is there is kept, up to the new size."""

    def __init__(self, a_minute: float | None, now: float) -> None:
        self.a_minute = a_minute
        self._level = a_minute or 0.0
        self._at = now

    def change(self, a_minute: float | None, now: float) -> None:
        self._fill(now)
        if a_minute is not None:
            self._level = a_minute if self.a_minute is None else min(self._level, a_minute)
        self.a_minute = a_minute

    def wait(self, amount: float, now: float) -> float:
        """Seconds until `amount` can be taken; more than the bucket holds can be when it is full."""
        if self.a_minute is None:
            return 0.0
        if self.a_minute <= 0:
            return float("inf")
        self._fill(now)
        missing = min(amount, self.a_minute) - self._level
        return missing * MINUTE / self.a_minute if missing > 1e-9 else 0.0

    def take(self, amount: float, now: float) -> None:
        """Negative: give back."""
        if self.a_minute is not None:
            self._fill(now)
            self._level = min(self._level - amount, self.a_minute)

    def _fill(self, now: float) -> None:
        if self.a_minute is not None:
            self._level = min(self.a_minute, self._level + (now - self._at) * self.a_minute / MINUTE)
        self._at = now


class Quota:
    """Of one key."""

    def __init__(self, requests: float | None, tokens: float | None, now: float) -> None:
        self._requests, self._tokens = Bucket(requests, now), Bucket(tokens, now)

    def change(self, requests: float | None, tokens: float | None, now: float) -> None:
        """Live: what is reserved stays so."""
        self._requests.change(requests, now)
        self._tokens.change(tokens, now)

    def reserve(self, tokens: float, now: float) -> None:
        """Raises RateLimited, with the seconds after which the same request fits."""
        wait = max(self._requests.wait(1, now), self._tokens.wait(tokens, now))
        if wait > 0:
            named = "requests" if self._requests.wait(1, now) >= wait else "tokens"
            after = "never" if wait == float("inf") else f"in {ceil(wait)} s"
            raise RateLimited(
                f"the key's {named} a minute are used up", hint=f"send it again {after}", code="rate_limited"
            )
        self._requests.take(1, now)
        self._tokens.take(tokens, now)

    def settle(self, reserved: float, used: float, now: float) -> None:
        self._tokens.take(used - reserved, now)
