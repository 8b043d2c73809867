"""Help starts with examples and costs little; the table of commands is the commands'."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import click
import pytest

from colonnade.cli import cli
from colonnade.cli.command import Command, Group
from colonnade.cli.root import COMMANDS


def tree(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    yield path, command
    if isinstance(command, click.Group):
        for name in command.list_commands(click.Context(command)):
            below = command.get_command(click.Context(command), name)
            assert below is not None
            yield from tree(below, (*path, name))


TREE = list(tree(cli))


@pytest.mark.parametrize(("path", "command"), TREE, ids=[" ".join(path) or "colonnade" for path, _ in TREE])
def test_help(path: tuple[str, ...], command: click.Command) -> None:
    """Examples first, each a command of ours; the options that every command has; a first sentence."""
    text = command.get_help(click.Context(command, info_name="colonnade " + " ".join(path)))
    assert text.startswith("Examples:\n  ")
    assert isinstance(command, Command | Group)
    assert command.examples
    for example in command.examples:
        assert example.removeprefix('eval "$(').startswith(" ".join(("colonnade", *path[:1])))
    options = {name for each in command.params for name in each.opts}
    assert {"--home", "--json", "--debug", "--quiet"} <= options
    assert command.help
    assert all(each.help for each in command.params if isinstance(each, click.Option))


@pytest.mark.parametrize("name", COMMANDS)
def test_the_table_says_what_the_command_says(name: str) -> None:
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    assert command.name == name
    assert command.help
    assert command.help.split("\n")[0] == COMMANDS[name][1]


def test_help_imports_nothing_heavy() -> None:
    """A budget that holds on any machine: not milliseconds, but what is imported."""
    heavy = "torch numpy aiohttp rich msgspec starlette uvicorn asyncio http.client colonnade.fleet colonnade.engine"
    code = f"""
import sys
from colonnade.cli import cli
try:
    cli.main(["--help"])
except SystemExit:
    pass
found = [name for name in {heavy.split()!r} if name in sys.modules]
assert not found, found
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Examples:")


def test_no_command_imports_torch_to_be_understood() -> None:
    code = f"""
import importlib, sys
for target in {[target for target, _ in COMMANDS.values()]!r}:
    importlib.import_module(target.partition(":")[0])
found = [name for name in ("torch", "numpy", "aiohttp", "rich", "asyncio") if name in sys.modules]
assert not found, found
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
