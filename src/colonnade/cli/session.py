"""What every command knows: where the state is, and how to talk."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from colonnade.wire.settings import Resolved


@dataclass
class Session:
    """Filled by the options that all commands share; the flags of a command come with `settings`."""

    home_flag: str | None = None
    as_json: bool = False
    debug: bool = False
    quiet: bool = False

    def settings(self, flags: Mapping[str, object] | None = None) -> Resolved:
        """Raises BadSetting."""
        from colonnade.wire.settings import load

        return load({"home": self.home_flag, **(flags or {})})

    @cached_property
    def home(self) -> Path:
        return self.settings().home

    def talk(self, text: str) -> None:
        """To people, on stderr; nothing with --quiet."""
        if not self.quiet:
            click.echo(text, err=True)

    def progress(self, text: str) -> None:
        """How far something is: talk, but not for programs."""
        if not self.as_json:
            self.talk(f"           {text}")

    def data(self, text: str) -> None:
        click.echo(text)

    def json(self, value: Any) -> None:
        """One value on one line."""
        import msgspec

        click.echo(msgspec.json.encode(value).decode())

    def listing(self, columns: tuple[str, ...], rows: list[dict[str, Any]]) -> None:
        """A table for people, a list of objects with --json."""
        if self.as_json:
            self.json(rows)
        else:
            self.data(table(columns, rows))


def session_of(context: click.Context) -> Session:
    """The one session of a command line, made when first asked for."""
    return context.ensure_object(Session)


def table(columns: tuple[str, ...], rows: list[dict[str, Any]]) -> str:
    """Columns as wide as their widest value, two spaces apart; the last one runs free."""
    cells = [[name.upper().replace("_", " ") for name in columns]]
    cells += [[_cell(row.get(name)) for name in columns] for row in rows]
    widths = [max(len(line[n]) for line in cells) for n in range(len(columns))]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells)
    return "\n".join(lines)


def _cell(value: object) -> str:
    return "-" if value is None or value == "" else str(value)
