"""`colonnade fleet plan`: what a change would do, before it is made."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from colonnade.cli.command import Command
from colonnade.cli.session import Session


@click.command(cls=Command, examples=("colonnade fleet plan desk.yaml", "colonnade fleet plan desk.yaml --json"))
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.pass_obj
def plan(session: Session, file: Path) -> None:
    """Say what deploying FILE would change: its fields, its version, where replicas go and why, what it costs an hour.

    Nothing is changed, and nothing is said where nothing would change.
    """
    import msgspec

    from colonnade.cli.control import open_control
    from colonnade.cli.home import Home
    from colonnade.cli.models import name_of
    from colonnade.fleet.manifest import read_manifest
    from colonnade.fleet.placement import Site
    from colonnade.fleet.planning import as_asked, planned
    from colonnade.wire.routes import ClusterSpec

    manifest = read_manifest(file)
    name = manifest.name or name_of(manifest.model)
    control = open_control(Home(session.home))
    known = {each.name: each for each in control.deployments()}
    wanted = as_asked(known.get(name), name, manifest.model_dump(exclude={"name"}, exclude_none=True))
    sites = [Site(_spec(each, ClusterSpec, msgspec.convert), each["lost"]) for each in control.clusters()]
    rows = [asdict(line) for line in planned(known, wanted, sites)]
    if rows or session.as_json:
        session.listing(("what", "now", "then", "why"), rows)
    else:
        session.talk(f"{name} is as {file} says")


def _spec(told: dict[str, Any], kind: Any, convert: Any) -> Any:
    return kind(told["name"]) if told.get("spec") is None else convert(told["spec"], kind)
