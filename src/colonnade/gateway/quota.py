"""How much a key may ask for: requests and tokens a minute. Pure: reserve when a request comes, settle when it is over.

A leaking bucket each: it holds a minute's worth and fills evenly. What was reserved and not used comes back;
what was used beyond is owed, and the next one waits for it.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import ceil, isfinite

from colonnade.wire.errors import RateLimited
from colonnade.wire.routes import KeyRecord

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
            requests = self._requests.wait(1, now) >= wait
            raise RateLimited(
                f"the key's {'requests' if requests else 'tokens'} a minute are used up",
                hint=f"send it again in {ceil(wait)} s" if isfinite(wait) else "never: the limit is 0",
                code="requests_limited" if requests else "tokens_limited",
                after=wait,
            )
        self._requests.take(1, now)
        self._tokens.take(tokens, now)

    def settle(self, reserved: float, used: float, now: float) -> None:
        self._tokens.take(used - reserved, now)

    def give_back(self, reserved: float, now: float) -> None:
        """It came to nothing: no replica has seen it."""
        self._requests.take(-1, now)
        self._tokens.take(-reserved, now)


class Quotas:
    """Of all keys that have limits, by digest. A key whose limits change keeps what it has used."""

    def __init__(self) -> None:
        self._by_key: dict[str, Quota] = {}

    def update(self, keys: Iterable[KeyRecord], now: float) -> None:
        before, self._by_key = self._by_key, {}
        for key in keys:
            allowed = key.allowance
            limits = (allowed.requests_per_minute, allowed.tokens_per_minute)
            quota = before.get(key.digest)
            if quota is not None:
                quota.change(*limits, now)
            elif limits != (None, None):
                quota = Quota(*limits, now)
            if quota is not None:
                self._by_key[key.digest] = quota

    def of(self, key: KeyRecord) -> Quota | None:
        """None: it may ask for whatever it likes."""
        return self._by_key.get(key.digest)
