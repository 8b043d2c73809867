"""`colonnade rollback`: a deployment goes back to a version that it had."""

from __future__ import annotations

import click

from colonnade.cli.command import Command
from colonnade.cli.session import Session


@click.command(
    cls=Command,
    examples=(
        "colonnade rollback desk  # to the version before",
        "colonnade rollback desk --list",
        "colonnade rollback desk --to 3f2a91c07b",
    ),
)
@click.argument("name")
@click.option("--to", metavar="VERSION", default="", help="One that it had [the one before].")
@click.option("--list", "listed", is_flag=True, help="List the versions that it has had, and change nothing.")
@click.pass_obj
def rollback(session: Session, name: str, to: str, listed: bool) -> None:
    """Go back to a version that a deployment had, at once.

    The version of now gets no request any more.
    """
    from colonnade.cli.commands.deploy import tell
    from colonnade.cli.control import open_control
    from colonnade.cli.home import Home

    control = open_control(Home(session.home))
    if listed:
        session.listing(("name", "current", "model", "settings"), control.versions(name))
    else:
        tell(session, control.roll_back(name, to))
