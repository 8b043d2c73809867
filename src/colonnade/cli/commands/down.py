"""`colonnade down`: the end of everything that `up` started."""

from __future__ import annotations

import click

from colonnade.cli.command import Command
from colonnade.cli.session import Session


@click.command(cls=Command, examples=("colonnade down", "colonnade down --json"))
@click.pass_obj
def down(session: Session) -> None:
    """Stop everything that `up` started.

    Requests in flight may end first. Also ends what an `up` that was killed has left behind. Where nothing runs, there
    is nothing to do, and that is no error. The state stays.
    """
    import asyncio

    from colonnade.cli import running
    from colonnade.cli.home import Home
    from colonnade.drivers.local import stop_all

    settings = session.settings()
    home = Home(settings.home)
    patience = settings.gateway.shutdown_timeout + settings.fleet.stop_timeout
    stopped: list[str] = []
    up = running.running_up(home)
    if up is not None:
        session.talk(f"stopping `up` (pid {up.pid})")
        running.stop(running.Named("up", up.pid, up.ticks), patience + 15)
        stopped.append("up")
    for child in running.children(home):
        session.talk(f"stopping the {child.name} that was left behind (pid {child.pid})")
        running.stop(child, patience)
        stopped.append(child.name)
    if (home.path / "replicas").is_dir():
        stopped += [life.id for life in asyncio.run(stop_all(home.path, settings.replica.drain_timeout + 2))]
    home.up_file.unlink(missing_ok=True)
    if session.as_json:
        session.json({"stopped": stopped})
    elif not stopped:
        session.talk("nothing was running")
