"""Settings as options of a command, made from their one declaration: name, kind, bounds, help and default."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from colonnade.wire.setting import Setting
from colonnade.wire.settings import REGISTRY

F = TypeVar("F", bound=Callable[..., Any])


def setting_options(*keys: str) -> Callable[[F], F]:
    """An option for each setting whose key is given, or that is in a section given (`engine.`). Values are text, read
    with all the other sources by `Session.settings`, so that an error names its origin."""
    chosen = [each for each in REGISTRY if each.key in keys or f"{each.section}." in keys]

    def decorate(function: F) -> F:
        for each in reversed(chosen):
            function = click.option(*_names(each), **_attributes(each))(function)
        return function

    return decorate


def given(options: dict[str, Any]) -> dict[str, object]:
    """What `Session.settings` takes, from a command's own keyword arguments."""
    return {name.replace("__", "."): value for name, value in options.items() if "__" in name}


def _names(each: Setting) -> tuple[str, str]:
    flag = f"{each.flag}/{each.flag.replace('--', '--no-', 1)}" if each.is_switch else each.flag
    return each.key.replace(".", "__"), flag


def _attributes(each: Setting) -> dict[str, Any]:
    text = f"{each.doc} [{each.default_text or 'empty'}]"
    name = each.kind.name if "|" in each.kind.name else each.kind.name.upper()
    return {"default": None, "help": text} | ({} if each.is_switch else {"metavar": name})
