"""`colonnade fleet events`: what the fleet decided, and what happened to it."""

from __future__ import annotations

import time

import click

from colonnade.cli.command import Command
from colonnade.cli.session import Session


@click.command(
    cls=Command,
    examples=(
        "colonnade fleet events --deployment desk --since 1h",
        "colonnade fleet events --kind failed --json | jq -r '.[].reason'  # why replicas failed",
    ),
)
@click.option("--deployment", metavar="NAME", default="", help="Only what is about this deployment.")
@click.option("--cluster", metavar="NAME", default="", help="Only what this cluster's agent told.")
@click.option("--kind", metavar="KIND", default="", help="Only lines of this kind: deployed, scaled, start, failed, …")
@click.option("--since", metavar="AGO", help="Only what is not older: 30m, 2h, 7d.")
@click.option("--limit", type=click.IntRange(1, 1000), default=100, show_default=True, help="The newest so many.")
@click.pass_obj
def events(session: Session, deployment: str, cluster: str, kind: str, since: str | None, limit: int) -> None:
    """List what the fleet decided and what happened to it, each with its reason; the newest last."""
    from colonnade.cli.control import open_control
    from colonnade.cli.home import Home

    only = {"deployment": deployment, "cluster": cluster, "kind": kind, "since": ago(since)}
    told = open_control(Home(session.home)).events(limit, **only)
    if session.as_json:
        session.json(told)
        return
    rows = [{**each, "at": moment(each["at"]), "what": each["kind"], "why": each["reason"]} for each in told]
    session.listing(("at", "what", "subject", "cluster", "why"), rows)


def moment(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))


def ago(since: str | None) -> float:
    """Unix seconds; 0 for None. Raises BadSetting."""
    from colonnade.wire import units

    return 0.0 if since is None else time.time() - units.DURATION.parse(since)
