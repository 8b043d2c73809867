"""`colonnade fleet tokens`: who may do what at the control plane."""

from __future__ import annotations

import click

from colonnade.cli.command import Command, Group
from colonnade.cli.secret import keeper, say_revoked, show_once
from colonnade.cli.session import Session

ROLES = ("admin", "deployer", "agent", "gateway", "enrol")


@click.group(
    cls=Group,
    examples=(
        "colonnade fleet tokens create --name ci --role deployer",
        "colonnade fleet tokens create --name new-agent --role enrol --cluster basement  # good once",
        "colonnade fleet tokens list",
    ),
)
def tokens() -> None:
    """Create, list, rotate and revoke tokens of the control plane."""


@tokens.command(cls=Command, examples=("colonnade fleet tokens create --name ci --role deployer",))
@click.option("--name", required=True, metavar="NAME", help="What it is for.")
@click.option("--role", required=True, type=click.Choice(ROLES), help="What its holder may do.")
@click.option("--cluster", default="", metavar="NAME", help="For agent and enrol: the only cluster that it is for.")
@click.pass_obj
def create(session: Session, name: str, role: str, cluster: str) -> None:
    """Create a token and print it. It is stored as a digest: nobody can show it again."""
    show_once(session, "token", keeper(session).create_token(name, role, cluster))


@tokens.command("list", cls=Command, examples=("colonnade fleet tokens list",))
@click.pass_obj
def list_tokens(session: Session) -> None:
    """List the tokens by name, with their last use to a minute; the tokens themselves are not kept."""
    from colonnade.cli.commands.events import moment

    told = keeper(session).tokens()
    shown = [{**each, **{at: moment(each[at]) for at in ("created", "used") if each[at]}} for each in told]
    session.listing(("name", "role", "cluster", "created", "used"), told if session.as_json else shown)


@tokens.command(cls=Command, examples=("colonnade fleet tokens rotate ci",))
@click.argument("name")
@click.pass_obj
def rotate(session: Session, name: str) -> None:
    """Make another token in NAME's place, and print it; the old one ends at once."""
    show_once(session, "token", keeper(session).rotate_token(name))


@tokens.command(cls=Command, examples=("colonnade fleet tokens revoke ci",))
@click.argument("name")
@click.pass_obj
def revoke(session: Session, name: str) -> None:
    """Revoke a token, at once."""
    keeper(session).revoke_token(name)
    say_revoked(session, name)
