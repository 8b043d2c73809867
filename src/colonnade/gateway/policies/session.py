"""Session: a conversation keeps its replica, whatever else happens, as long as the replica is there.

    pick argmax of hash(session, replica)             rendezvous hashing (Thaler and Ravishankar 1996)

The session is the request's `prompt_cache_key` or `user`, else the hash of its first two messages. A replica that comes
or goes moves only the conversations that it gets or had; a restarted one, being of the same name, keeps its own. It
sees no load: for that there is `cost`, which finds conversations again by what they hold.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b

from colonnade.gateway.ask import Ask
from colonnade.gateway.policies.policy import Policy
from colonnade.gateway.target import Target


class Session(Policy):
    reads = True

    def pick(self, ask: Ask, targets: Sequence[Target], noise: float) -> Target:
        if not ask.session:
            return min(targets, key=Target.rank)
        return max(targets, key=lambda target: _score(ask.session, target.route.replica))


def _score(session: bytes, replica: str) -> bytes:
    state = blake2b(replica.encode(), digest_size=8)
    state.update(session)
    return state.digest()
