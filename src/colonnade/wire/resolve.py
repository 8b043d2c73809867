"""Which value of a setting holds, and where it came from. Pure: the sources come in as text."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

from colonnade.wire.errors import BadSetting
from colonnade.wire.sections import (
    REGISTRY,
    SECTIONS,
    EngineSettings,
    FleetSettings,
    GatewaySettings,
    HomeSettings,
    HttpSettings,
    LogSettings,
    ReplicaSettings,
)
from colonnade.wire.setting import Setting

Source = Literal["flag", "environment", "project file", "user file", "default"]

_BY_KEY = {each.key: each for each in REGISTRY}
_BY_FLAG = {each.flag: each for each in REGISTRY}
_BY_VARIABLE = {each.variable: each for each in REGISTRY}


@dataclass(frozen=True)
class Origin:
    """Where a value came from; `where` is the flag, the variable, or `file:line`."""

    source: Source
    where: str = ""

    def __str__(self) -> str:
        return f"{self.source} {self.where}".strip()


@dataclass(frozen=True)
class Found:
    """One source's word on one setting, not read yet."""

    setting: Setting
    text: str
    origin: Origin


@dataclass(frozen=True)
class Resolved:
    """Every setting, with the origin of each by key (`engine.threads`, `home`)."""

    top: HomeSettings
    http: HttpSettings
    gateway: GatewaySettings
    replica: ReplicaSettings
    engine: EngineSettings
    fleet: FleetSettings
    log: LogSettings
    origins: Mapping[str, Origin]

    @property
    def home(self) -> Path:
        """The state folder, `~` expanded."""
        return Path(self.top.home).expanduser()

    def value(self, key: str) -> Any:
        return getattr(getattr(self, _BY_KEY[key].section or "top"), _BY_KEY[key].name)

    def rows(self) -> list[tuple[str, str, Origin]]:
        """(key, value as text, origin) in the registry's order; the values of secrets are hidden."""
        return [(each.key, each.show(self.value(each.key)), self.origins[each.key]) for each in REGISTRY]


def resolve(
    flags: Mapping[str, object],
    environ: Mapping[str, str],
    project_text: str = "",
    user_text: str = "",
    *,
    project_name: str = "colonnade.toml",
    user_name: str = "config.toml",
) -> Resolved:
    """Flag over environment over project file over user file over default. A flag whose value is None was not given.

    Raises BadSetting: a name that is unknown, a value that does not parse or is out of bounds, a file that is not TOML.
    """
    weakest_first = (
        *_from_file(user_text, "user file", user_name),
        *_from_file(project_text, "project file", project_name),
        *_from_environment(environ),
        *_from_flags(flags),
    )
    values: dict[str, Any] = {each.key: each.default for each in REGISTRY}
    origins = {each.key: Origin("default") for each in REGISTRY}
    for found in weakest_first:
        values[found.setting.key] = _read(found)
        origins[found.setting.key] = found.origin
    built = {name or "top": _build(name, values) for name in SECTIONS}
    return Resolved(**built, origins=origins)


def _build(section: str, values: Mapping[str, Any]) -> Any:
    kind = SECTIONS[section]
    prefix = f"{section}." if section else ""
    return kind(**{each.name: values[prefix + each.name] for each in fields(kind)})


def _read(found: Found) -> Any:
    """A wrong value is an error even where a stronger source overrides it: it was meant to be right."""
    try:
        return found.setting.read(found.text)
    except BadSetting as error:
        said = "its value" if found.setting.secret else error.message
        raise BadSetting(f"{found.setting.key}: {said} ({found.origin})", hint=error.hint) from None


def _from_flags(flags: Mapping[str, object]) -> Iterator[Found]:
    for name, value in flags.items():
        if value is not None:
            each = named(name)
            yield Found(each, _as_text(value, each.key), Origin("flag", each.flag))


def named(name: str) -> Setting:
    """The setting called `engine.threads`, `threads` or `--threads`; `-` and `_` are the same."""
    plain = name.removeprefix("--").replace("-", "_")
    each = _BY_KEY.get(plain) or _BY_FLAG.get("--" + plain.replace("_", "-"))
    if each is None:
        raise _unknown("setting", name, plain, (*_BY_KEY, *(each.name for each in REGISTRY)))
    return each


def _from_environment(environ: Mapping[str, str]) -> Iterator[Found]:
    for variable in sorted(environ):
        if variable.startswith("COLONNADE_"):
            each = _BY_VARIABLE.get(variable)
            if each is None:
                raise _unknown("environment variable", variable, variable, _BY_VARIABLE)
            yield Found(each, environ[variable], Origin("environment", variable))


def _from_file(text: str, source: Source, file: str) -> Iterator[Found]:
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise BadSetting(f"{file} is not TOML: {error}", hint='write it as [section] and name = "value"') from None
    lines = _lines(text)
    for key, value in _flat(tables):
        where = f"{file}:{lines[key]}" if key in lines else file
        each = _BY_KEY.get(key)
        if each is None:
            raise _unknown(f"setting in {where}", key, key, _BY_KEY)
        if each.key == "home" and source == "user file":
            raise BadSetting(f"home is set in {where}, a file inside of it", hint="use --home or COLONNADE_HOME")
        yield Found(each, _as_text(value, key), Origin(source, where))


def _flat(tables: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """`section.name` of each value; only known sections are opened, so that the error names what was written."""
    for name, value in tables.items():
        if isinstance(value, dict) and name:
            for inner, entry in value.items():  # pyright: ignore[reportUnknownVariableType]
                yield f"{name}.{inner}", entry
        else:
            yield name, value


def _lines(text: str) -> dict[str, int]:
    """The line of each key, for files written plainly: `[section]`, `name = …`, `section.name = …`."""
    found: dict[str, int] = {}
    section = ""
    for number, line in enumerate(text.splitlines(), 1):
        if header := re.match(r"\s*\[\s*([\w-]+)\s*\]", line):
            section = f"{header[1]}."
        elif entry := re.match(r"\s*([\w.-]+)\s*=", line):
            found.setdefault(section + entry[1], number)
    return found


def _as_text(value: object, key: str) -> str:
    match value:
        case bool():
            return "on" if value else "off"
        case str():
            return value
        case int() | float():
            return str(value)
        case _:
            raise BadSetting(f"{key}: {value!r} is not one value", hint="write text, a number, or on/off")


def _unknown(what: str, said: str, plain: str, known: Iterable[str]) -> BadSetting:
    close = get_close_matches(plain, list(known), n=1, cutoff=0.5)
    hint = f"did you mean {close[0]}?" if close else "`colonnade config show` lists them all"
    return BadSetting(f"unknown {what}: {said}", hint=hint)
