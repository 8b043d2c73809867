"""`colonnade up`: everything on this machine, with one command."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from colonnade.cli.command import Command
from colonnade.cli.session import Session
from colonnade.cli.settings_options import given, setting_options

if TYPE_CHECKING:
    from colonnade.cli.greeting import Greeting
    from colonnade.cli.home import Home
    from colonnade.wire.settings import Resolved

MODEL = "colonnade-tiny"


@click.command(
    cls=Command,
    examples=(
        "colonnade up  # the model that ships, on http://127.0.0.1:8080; Ctrl-C stops it",
        "colonnade up /models/my-llama --replicas 2 --port 9000",
        "colonnade up org/name@v1.2  # from a hub; `colonnade ps` shows how far it is",
        "colonnade up --detach --json | jq -r .key  # in the background, for scripts; `colonnade down` stops it",
    ),
)
@click.argument("model", metavar="[PATH_OR_NAME]", required=False)
@setting_options("gateway.host", "gateway.port", "gateway.auth", "fleet.replicas")
@click.option("--detach", "-d", is_flag=True, help="Run in the background; return when it is ready.")
@click.option("--announce-fd", type=int, hidden=True, help="Where a detached run tells its phases.")
@click.pass_obj
def up(session: Session, model: str | None, detach: bool, announce_fd: int | None, **options: Any) -> None:
    """Start everything: control plane, agent, gateway, and a served model.

    PATH_OR_NAME is a folder in the Hugging Face layout, the name of a model that ships [colonnade-tiny], or a
    repository on a hub (org/name or org/name@revision). When it answers, its URL, a key and a curl line are printed.
    All state stays in the state folder: the next `up` finds its keys and deployments again. Where an `up` runs
    already, it is told about instead.
    """
    from colonnade.cli.home import Home
    from colonnade.cli.running import running_up

    flags = given(options)
    settings = session.settings(flags)
    home = Home(settings.home)
    if announce_fd is None and running_up(home) is not None:
        _tell_of_running(session, settings, home, model)
    elif detach:
        from colonnade.cli.detached import detached

        _greet(session, detached(session, settings, _arguments(model, flags)))
    else:
        _run(session, settings, model, flags, announce_fd)


def _run(
    session: Session, settings: Resolved, model: str | None, flags: dict[str, object], announce_fd: int | None
) -> None:
    from colonnade.cli.announcing import Announcing
    from colonnade.cli.phases import Phases
    from colonnade.cli.signals import Stopped
    from colonnade.cli.upping import Upping

    replicas = settings.fleet.replicas if flags.get("fleet.replicas") is not None else None
    upping = Upping(session, settings, _plain(model or MODEL), replicas)
    try:
        if announce_fd is None:
            upping.run(Phases(session.quiet), lambda greeting: _stay(session, greeting))
        else:
            with Announcing(announce_fd) as announcing:
                upping.run(Phases(ended=announcing.phase), announcing.greeting)
    except Stopped as stopped:
        session.talk(f"stopped by {stopped}; the state stays in {settings.home}")


def _tell_of_running(session: Session, settings: Resolved, home: Home, model: str | None) -> None:
    """Raises Conflict when what is asked for is not what runs."""
    from colonnade.cli.upping import differences, wait_for_ready
    from colonnade.wire.errors import Conflict

    greeting = wait_for_ready(home, settings.fleet.start_timeout)
    if greeting is None:
        raise Conflict("the `up` that ran has just ended", hint="try again", code="already_running")
    if differs := differences(greeting, settings, home, model):
        raise Conflict(
            f"an `up` runs already at {greeting.url} (pid {greeting.pid}), with another {' and '.join(differs)}",
            hint="`colonnade down` stops it; without options, `colonnade up` shows its key",
            code="already_running",
        )
    session.talk(f"runs already at {greeting.url}, as pid {greeting.pid}; `colonnade down` stops it")
    _greet(session, greeting)


def _stay(session: Session, greeting: Greeting) -> None:
    _greet(session, greeting)
    session.talk("Ctrl-C stops everything")


def _greet(session: Session, greeting: Greeting) -> None:
    session.json(greeting.fields()) if session.as_json else session.data(greeting.text())


def _arguments(model: str | None, flags: dict[str, object]) -> list[str]:
    """The command line again, for the process in the background."""
    from colonnade.wire.resolve import named

    words = [_plain(model)] if model else []
    for key, value in flags.items():
        each = named(key)
        if value is not None and each.is_switch:
            words.append(each.flag if value else each.flag.replace("--", "--no-", 1))
        elif value is not None:
            words.append(f"{each.flag}={value}")
    return words


def _plain(model: str) -> str:
    """A folder as its full path: what serves it later may run elsewhere."""
    import os

    return os.path.abspath(model) if os.path.isdir(model) else model
