"""Settings as flags on a command line: to declare, to collect, and to write for a child process."""

from __future__ import annotations

from argparse import ArgumentParser, BooleanOptionalAction, Namespace
from typing import Any

from colonnade.wire.sections import REGISTRY, SECTIONS
from colonnade.wire.setting import Setting, declared


def flags_of(section: str) -> tuple[Setting, ...]:
    """The settings of a section (`""`: home alone), each with what an option needs."""
    return tuple(declared(section, SECTIONS[section]))


def to_argv(settings: object) -> list[str]:
    """All of a section as flags, defaults included: what a child gets is what was resolved, whatever its own
    environment and files say. Secrets are refused: a command line can be seen by everyone on the machine."""
    section = next(name for name, kind in SECTIONS.items() if type(settings) is kind)
    argv: list[str] = []
    for each in declared(section, type(settings)):
        assert not each.secret
        argv += _flag(each, getattr(settings, each.name))
    return argv


def _flag(each: Setting, value: Any) -> list[str]:
    if each.is_switch:
        return [each.flag if value else each.flag.replace("--", "--no-", 1)]
    return [f"{each.flag}={each.kind.format(value)}"]


def add_flags(parser: ArgumentParser, *sections: str) -> None:
    """An option for each setting; its value is text, or None where it was not given."""
    for each in REGISTRY:
        if each.section in sections:
            help_text = f"{each.doc} [{each.default_text}]".replace("%", "%%")
            if each.is_switch:
                parser.add_argument(
                    each.flag, dest=each.key, action=BooleanOptionalAction, default=None, help=help_text
                )
            else:
                parser.add_argument(each.flag, dest=each.key, metavar=each.kind.name, help=help_text)


def given(namespace: Namespace) -> dict[str, object]:
    """The flags that were given, by key: what `load` takes."""
    keys = {each.key for each in REGISTRY}
    return {key: value for key, value in vars(namespace).items() if key in keys and value is not None}
