"""How an agent comes by its own token, from one that is good once."""

from __future__ import annotations

import aiohttp
import msgspec

from colonnade.drivers.records import write_atomically
from colonnade.fleet.home import Home
from colonnade.fleet.tls import trust
from colonnade.wire.errors import SetupError

AGAIN = "a token for enrolment is good once: `colonnade fleet tokens create --role enrol` makes another"


class Enrolled(msgspec.Struct, frozen=True):
    token: str
    authority: str = ""
    """What signs the control plane's certificate, in PEM; empty where it speaks no TLS."""


async def enrol(home: Home, cluster: str, url: str, given: str) -> bool:
    """Keep the cluster's own token, and whom to trust, in the home folder; False: `given` is no token for enrolment,
    and is to be used as it is. Raises SetupError."""
    secret, _, pin = given.partition(".")
    if pin and not url.startswith("https:"):
        raise SetupError("the token is for a control plane that speaks TLS", hint="name it by https://")
    known = aiohttp.Fingerprint(bytes.fromhex(pin)) if pin else trust(home.authority)
    headers = {"authorization": f"Bearer {secret}"}
    try:
        async with aiohttp.ClientSession(headers=headers) as session:
            async with session.post(f"{url.rstrip('/')}/v1/enrol", json={}, ssl=known) as answer:
                body, status = await answer.read(), answer.status
    except aiohttp.ServerFingerprintMismatch as error:
        hint = "its certificate is not the one of when the token was made: make another token"
        raise SetupError(f"{url} is not the control plane that the token is for", hint=hint) from error
    except aiohttp.ClientError as error:
        raise SetupError(f"{url} cannot be asked: {error}", hint="--control names the control plane") from error
    if status == 403:
        return False
    if status != 200:
        raise SetupError(f"cluster {cluster} was not enrolled: status {status}", hint=AGAIN)
    enrolled = msgspec.json.decode(body, type=Enrolled)
    if enrolled.authority:
        write_atomically(home.authority, enrolled.authority.encode())
    write_atomically(home.agent_token, enrolled.token.encode())
    return True
