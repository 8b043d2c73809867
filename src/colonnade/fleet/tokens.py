"""Tokens of the control plane: made for a role, shown once, kept as keyed digests, rotated and revoked.

An `enrol` token is good for one use: it becomes the token of its cluster's agent, in one step with its own end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

import msgspec
from msgspec.structs import replace

from colonnade.fleet.change import check_name
from colonnade.fleet.keys import digest, new_key
from colonnade.fleet.roles import OF_A_CLUSTER, ROLES, Holder, Role
from colonnade.wire.errors import Conflict, InvalidRequest, NotFound, Unauthenticated
from colonnade.wire.routes import Happening

USED_EVERY_S = 60.0
"""How exactly the time of the last use is kept."""


class Token(msgspec.Struct, frozen=True):
    name: str
    digest: str
    role: Role
    cluster: str = ""
    created: float = 0.0
    used: float | None = None


class TokenStore(Protocol):
    async def tokens(self) -> tuple[Token, ...]: ...

    async def put_token(self, token: Token | None, ends: str, event: Happening) -> None:
        """At once: the token called `ends` ends, this one is there, and the log says so."""
        ...

    async def token_used(self, name: str, at: float) -> None: ...


class Tokens:
    """Made with what is stored; every change is stored before it counts."""

    def __init__(self, store: TokenStore, pepper: str, source: str, clock: Callable[[], float]) -> None:
        self._store = store
        self._pepper = pepper
        self._source = source
        self._clock = clock
        self._numbers = 0
        self._by_name: dict[str, Token] = {}
        self._changing = asyncio.Lock()

    async def read(self) -> None:
        self._by_name = {each.name: each for each in await self._store.tokens()}

    def all(self) -> list[Token]:
        return [each for _, each in sorted(self._by_name.items())]

    async def create(self, name: str, role: str, cluster: str = "") -> tuple[str, Token]:
        """The token, which nobody can show again, and what is kept of it."""
        check_name(name, "name")
        if role not in ROLES:
            raise InvalidRequest(f"no role {role!r}", hint="one of " + ", ".join(ROLES), param="role")
        if (role in OF_A_CLUSTER) != bool(cluster):
            hint = "agent and enrol are for one cluster, the other roles for none"
            raise InvalidRequest(f"role {role} with cluster {cluster!r}", hint=hint, param="cluster")
        async with self._changing:
            if name in self._by_name:
                raise Conflict(f"there is a token {name!r}", hint="rotate or revoke it", code="token_exists")
            said = f"role {role} {cluster}".strip()
            return await self._issue(Token(name, "", role, cluster), "", "token created", said)

    async def rotate(self, name: str) -> tuple[str, Token]:
        """Another token in its place; the old one ends."""
        async with self._changing:
            old = self._known(name)
            return await self._issue(replace(old, used=None), name, "token rotated", f"role {old.role}")

    async def revoke(self, name: str) -> None:
        async with self._changing:
            self._known(name)
            await self._store.put_token(None, name, self._event("token revoked", name, "asked for"))
            del self._by_name[name]

    async def enrol(self, holder: Holder) -> tuple[str, Token]:
        """The one-time token becomes its cluster's agent's; an agent's token of before ends."""
        async with self._changing:
            old = self._known(holder.name)
            token = Token(f"agent-{old.cluster}", "", "agent", old.cluster)
            return await self._issue(token, old.name, "agent enrolled", f"with {old.name}")

    async def holder(self, given: str) -> Holder:
        """Raises Unauthenticated."""
        wanted = digest(self._pepper, given)
        token = next((each for each in self._by_name.values() if each.digest == wanted), None)
        if token is None:
            raise Unauthenticated("the control plane needs a token", hint="run/control.json in the home folder has one")
        now = self._clock()
        if token.used is None or now - token.used >= USED_EVERY_S:
            self._by_name[token.name] = replace(token, used=now)
            await self._store.token_used(token.name, now)
        return Holder(token.name, token.role, token.cluster)

    async def _issue(self, token: Token, ends: str, kind: str, reason: str) -> tuple[str, Token]:
        secret = new_key()
        token = replace(token, digest=digest(self._pepper, secret), created=self._clock())
        await self._store.put_token(token, ends, self._event(kind, token.name, reason, token.cluster))
        self._by_name.pop(ends, None)
        self._by_name[token.name] = token
        return secret, token

    def _known(self, name: str) -> Token:
        if name not in self._by_name:
            raise NotFound(f"no token {name!r}", hint="GET /v1/tokens lists them", code="no_such_token")
        return self._by_name[name]

    def _event(self, kind: str, subject: str, reason: str, cluster: str = "") -> Happening:
        self._numbers += 1
        return Happening(self._source, self._numbers, self._clock(), kind, subject, reason, cluster)
