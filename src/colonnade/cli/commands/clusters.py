"""`colonnade fleet clusters`: where replicas can be."""

from __future__ import annotations

from typing import Any

import click

from colonnade.cli.command import Command
from colonnade.cli.session import Session

COLUMNS = ("name", "zone", "region", "cloud", "owner", "replicas", "seen", "resources", "lost")


@click.command(cls=Command, examples=("colonnade fleet clusters",))
@click.pass_obj
def clusters(session: Session) -> None:
    """List the clusters: where they are, whose, what they have, and whether their agents are heard.

    RESOURCES: of each type the capacity, and after a slash what of it is committed.
    """
    from colonnade.cli.control import open_control
    from colonnade.cli.home import Home

    told = open_control(Home(session.home)).clusters()
    if session.as_json:
        session.json(told)
    else:
        session.listing(COLUMNS, [_row(each) for each in told])


def _row(told: dict[str, Any]) -> dict[str, Any]:
    from colonnade.cli.commands.events import moment

    spec = told.get("spec") or {}
    seen = moment(told["seen"]) if told["seen"] else None
    offers = ", ".join(_offer(name, offer) for name, offer in spec.get("resources", {}).items())
    return {**spec, "owner": spec.get("owner", "managed"), **told, "seen": seen, "resources": offers}


def _offer(name: str, offer: dict[str, Any]) -> str:
    committed = f"/{offer['committed']:g}" if offer.get("committed") is not None else ""
    return f"{name} {offer['capacity']:g}{committed}"
