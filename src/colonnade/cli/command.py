"""Commands and groups as all of ours are: help that starts with examples, shared options, subcommands loaded late."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

import click

from colonnade.cli.session import session_of


def _into_session(name: str) -> Any:
    def keep(context: click.Context, _parameter: click.Parameter, value: object) -> None:
        if value:
            setattr(session_of(context), name, value)

    return keep


def _shared(json: bool) -> list[click.Parameter]:
    """The options of every command; `json` False for the one whose --json takes a file."""

    def flag(*names: str, into: str, text: str) -> click.Option:
        return click.Option(names, is_flag=True, expose_value=False, callback=_into_session(into), help=text)

    home = click.Option(
        ["--home"],
        metavar="DIR",
        expose_value=False,
        callback=_into_session("home_flag"),
        help="Folder of all state [COLONNADE_HOME, else ~/.colonnade].",
    )
    options: list[click.Parameter] = [home]
    if json:
        options.append(flag("--json", into="as_json", text="Data as JSON on stdout; an error as JSON on stderr."))
    options.append(flag("--quiet", "-q", into="quiet", text="Say nothing on stderr but errors."))
    options.append(flag("--debug", into="debug", text="Show where an error came from."))
    return options


class Command(click.Command):
    """`examples` are whole command lines, each with what it does after two spaces and a #."""

    def __init__(
        self, *args: Any, examples: Sequence[str] = (), params: list[click.Parameter] | None = None, **rest: Any
    ) -> None:
        json = not any("--json" in each.opts for each in params or ())
        super().__init__(*args, params=[*(params or ()), *_shared(json)], **rest)
        self.examples = tuple(examples)

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        write_examples(self.examples, formatter)
        super().format_help(ctx, formatter)


class Group(click.Group):
    """`lazy` names subcommands that are imported when they run: name -> (module:attribute, one line of help)."""

    command_class = Command

    def __init__(
        self,
        *args: Any,
        examples: Sequence[str] = (),
        lazy: dict[str, tuple[str, str]] | None = None,
        params: list[click.Parameter] | None = None,
        **rest: Any,
    ) -> None:
        json = not any("--json" in each.opts for each in params or ())
        super().__init__(*args, params=[*(params or ()), *_shared(json)], **rest)
        self.examples = tuple(examples)
        self.lazy = lazy or {}

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order they were written: by what people do first."""
        return [*self.lazy, *self.commands]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in self.lazy and cmd_name not in self.commands:
            module, _, attribute = self.lazy[cmd_name][0].partition(":")
            return getattr(importlib.import_module(module), attribute)
        return super().get_command(ctx, cmd_name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        rows = [(name, text) for name, (_, text) in self.lazy.items()]
        rows += [(name, each.get_short_help_str(80)) for name, each in self.commands.items()]
        with formatter.section("Commands"):
            formatter.write_dl(rows)

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        write_examples(self.examples, formatter)
        super().format_help(ctx, formatter)


def write_examples(examples: Sequence[str], formatter: click.HelpFormatter) -> None:
    if examples:
        formatter.write("Examples:\n")
        width = max(len(example.split("  #")[0]) for example in examples)
        for example in examples:
            line, mark, text = example.partition("  #")
            formatter.write(f"  {line.ljust(width)}{mark}{text}\n" if mark else f"  {line}\n")
        formatter.write("\n")
