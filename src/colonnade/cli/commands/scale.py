"""`colonnade scale`: how many replicas a deployment has, or may have."""

from __future__ import annotations

import click

from colonnade.cli.command import Command
from colonnade.cli.session import Session


@click.command(
    cls=Command,
    examples=(
        "colonnade scale desk 3  # a fixed number",
        "colonnade scale desk --min 0 --max 4 --target 8  # by demand",
    ),
)
@click.argument("name")
@click.argument("replicas", required=False, type=click.IntRange(0))
@click.option("--min", "least", type=click.IntRange(0), metavar="N", help="By demand: at least N replicas.")
@click.option("--max", "most", type=click.IntRange(1), metavar="N", help="By demand: at most N replicas.")
@click.option("--target", type=float, metavar="N", help="Requests in flight that one replica should have.")
@click.option("--idle", type=float, metavar="S", help="Seconds without demand before the last replica rests.")
@click.pass_obj
def scale(
    session: Session,
    name: str,
    replicas: int | None,
    least: int | None,
    most: int | None,
    target: float | None,
    idle: float | None,
) -> None:
    """Change how many replicas a deployment has, or may have.

    A number fixes it. --max (and --min, --target, --idle) lets it follow demand; what is not named stays.
    """
    from msgspec.structs import asdict, replace

    from colonnade.cli.commands.deploy import tell
    from colonnade.cli.control import open_control
    from colonnade.cli.home import Home
    from colonnade.wire.routes import Scaling

    named = {"min": least, "max": most, "target": target, "idle": idle}
    changed = {key: value for key, value in named.items() if value is not None}
    if (replicas is None) == (not changed):
        raise click.UsageError("give a number of replicas, or --max and its kin")
    control = open_control(Home(session.home))
    now = control.deployment(name)
    if replicas is not None:
        wanted = replace(now, replicas=replicas, scaling=None)
    elif now.scaling is None and most is None:
        raise click.UsageError(f"{name} has a fixed number of replicas: --max lets it follow demand")
    else:
        wanted = replace(now, scaling=Scaling(**{**asdict(now.scaling or Scaling()), **changed}))
    control.deploy(wanted)
    tell(session, control.deployment(name))
