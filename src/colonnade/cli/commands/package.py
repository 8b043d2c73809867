"""`colonnade package`: models as folders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from colonnade.cli import exits
from colonnade.cli.command import Command, Group
from colonnade.cli.session import Session
from colonnade.cli.settings_options import given, setting_options


@click.group(
    cls=Group,
    examples=(
        "colonnade package init my-model  # a folder with config.yaml and model/model.py",
        "colonnade package check my-model  # everything that is wrong with it, with file and line",
        "colonnade package check my-model --json | jq .faults  # the same, for editors and scripts",
    ),
)
def package() -> None:
    """Start, check, build and watch packages: models as folders."""


@package.command(cls=Command, examples=("colonnade package init my-model",))
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--name", metavar="NAME", default="", help="The model's name [the folder's].")
@click.pass_obj
def init(session: Session, folder: Path, name: str) -> None:
    """Write a package that can be served as it is."""
    from colonnade.packages.scaffold import scaffold

    files = scaffold(folder, name)
    if session.as_json:
        session.json({"files": [str(file) for file in files]})
    else:
        session.talk(f"colonnade serve {folder}")
        session.data("\n".join(str(file) for file in files))


@package.command(
    cls=Command,
    examples=(
        "colonnade package check my-model",
        "colonnade package check my-model --json | jq .faults  # for editors and scripts",
    ),
)
@click.argument("folder", metavar="DIR", type=click.Path(exists=True, path_type=Path))
@click.pass_obj
def check(session: Session, folder: Path) -> int:
    """Say everything that is wrong with a package, with file and line. Exits with 1 if it cannot be served.

    None of the package's code runs.
    """
    import msgspec

    from colonnade.packages.check import check as judge

    verdict = judge(folder)
    if session.as_json:
        found = [{**msgspec.to_builtins(each), "text": str(each)} for each in verdict.faults]
        session.json({"passed": verdict.passed, "faults": found, "wishes": msgspec.to_builtins(verdict.wishes)})
    else:
        for fault in verdict.faults:
            session.data(str(fault))
        for wish in verdict.wishes:
            if wish.verdict != "refused":
                session.talk(f"{wish.verdict}: {wish.key}: {wish.said}")
        session.talk("it can be served" if verdict.passed else "it cannot be served")
    return exits.OK if verdict.passed else exits.FAILED


@package.command(
    cls=Command,
    examples=(
        "colonnade package build my-model  # what `deploy` does first",
        "colonnade package build my-model --json | jq -r .digest",
    ),
)
@click.argument("folder", metavar="DIR", type=click.Path(exists=True, path_type=Path))
@click.pass_obj
def build(session: Session, folder: Path) -> None:
    """Make a version of a package: check it, install what it asks for, import its class there, keep a copy.

    A version is named by its content and never changes; building the same again finds it. Environments are kept by
    their requirements, below the state folder. The installer's output comes as it is said.
    """
    import msgspec

    from colonnade.packages.building.version import build as make

    version = make(folder, session.home, session.talk)
    session.json(msgspec.to_builtins(version)) if session.as_json else session.data(f"{version.name}-{version.digest}")


@package.command(
    cls=Command,
    examples=("colonnade package watch my-model", "colonnade package watch my-model --port 0 --no-auth"),
)
@click.argument("folder", metavar="DIR", type=click.Path(exists=True, path_type=Path))
@setting_options("gateway.host", "gateway.port", "gateway.auth", "replica.served_name")
@click.option("--stop-on-eof", is_flag=True, hidden=True, help="Stop when standard input ends.")
@click.pass_obj
def watch(session: Session, folder: Path, stop_on_eof: bool, **options: Any) -> None:
    """Serve a package, and read its class anew whenever a Python file of it changes.

    The instance stays, with everything that load() made: only its methods are new. A file that cannot be imported
    changes nothing. config.yaml takes a new start.
    """
    import asyncio
    from functools import partial

    from colonnade.cli.commands.serve import greet
    from colonnade.cli.serving import Serving
    from colonnade.cli.signals import Stopped
    from colonnade.cli.watching import Watching
    from colonnade.packages.folder import open_code

    watching = Watching(session, open_code(folder))
    settings = session.settings(given(options))
    serving = Serving(session, settings, str(folder), partial(greet, session), stop_on_eof, watching.run)
    try:
        asyncio.run(serving.run())
    except Stopped as stopped:
        session.talk(f"stopped by {stopped}")
