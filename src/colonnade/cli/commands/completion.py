"""`colonnade completion`: the shell's side of completion, as click writes it."""

from __future__ import annotations

import click

from colonnade.cli.command import Command
from colonnade.cli.session import Session

VARIABLE = "_COLONNADE_COMPLETE"


@click.command(
    cls=Command,
    examples=(
        'eval "$(colonnade completion bash)"  # this shell; in ~/.bashrc, every one',
        "colonnade completion fish > ~/.config/fish/completions/colonnade.fish",
    ),
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_obj
def completion(session: Session, shell: str) -> None:
    """Print the script that completes commands in a shell."""
    from click.shell_completion import get_completion_class

    from colonnade.cli.root import cli

    kind = get_completion_class(shell)
    assert kind is not None
    script = kind(cli, {}, "colonnade", VARIABLE)
    session.json({"shell": shell, "script": script.source()}) if session.as_json else session.data(script.source())
