"""One setting: a dataclass field that knows its kind, its bounds and its words."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import MISSING, Field, dataclass, field, fields
from typing import Any

from colonnade.wire.errors import BadSetting
from colonnade.wire.units import Kind

HIDDEN = "********"


@dataclass(frozen=True)
class Setting:
    """`key` is `section.name`; `flag` starts with two dashes; `variable` is the environment's name for it."""

    section: str
    name: str
    kind: Kind[Any]
    default: Any
    doc: str
    flag: str
    at_least: float | None = None
    at_most: float | None = None
    secret: bool = False

    @property
    def key(self) -> str:
        return f"{self.section}.{self.name}" if self.section else self.name

    @property
    def variable(self) -> str:
        return f"COLONNADE_{self.key.replace('.', '_').upper()}"

    @property
    def default_text(self) -> str:
        return self.kind.format(self.default)

    @property
    def is_switch(self) -> bool:
        return isinstance(self.default, bool)

    def read(self, text: str) -> Any:
        """The value that `text` stands for; BadSetting when it is none, or out of bounds."""
        value = self.kind.parse(text)
        if self.at_least is not None and value is not None and value < self.at_least:
            raise BadSetting(f"{text!r} is too small", hint=f"at least {self.kind.format(self.at_least)}")
        if self.at_most is not None and value is not None and value > self.at_most:
            raise BadSetting(f"{text!r} is too large", hint=f"at most {self.kind.format(self.at_most)}")
        return value

    def show(self, value: Any) -> str:
        """`value` as a person would write it; a secret's is hidden."""
        return HIDDEN if self.secret and value else self.kind.format(value)


def setting(
    default: Any,
    kind: Kind[Any],
    doc: str,
    *,
    flag: str = "",
    at_least: float | None = None,
    at_most: float | None = None,
    secret: bool = False,
) -> Any:
    """The field of a settings dataclass. `flag` without dashes; empty: the field's name."""
    facts = {"kind": kind, "doc": doc, "flag": flag, "at_least": at_least, "at_most": at_most, "secret": secret}
    return field(default=default, metadata=facts)


def declared(section: str, settings: type[Any]) -> Iterator[Setting]:
    """The settings that the fields of a settings dataclass declare."""
    for each in fields(settings):
        yield _from_field(section, each)


def _from_field(section: str, each: Field[Any]) -> Setting:
    assert each.default is not MISSING
    facts = dict(each.metadata)
    flag = "--" + (facts.pop("flag") or each.name).replace("_", "-")
    return Setting(section=section, name=each.name, default=each.default, flag=flag, **facts)
