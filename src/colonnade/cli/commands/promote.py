"""`colonnade promote`: a version goes on from one environment to the next."""

from __future__ import annotations

import click

from colonnade.cli.command import Command
from colonnade.cli.session import Session


@click.command(
    cls=Command,
    examples=(
        "colonnade promote desk  # what staging has, into production",
        "colonnade promote desk --from development --to staging",
    ),
)
@click.argument("name")
@click.option("--from", "source", metavar="ENV", default="staging", show_default=True, help="Whose version.")
@click.option("--to", "target", metavar="ENV", default="production", show_default=True, help="Where it goes.")
@click.pass_obj
def promote(session: Session, name: str, source: str, target: str) -> None:
    """Bring a version from one environment into the next.

    The version of NAME that the one serves comes into the other unchanged. Environments are development, staging and
    production; `deploy --environment` fills them. The target keeps its number of replicas and its way of rolling out.
    """
    from colonnade.cli.commands.deploy import tell
    from colonnade.cli.control import open_control
    from colonnade.cli.home import Home
    from colonnade.fleet.versions import environment

    control = open_control(Home(session.home))
    tell(session, control.promote(environment(name, source), environment(name, target)))
