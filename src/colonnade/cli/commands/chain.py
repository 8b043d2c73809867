"""`colonnade chain`: steps in processes of their own, joined to one product."""

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
        "colonnade chain check words.py  # everything that is wrong with it, with file and line",
        "colonnade chain run words.py  # a process for each step, and one URL",
    ),
)
def chain() -> None:
    """Check and run chains: typed steps joined to one product."""


@chain.command(
    cls=Command,
    examples=(
        "colonnade chain check words.py",
        "colonnade chain check words.py --json | jq .faults  # for editors and scripts",
    ),
)
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path))
@click.pass_obj
def check(session: Session, file: Path) -> int:
    """Say everything that is wrong with a chain, with file and line. Exits with 1 if it cannot be run.

    The file is imported; none of its steps is made. Types along every edge, signatures, cycles, names, timeouts along
    paths, and secrets are checked.
    """
    import msgspec

    from colonnade.chains.graph import read_chain

    found, faults = read_chain(file)
    passed = found is not None and all(each.weight == "warning" for each in faults)
    if session.as_json:
        said = [{**msgspec.to_builtins(each), "text": str(each)} for each in faults]
        session.json({"passed": passed, "faults": said})
    else:
        for fault in faults:
            session.data(str(fault))
        session.talk("it can be run" if passed else "it cannot be run")
    return exits.OK if passed else exits.FAILED


@chain.command(
    cls=Command,
    examples=(
        "colonnade chain run words.py",
        "colonnade chain run words.py --inline  # all steps in one process; values are serialised all the same",
        "colonnade chain run words.py --port 0 --json  # for scripts: a free port, one line of JSON",
    ),
)
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path))
@click.option("--inline", is_flag=True, help="All steps in this process.")
@click.option("--tcp", is_flag=True, help="Steps listen on 127.0.0.1 instead of on Unix sockets.")
@click.option("--at", metavar="NAME=ADDRESS", multiple=True, help="Where a deployment is that a step depends on.")
@setting_options("gateway.port")
@click.option("--stop-on-eof", is_flag=True, hidden=True, help="Stop when standard input ends.")
@click.pass_obj
def run(
    session: Session, file: Path, inline: bool, tcp: bool, at: tuple[str, ...], stop_on_eof: bool, **options: Any
) -> None:
    """Run a chain: a process for each step, and an HTTP endpoint for the entry on 127.0.0.1.

    A step that ends is started again. Ctrl-C stops everything. Outside of this machine nothing listens.
    """
    import asyncio

    from colonnade.chains.graph import open_chain
    from colonnade.cli.chaining import Chaining
    from colonnade.cli.home import Home
    from colonnade.cli.serving import until_eof
    from colonnade.cli.signals import Stopped, until_stopped

    found = open_chain(file)
    Home(session.home).prepare()
    port = session.settings(given(options)).gateway.port
    running = Chaining(session, found, port, _book(at), lambda said: _greet(session, said), tcp)
    work = until_eof(running.run(inline)) if stop_on_eof else running.run(inline)
    try:
        asyncio.run(until_stopped(work, running.hurry))
    except Stopped as stopped:
        session.talk(f"stopped by {stopped}")


def _book(at: tuple[str, ...]) -> dict[str, str]:
    from colonnade.chains.address import parse_address
    from colonnade.wire.errors import BadSetting

    book: dict[str, str] = {}
    for each in at:
        name, equals, address = each.partition("=")
        if not (name and equals):
            raise BadSetting(f"--at {each} is not NAME=ADDRESS", hint="--at rank=unix:///run/rank")
        parse_address(address)
        book[name] = address
    return book


def _greet(session: Session, said: dict[str, Any]) -> None:
    if session.as_json:
        session.json(said)
        return
    session.data(f"\n  url    {said['url']}\n  entry  {said['entry']}{said['signature']}\n")
    for each in said["steps"]:
        session.data(f"  step   {each['step']}  (process {each['pid']})")
    session.data(f"\ncurl -s {said['url']}/run_remote -d '{{...}}'")
    session.talk("Ctrl-C stops it")
