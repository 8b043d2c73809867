"""A replica's command line and environment, from its deployment. Pure but for the name of the Python that runs us."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from msgspec.structs import replace

from colonnade.drivers import ADDRESS, ReplicaSpec
from colonnade.fleet.orders import Start
from colonnade.fleet.versions import template
from colonnade.packages.building.address import is_version, place_of
from colonnade.replica.arrival import reference_of
from colonnade.wire.errors import BadSetting, InvalidRequest
from colonnade.wire.routes import Resources
from colonnade.wire.settings import REGISTRY

SECTIONS = ("engine", "replica", "http")
_SETTINGS = {each.name: each for each in REGISTRY if each.section in SECTIONS}


def replica_spec(start: Start, home: Path) -> ReplicaSpec:
    """What a driver needs to begin this life. `home`: the state folder, whose config.toml the replica reads too."""
    wanted = start.deployment
    flags = settings_argv(wanted.settings, wanted.model)
    argv = (
        *_program(wanted.model),
        *("--host", ADDRESS, "--port", "0", "--epoch", start.epoch, "--served-name", wanted.name),
        *flags,
    )
    env = {"COLONNADE_HOME": str(home)}
    foreign = any(flag.startswith("--engine-url=") for flag in flags)
    fresh = foreign or is_version(wanted.model) or reference_of(wanted.model) is not None
    warm = () if fresh else (*argv[:2], "colonnade.replica.warm", "--model", wanted.model, *flags)
    spec = ReplicaSpec(id=start.id, epoch=start.epoch, argv=argv, env=env, labels=labels(start), warm=warm)
    return granted(spec, wanted.resources)


def granted(spec: ReplicaSpec, resources: Resources | None) -> ReplicaSpec:
    """With what it takes: cores, or GPUs of whatever type, and memory. Where nothing was said, it runs anywhere."""
    if resources is None:
        return spec
    if resources.type == "cpu":
        return replace(spec, cores=math.ceil(resources.count), memory=resources.memory)
    return replace(spec, gpus=resources.count, memory=resources.memory)


def _program(model: str) -> tuple[str, ...]:
    """The serving process of a model, or of a version of a package in its own environment."""
    if not is_version(model):
        return (sys.executable, "-m", "colonnade.replica", "--model", model)
    python, package = place_of(model)
    return (python, "-m", "colonnade.replica.package", "--package", package)


def labels(start: Start) -> dict[str, str]:
    """What the next agent must know of a life that it finds."""
    return {
        "deployment": start.deployment.name,
        "generation": str(start.deployment.generation),
        "template": template(start.deployment),
        "restarts": str(start.restarts),
    }


def settings_argv(settings: Mapping[str, str], model: str = "") -> list[str]:
    """Settings of a deployment as flags of a replica. Raises InvalidRequest for one that there is not, or that the
    model's kind does not have, or whose value does not hold."""
    sections = SECTIONS if not is_version(model) else tuple(each for each in SECTIONS if each != "engine")
    return [_flag(name, text, sections) for name, text in sorted(settings.items())]


def _flag(name: str, text: str, sections: Sequence[str]) -> str:
    setting = _SETTINGS.get(name.removeprefix("engine.").replace("-", "_"))
    if setting is None or setting.section not in sections:
        raise InvalidRequest(
            f"there is no setting {name!r} of a replica",
            hint="`colonnade config show` lists them; those of " + ", ".join(sections) + " may stand here",
            param=f"settings.{name}",
        )
    try:
        value = setting.read(text)
    except BadSetting as error:
        raise InvalidRequest(error.message, hint=error.hint, param=f"settings.{name}") from error
    if setting.is_switch:
        return setting.flag if value else setting.flag.replace("--", "--no-", 1)
    return f"{setting.flag}={text}"
