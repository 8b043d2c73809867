"""`colonnade ps`: the replicas, and why each is in its state."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import click

from colonnade.cli.command import Command
from colonnade.cli.computed import computed
from colonnade.cli.session import Session

if TYPE_CHECKING:
    from colonnade.wire.routes import ReplicaStatus

COLUMNS = ("id", "state", "pid", "restarts", "age", "ready_s", "quantisation", "url", "reason")


@click.command(
    cls=Command,
    examples=(
        "colonnade ps",
        "colonnade ps --json | jq '.[] | select(.state != \"ready\")'  # what is not ready, and why",
    ),
)
@click.pass_obj
def ps(session: Session) -> None:
    """List the replicas, their state, and why each is in it.

    States: starting, ready, draining, stopped, failed. REASON says why a replica is in its state, or why its last life
    ended. QUANTISATION says what the weights of one that is ready are rounded to. With --json a list of objects; id,
    pid, state, reason and restarts are always there.
    """
    from colonnade.cli.control import open_control
    from colonnade.cli.home import Home

    now = time.time()
    session.listing(COLUMNS, [row(each, now) for each in open_control(Home(session.home)).replicas()])


def row(status: ReplicaStatus, now: float) -> dict[str, Any]:
    age, facts = age_of(now - status.started_at) if status.started_at else None, computed(status)
    return {
        "id": status.id,
        "deployment": status.deployment,
        "state": status.state,
        "pid": status.pid,
        "restarts": status.restarts,
        "reason": status.reason,
        "epoch": status.epoch,
        "url": status.url,
        "started_at": status.started_at,
        "age": age,
        "ready_s": None if status.ready_s is None else round(status.ready_s, 2),
        "quantisation": facts.get("quantisation"),
        "facts": {**status.facts, **facts},
    }


def age_of(seconds: float) -> str:
    """In the largest unit that it fills: 42s, 17m, 3h, 12d."""
    seconds = max(0.0, seconds)
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= size:
            return f"{int(seconds // size)}{unit}"
    return f"{int(seconds)}s"
