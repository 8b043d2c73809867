"""docs/cli.md, made from the commands themselves: `python -m colonnade.cli.reference > docs/cli.md`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click

from colonnade.cli.command import Command, Group
from colonnade.cli.root import cli

TEMPLATE = Path(__file__).with_name("reference.md")
"""What is said once for all commands, with the places of what is made."""


def page() -> str:
    shared = next(command for _, command in _tree(cli) if isinstance(command, Command) and command.name == "ps")
    rows = [_row(option) for option in shared.params if isinstance(option, click.Option)]
    sections = [_section(path, command) for path, command in _tree(cli)]
    text = TEMPLATE.read_text(encoding="utf-8")
    return text.replace("{{shared}}", "\n".join(rows)).replace("{{commands}}", "\n".join(sections))


def _tree(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    for name in group.list_commands(click.Context(group)):
        command = group.get_command(click.Context(group), name)
        assert command is not None
        if not command.hidden:
            yield (*path, name), command
            if isinstance(command, click.Group):
                yield from _tree(command, (*path, name))


def _section(path: tuple[str, ...], command: click.Command) -> str:
    words = " ".join(("colonnade", *path))
    context = click.Context(command, info_name=words)
    usage = " ".join(command.collect_usage_pieces(context))
    parts = [
        f"{'#' * (len(path) + 1)} `{words}`",
        _prose(command.help or ""),
        f"Usage: `{words} {usage}`",
        _examples(command),
    ]
    rows = [_row(option) for option in command.params if isinstance(option, click.Option) and not option.hidden]
    if rows:
        parts.append("| option | meaning |\n|---|---|\n" + "\n".join(rows))
    return "\n\n".join(part for part in parts if part) + "\n"


def _prose(text: str) -> str:
    """Paragraphs as single lines: a page is wrapped where it is read."""
    paragraphs = re.split(r"\n\s*\n", text.strip())
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)


def _examples(command: click.Command) -> str:
    if not isinstance(command, Command | Group):
        return ""
    return "```sh\n" + "\n".join(command.examples) + "\n```"


def _row(option: click.Option) -> str:
    metavar = "" if option.is_flag or option.count else f" {option.make_metavar(click.Context(cli))}"
    names = ", ".join(f"`{name}{metavar}`" for name in option.opts)
    names += "".join(f" / `{name}`" for name in option.secondary_opts)
    default = f" [{option.default}]" if option.show_default and option.default is not None else ""
    cells = (names, f"{option.help or ''}{default}")
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


if __name__ == "__main__":
    click.echo(page(), nl=False)
