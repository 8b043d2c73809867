"""`colonnade explain`: why something was decided."""

from __future__ import annotations

import time

import click

from colonnade.cli.command import Command, Group
from colonnade.cli.session import Session

LOOKED_AT = 1000
"""Events of the log, the newest."""


@click.group(cls=Group, examples=("colonnade explain scale desk", "colonnade explain request req_5f3a"))
def explain() -> None:
    """Say why something was decided."""


@explain.command(cls=Command, examples=("colonnade explain scale desk", "colonnade explain scale desk --json"))
@click.argument("name")
@click.pass_obj
def scale(session: Session, name: str) -> None:
    """List how the number of NAME's replicas changed, and why: by people (deployed) and by demand (scaled)."""
    from colonnade.cli.commands.events import moment
    from colonnade.cli.control import open_control
    from colonnade.cli.home import Home

    control = open_control(Home(session.home))
    control.deployment(name)
    told = control.events(LOOKED_AT, deployment=name)
    rows = [
        {
            "at": moment(each["at"]),
            "what": each["kind"],
            "why": each["reason"],
        }
        for each in told
        if each["kind"] in ("deployed", "scaled")
    ]
    session.listing(("at", "what", "why"), rows)


@explain.command(
    cls=Command,
    examples=(
        "colonnade explain request req_5f3a  # the first letters are enough",
        "colonnade explain request req_5f3a --json | jq .span",
    ),
)
@click.argument("id")
@click.pass_obj
def request(session: Session, id: str) -> None:
    """Show where the time of a chain's request went: a line a call, with a bar for when it waited and ran.

    ID is the answer's header Colonnade-Request-Id. Kept are the newest requests to the HTTP endpoints of chains, in
    logs/requests.jsonl of the state folder, at most 8 MiB of them.
    """
    import msgspec

    from colonnade.chains.waterfall import plain, waterfall
    from colonnade.cli.home import Home
    from colonnade.cli.traces import Traces
    from colonnade.wire.errors import NotFound

    found = Traces(Home(session.home).trace_file).find(id)
    if found is None:
        raise NotFound(
            f"no request {id} is kept, or more than one begins so",
            hint="colonnade chain run keeps the requests to its endpoint in the state folder; --home names another",
            code="no_such_request",
        )
    if session.as_json:
        session.json(msgspec.structs.asdict(found) | {"span": plain(found.span)})
        return
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(found.at))
    session.data(f"{found.id}  {found.chain}  {when}  {found.outcome}\n")
    session.data(waterfall(found.span))
