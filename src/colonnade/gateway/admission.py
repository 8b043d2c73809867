"""Who may ask, and what is fixed about a request before any replica sees it. Pure: time and noise come in.

verdict = Keys(routes, loopback=True).look_up(key)   a KeyRecord, or Unauthenticated / Overloaded
lines = fix(request_id(…), badge.lines, now, noise)  id, created, seed, tenant: the same on every replica it meets
peek = read_body(body)                               the model's name, without reading the rest
"""

from __future__ import annotations

import hmac
import re
from typing import Any

import msgspec

from colonnade.wire.errors import BadSetting, InvalidRequest, Overloaded, Unauthenticated
from colonnade.wire.routes import KeyRecord, Routes

NOISE = 28
"""Random bytes that a request takes: 16 for the id, 8 for the seed, 4 for what routing leaves to chance."""

_REQUEST_ID = re.compile(rb"[A-Za-z0-9_-]{1,64}")
_TENANT = re.compile(r"[!-~]{0,256}")

ANYONE = KeyRecord(name="", digest="", tenant="")
"""Who asks where no key is asked for."""

_HINT = "send `Authorization: Bearer KEY`; `colonnade keys create` makes a key"


class Keys:
    """The keys that are known. Before any are, nobody is let in."""

    def __init__(self, routes: Routes | None = None, *, auth: bool = True, loopback: bool = True) -> None:
        """`auth` off, here or in the routes, counts only where the gateway listens on loopback."""
        self.known = routes is not None
        self.asked = not loopback or (auth and (routes is None or routes.auth))
        # Made once and copied for each look-up, which is half the time of making it.
        self._peppered = hmac.new(bytes.fromhex(routes.pepper) if routes else b"", digestmod="sha256")
        records = routes.keys if routes else ()
        digests = [bytes.fromhex(record.digest) for record in records]
        self._records = {d: (d, r) for d, r in zip(digests, records, strict=True) if _TENANT.fullmatch(r.tenant)}

    def __len__(self) -> int:
        return len(self._records)

    def look_up(self, key: bytes) -> KeyRecord:
        """Whose key it is. Raises Unauthenticated, or Overloaded while no keys are known yet."""
        if not self.asked:
            return ANYONE
        if not self.known:
            raise Overloaded("the gateway does not know its keys yet", hint="try again in a second", code="starting")
        if not key:
            raise Unauthenticated("an API key is needed", hint=_HINT, code="missing_api_key")
        keyed = self._peppered.copy()
        keyed.update(key)
        digest = keyed.digest()
        found = self._records.get(digest)
        # Found by a keyed digest: the look-up's timing says nothing about a key. The comparison is belt and braces.
        if found is None or not hmac.compare_digest(found[0], digest):
            raise Unauthenticated("this API key is not known", hint=_HINT)
        return found[1]


class Badge:
    """One connection's key, looked up when it is first shown: the same key on the same connection is not looked up
    again, until the keys that are known change."""

    __slots__ = ("_key", "_keys", "_record", "lines")

    def __init__(self) -> None:
        self._keys: Keys | None = None
        self._key = b""
        self._record = ANYONE
        self.lines = b""
        """Header lines of the key that was shown last."""

    def show(self, keys: Keys, key: bytes) -> KeyRecord:
        """Raises what `Keys.look_up` raises."""
        if self._keys is not keys or not hmac.compare_digest(self._key, key):
            self._record = keys.look_up(key)
            self.lines = lines_of(self._record)
            self._keys, self._key = keys, key
        return self._record


def check_bind(host: str, loopback: bool, auth: bool, routes: Routes | None) -> None:
    """Raises BadSetting for an address beyond this machine without keys. `routes` None: not known yet."""
    if loopback:
        return
    asked = auth and (routes is None or routes.auth)
    if not asked:
        raise BadSetting(
            f"{host} can be reached from other machines, and keys are off",
            hint="leave out --no-auth, or listen on 127.0.0.1 (--host)",
        )
    if routes is not None and not routes.keys:
        raise BadSetting(
            f"{host} can be reached from other machines, and there are no keys",
            hint="make one with `colonnade keys create`, or listen on 127.0.0.1 (--host)",
        )


MOST_TIMEOUT = 86_400.0


def timeout(sent: bytes) -> float:
    """Seconds in which the answer must begin; infinite where none is said. Raises InvalidRequest."""
    if not sent:
        return float("inf")
    try:
        seconds = float(sent)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= MOST_TIMEOUT:
        raise InvalidRequest(f"Colonnade-Timeout is seconds, above 0 and up to {MOST_TIMEOUT:.0f}")
    return seconds


def request_id(sent: bytes, noise: bytes) -> bytes:
    """The client's own id where it is one, else a new one."""
    return sent if sent and _REQUEST_ID.fullmatch(sent) else noise[:16].hex().encode()


def fix(identity: bytes, whose: bytes, now: float, noise: bytes) -> bytes:
    """Header lines that tell every replica what is fixed about a request. `whose`: those of its key; `now` in Unix
    seconds; `noise` as above."""
    seed = int.from_bytes(noise[16:24], "big") >> 1
    return b"Colonnade-Request-Id: %b\r\nColonnade-Created: %d\r\nColonnade-Seed: %d\r\n%b" % (
        identity,
        now,
        seed,
        whose,
    )


def trace(noise: bytes) -> bytes:
    """The header line that begins a trace, for a client that has none; not sampled, since nobody here keeps spans."""
    return b"traceparent: 00-%b-%b-00\r\n" % (noise[:16].hex().encode(), noise[4:12].hex().encode())


def lines_of(record: KeyRecord) -> bytes:
    """Header lines that tell replicas whose request it is."""
    tenant = b"Colonnade-Tenant: %b\r\n" % record.tenant.encode() if record.tenant else b""
    return tenant if record is ANYONE else tenant + b"Colonnade-Priority: %d\r\n" % record.allowance.priority


class Peek(msgspec.Struct, frozen=True, gc=False):
    """All that the gateway reads of a body; msgspec passes over the rest without building it. `model` is checked to be
    text, `stream` is whatever the client wrote: a replica says what is wrong with it."""

    model: Any = None
    stream: Any = None
    max_tokens: Any = None
    max_completion_tokens: Any = None
    n: Any = None

    def most(self, usual: float) -> tuple[float, float]:
        """Tokens of the answer: at most, as far as the request says, and likely. `usual`: of one choice."""
        said = self.max_tokens if self.max_completion_tokens is None else self.max_completion_tokens
        choices = self.n if isinstance(self.n, int) and 0 < self.n <= 128 else 1
        if not isinstance(said, int) or said < 0:
            return choices * usual, choices * usual
        return choices * float(said), choices * min(usual, said)


_decode = msgspec.json.Decoder(Peek).decode


def read_body(body: bytes, only: str = "") -> Peek:
    """`only`: the model that is meant where none is named. Raises InvalidRequest for what is not a JSON object with a
    model's name."""
    try:
        found = _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidRequest(f"the body is not a JSON object: {error}", code="invalid_json") from None
    if found.model is None and only:
        return msgspec.structs.replace(found, model=only)
    if not isinstance(found.model, str) or not found.model:
        raise InvalidRequest("`model` must name a model", hint="GET /v1/models lists them", param="model")
    return found
