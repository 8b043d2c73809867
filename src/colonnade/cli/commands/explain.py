"""`colonnade explain`: why something was decided."""

from __future__ import annotations

import click

from colonnade.cli.command import Command, Group
from colonnade.cli.session import Session

LOOKED_AT = 1000
"""Events of the log, the newest."""


@click.group(cls=Group, examples=("colonnade explain scale desk",))
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
