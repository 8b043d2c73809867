"""Every setting, declared once, as the fields of one frozen dataclass a section.

    flag  >  environment  >  project file  >  user file  >  default
    --threads 2   COLONNADE_ENGINE_THREADS=2   ./colonnade.toml: [engine] threads = 2   $COLONNADE_HOME/config.toml

How a process uses them (all of it is importable from here):

    resolved = load({"engine.threads": "2"})      reads os.environ and the two files; flags as text, by key or by name
    resolved = resolve(flags, environ, project_text, user_text)               the same, pure
    resolved.home                                 Path of the state folder
    resolved.engine.max_running                   EngineSettings, GatewaySettings, ReplicaSettings, FleetSettings, …
    resolved.origins["engine.max_running"]        Origin; str() says "environment COLONNADE_ENGINE_MAX_RUNNING"
    resolved.rows()                               (key, text, origin) of each setting, secrets hidden: `config show`

    flags_of("engine")                            tuple[Setting]: .flag .kind .default_text .doc .key, for options
    to_argv(resolved.engine)                      ["--device=cpu", …]: all of a section, for a child process
    add_flags(argparse_parser, "http", "engine"); given(namespace)  -> the flags for load()

Flags are named for the setting alone (`--max-running`), so a name is unique over all sections; a switch is
`--auth` / `--no-auth`. Unknown keys and unknown COLONNADE_* variables raise BadSetting with the closest name.
Sizes, counts and durations are written in human units (`colonnade.wire.units`); None stands for the word `auto`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from colonnade.wire.errors import BadSetting
from colonnade.wire.flags import add_flags, flags_of, given, to_argv
from colonnade.wire.resolve import Origin, Resolved, resolve
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

__all__ = [
    "PROJECT_FILE",
    "REGISTRY",
    "SECTIONS",
    "EngineSettings",
    "FleetSettings",
    "GatewaySettings",
    "HomeSettings",
    "HttpSettings",
    "LogSettings",
    "Origin",
    "ReplicaSettings",
    "Resolved",
    "Setting",
    "add_flags",
    "flags_of",
    "given",
    "load",
    "resolve",
    "to_argv",
]

PROJECT_FILE = "colonnade.toml"
USER_FILE = "config.toml"


def load(flags: Mapping[str, object] | None = None, folder: Path | None = None) -> Resolved:
    """Resolve with this process's environment, `folder`/colonnade.toml (default: the working directory) and the
    user's file in the state folder that the other sources name. Raises BadSetting."""
    project = (folder or Path()) / PROJECT_FILE
    project_text = _text(project)
    above = resolve(flags or {}, os.environ, project_text, "", project_name=str(project))
    user = above.home / USER_FILE
    return resolve(flags or {}, os.environ, project_text, _text(user), project_name=str(project), user_name=str(user))


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise BadSetting(f"cannot read {file}: {error}", hint="make it a readable UTF-8 file, or remove it") from error
