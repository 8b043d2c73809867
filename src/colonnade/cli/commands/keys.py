"""`colonnade keys`: API keys of the `up` that runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from colonnade.cli.command import Command, Group
from colonnade.cli.session import Session

if TYPE_CHECKING:
    from colonnade.cli.control import Control


@click.group(
    cls=Group,
    examples=(
        "colonnade keys create --name crm  # printed once, and never again",
        "colonnade keys list",
        "colonnade keys revoke crm",
    ),
)
def keys() -> None:
    """Create, list and revoke API keys."""


@keys.command(
    cls=Command,
    examples=("colonnade keys create --name crm", "colonnade keys create --json | jq -r .key  # for scripts"),
)
@click.option("--name", metavar="NAME", help="What it is for [key- and the time].")
@click.pass_obj
def create(session: Session, name: str | None) -> None:
    """Create a key and print it. It is stored as a digest: nobody can show it again."""
    import time

    made = _control(session).create_key(name or f"key-{int(time.time() * 1000)}")
    if session.as_json:
        session.json(made)
    else:
        session.talk(f"key {made['name']}; it is shown this once")
        session.data(made["key"])


@keys.command("list", cls=Command, examples=("colonnade keys list",))
@click.pass_obj
def list_keys(session: Session) -> None:
    """List the keys by name; the keys themselves are not kept."""
    session.listing(("name", "tenant", "created"), _control(session).api_keys())


@keys.command(cls=Command, examples=("colonnade keys revoke crm",))
@click.argument("name")
@click.pass_obj
def revoke(session: Session, name: str) -> None:
    """Revoke a key. Gateways refuse it within moments."""
    _control(session).revoke_key(name)
    if session.as_json:
        session.json({"name": name, "revoked": True})
    else:
        session.talk(f"revoked {name}")


def _control(session: Session) -> Control:
    from colonnade.cli.control import open_control
    from colonnade.cli.home import Home

    return open_control(Home(session.home))
