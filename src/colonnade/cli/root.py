"""`colonnade`: the group of all commands, and the one place where errors become words and exit codes."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, NoReturn

import click

from colonnade import __version__
from colonnade.cli import exits
from colonnade.cli.command import Group
from colonnade.cli.session import Session, session_of
from colonnade.wire.errors import ColonnadeError

COMMANDS = {
    "up": ("colonnade.cli.commands.up:up", "Start everything: control plane, agent, gateway, and a served model."),
    "down": ("colonnade.cli.commands.down:down", "Stop everything that `up` started."),
    "serve": ("colonnade.cli.commands.serve:serve", "Serve one model with one replica, without a control plane."),
    "package": ("colonnade.cli.commands.package:package", "Start, check, build and watch packages: models as folders."),
    "chain": ("colonnade.cli.commands.chain:chain", "Check and run chains: typed steps joined to one product."),
    "deploy": ("colonnade.cli.commands.deploy:deploy", "Deploy a model: from a folder, a name, or a YAML file."),
    "scale": ("colonnade.cli.commands.scale:scale", "Change how many replicas a deployment has, or may have."),
    "rollback": ("colonnade.cli.commands.rollback:rollback", "Go back to a version that a deployment had, at once."),
    "promote": ("colonnade.cli.commands.promote:promote", "Bring a version from one environment into the next."),
    "chat": ("colonnade.cli.commands.chat:chat", "Talk to a model."),
    "ps": ("colonnade.cli.commands.ps:ps", "List the replicas, their state, and why each is in it."),
    "logs": ("colonnade.cli.commands.logs:logs", "Show what a replica or a process of `up` said."),
    "explain": ("colonnade.cli.commands.explain:explain", "Say why something was decided."),
    "bench": ("colonnade.cli.commands.bench:bench", "Measure a server under the load of a trace."),
    "fleet": ("colonnade.cli.commands.fleet:fleet", "See what the fleet does and why; try one on a virtual clock."),
    "keys": ("colonnade.cli.commands.keys:keys", "Create, list, limit and revoke API keys."),
    "config": ("colonnade.cli.commands.config:config", "Show settings, and where each value comes from."),
    "doctor": (
        "colonnade.cli.commands.doctor:doctor",
        "Check this machine, or whether a model can be served on it, and say how to mend what is wrong.",
    ),
    "completion": (
        "colonnade.cli.commands.completion:completion",
        "Print the script that completes commands in a shell.",
    ),
}


class Root(Group):
    """Runs a command line to an exit code, whatever happens on the way."""

    def main(self, args: Sequence[str] | None = None, prog_name: str | None = None, **extra: Any) -> NoReturn:
        session = Session()
        extra.pop("standalone_mode", None)
        try:
            code = super().main(args, prog_name or "colonnade", standalone_mode=False, obj=session, **extra)
        except BaseException as error:
            code = report(error, session)
        sys.exit(code if isinstance(code, int) else exits.OK)


@click.group(
    cls=Root,
    lazy=COMMANDS,
    examples=(
        "colonnade up  # serve the shipped model on http://127.0.0.1:8080",
        'colonnade chat "Book Maria Lopez on Tuesday at 3pm"  # from another terminal',
        "colonnade ps  # what runs, and why it is in that state",
    ),
)
@click.version_option(__version__, prog_name="colonnade")
def cli() -> None:
    """Mission-critical inference: your models, your capacity, one URL.

    stdout is data, stderr is talk. Exit codes: 0 done, 1 failed, 2 usage, 3 not running, 4 busy, 130 interrupted.
    """


def report(error: BaseException, session: Session) -> int:
    """Says what happened, and returns the exit code. Tracebacks are shown with --debug only."""
    match error:
        case click.exceptions.Exit():
            return error.exit_code
        case SystemExit():
            return error.code if isinstance(error.code, int) else exits.FAILED
        case click.Abort() | KeyboardInterrupt():
            return exits.INTERRUPTED
        case BrokenPipeError():
            return _reader_left()
        case click.ClickException():
            error.show()
            return error.exit_code
        case ColonnadeError():
            _explain(error, session)
            return exits.code_for(error)
        case BaseExceptionGroup() if len(error.exceptions) == 1:
            return report(error.exceptions[0], session)
        case _:
            return _internal(error, session)


def _explain(error: ColonnadeError, session: Session) -> None:
    if session.debug:
        _traceback(error)
    if session.as_json:
        import msgspec

        click.echo(msgspec.json.encode(error.envelope()).decode(), err=True)
        return
    click.echo(f"error: {error.message}", err=True)
    for number, line in enumerate(error.hint.splitlines()):
        click.echo(f"{' hint' if number == 0 else '     '}: {line}", err=True)


def _internal(error: BaseException, session: Session) -> int:
    click.echo(f"error: this is a defect of colonnade: {type(error).__name__}: {error}", err=True)
    if session.debug:
        _traceback(error)
    else:
        click.echo(" hint: the same command with --debug shows where", err=True)
    return exits.FAILED


def _traceback(error: BaseException) -> None:
    import traceback

    click.echo("".join(traceback.format_exception(error)), err=True)


def _reader_left() -> int:
    """Whoever read our output has read enough (`| head`): nothing more can be written, at exit neither."""
    import os

    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return exits.OK


def main() -> NoReturn:
    cli.main()


__all__ = ["COMMANDS", "cli", "main", "session_of"]
