"""Every command and every option is documented in docs/cli.md; there are few enough to learn."""

from __future__ import annotations

import re
from collections.abc import Iterator

import click
import documented
import pytest

from colonnade.cli import cli


def commands(group: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command and group below the root, with the words that lead to it."""
    if isinstance(group, click.Group):
        context = click.Context(group)
        for name in group.list_commands(context):
            command = group.get_command(context, name)
            assert command is not None, f"the group lists {name} and does not have it"
            if not command.hidden:
                yield (*path, name), command
                yield from commands(command, (*path, name))


COMMANDS = list(commands(cli))
DAILY = {"up", "down", "serve", "chat", "ps", "logs", "bench", "keys", "config", "doctor"}


def test_there_are_at_most_20_words_to_learn() -> None:
    top = {path[0] for path, _ in COMMANDS}
    assert top >= DAILY
    assert len(top) <= 20


@pytest.mark.parametrize(("path", "command"), COMMANDS, ids=[" ".join(path) for path, _ in COMMANDS])
def test_commands(path: tuple[str, ...], command: click.Command) -> None:
    """Each has a heading of its own; all its options stand below it, up to the next command's."""
    words = " ".join(("colonnade", *path))
    _, heading, below = documented.page("cli.md").partition(f"# `{words}`\n")
    assert heading, f"docs/cli.md has no heading `{words}`"
    section = re.split(r"^#+ `colonnade", below, maxsplit=1, flags=re.MULTILINE)[0]
    assert command.help or command.short_help
    for option in command.params:
        if isinstance(option, click.Option) and not option.hidden:
            assert all(f"`{flag}" in section for flag in (*option.opts, *option.secondary_opts)), option.opts
