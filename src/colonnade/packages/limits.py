"""What a configuration asks of a machine and of time, against what there is."""

from __future__ import annotations

import os
import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import msgspec

from colonnade.packages.fault import Weight
from colonnade.packages.schema.config import Config
from colonnade.packages.secrets import Secrets


class Concern(msgspec.Struct, frozen=True):
    """`key` of config.yaml, and what is wrong with its value here."""

    key: str
    said: str
    weight: Weight = "error"


class Machine(msgspec.Struct, frozen=True):
    """`memory` in bytes."""

    cores: int
    memory: int
    accelerators: int


def machine() -> Machine:
    """This one."""
    cards = [each for each in Path("/dev").glob("nvidia*") if each.name.removeprefix("nvidia").isdigit()]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return Machine(len(os.sched_getaffinity(0)), memory, len(cards))


def concerns(config: Config, root: Path, here: Machine) -> Iterator[Concern]:
    """Raises nothing: what cannot be read is said."""
    yield from _secrets(config)
    yield from _memory(config, root, here)
    yield from _capacity(config, here)
    yield from _timeouts(config)
    yield from _environment(config)
    yield from _server(config)


def _secrets(config: Config) -> Iterator[Concern]:
    for name in Secrets(config.secrets).missing():
        said = f"no value here: set the environment variable TRUSS_SECRET_{name}"
        yield Concern(f"secrets.{name}", said, "warning")
    for name in config.build.secret_to_path_mapping:
        if name not in config.secrets:
            said = f"{name} is not named under `secrets`"
            yield Concern(f"build.secret_to_path_mapping.{name}", said)


def _memory(config: Config, root: Path, here: Machine) -> Iterator[Concern]:
    resources = config.resources
    try:
        wanted = resources.memory_bytes
    except ValueError:
        yield Concern("resources.memory", f"no amount of memory: {resources.memory!r}")
        return
    if wanted > here.memory:
        yield Concern("resources.memory", f"{resources.memory} is more than this machine has", "warning")
    if wanted <= 0:
        yield Concern("resources.memory", "nothing runs in no memory")
    data = root / config.data_dir
    held = sum(each.stat().st_size for each in data.rglob("*") if each.is_file()) if data.is_dir() else 0
    if held > wanted > 0 and not resources.accelerator.accelerator and not resources.instance_type:
        said = f"{config.data_dir}/ holds {held / 2**30:.1f} GiB, resources.memory is {resources.memory}"
        yield Concern("resources.memory", said)


def _capacity(config: Config, here: Machine) -> Iterator[Concern]:
    resources = config.resources
    cores = _cores(resources.cpu)
    if cores is None or cores <= 0:
        yield Concern("resources.cpu", f"no amount of CPU: {resources.cpu!r}")
    elif cores > here.cores:
        yield Concern("resources.cpu", f"{resources.cpu} is more than the {here.cores} cores here", "warning")
    card = resources.accelerator
    if card.accelerator and card.count > here.accelerators:
        said = f"{card.text} is asked for, and there are {here.accelerators} accelerators here"
        yield Concern("resources.accelerator", said, "warning")
    if (resources.node_count or 1) > 1:
        yield Concern("resources.node_count", "a package runs on one machine", "refused")
    if config.runtime.predict_concurrency < 1:
        yield Concern("runtime.predict_concurrency", f"must be at least 1, got {config.runtime.predict_concurrency}")


def _cores(text: str) -> float | None:
    try:
        return float(text.removesuffix("m")) / (1000 if text.endswith("m") else 1)
    except ValueError:
        return None


def _timeouts(config: Config) -> Iterator[Concern]:
    if config.runtime.streaming_read_timeout < 1:
        yield Concern("runtime.streaming_read_timeout", "must be at least a second")
    checks, at = config.runtime.health_checks, "runtime.health_checks"
    for name in type(checks).model_fields:
        if (getattr(checks, name) or 0) < 0:
            yield Concern(f"{at}.{name}", "must not be negative")
    stop, restart = checks.stop_traffic_threshold_seconds, checks.restart_threshold_seconds
    if stop and restart and stop > restart > 0:
        said = f"traffic would stop after {stop} s, and the replica is restarted after {restart} s"
        yield Concern(f"{at}.stop_traffic_threshold_seconds", said)
    transport = config.runtime.transport
    if transport.kind == "websocket" and (transport.ping_interval_seconds or 1) <= 0:
        yield Concern("runtime.transport.ping_interval_seconds", "must be above 0")


def _environment(config: Config) -> Iterator[Concern]:
    for name in config.environment_variables:
        if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name) is None:
            yield Concern(f"environment_variables.{name}", f"no name of a variable: {name!r}")
        elif name.startswith("COLONNADE_"):
            said = "variables that begin like this are settings of the server, and not the package's"
            yield Concern(f"environment_variables.{name}", said)


def _server(config: Config) -> Iterator[Concern]:
    server = config.docker_server
    if server is None:
        return
    for name in ("predict_endpoint", "readiness_endpoint", "liveness_endpoint"):
        if not getattr(server, name).startswith("/"):
            yield Concern(f"docker_server.{name}", "must begin with /")
    if not 0 < server.server_port < 65536 or server.server_port == 8080:
        said = "must be from 1 to 65535, and not 8080, which is the package's own"
        yield Concern("docker_server.server_port", said)
    try:
        first = shlex.split(server.start_command or "")[:1]
    except ValueError as error:
        yield Concern("docker_server.start_command", f"a shell cannot read it: {error}")
        return
    if first and "=" not in first[0] and shutil.which(first[0]) is None:
        said = f"there is no program {first[0]!r} here"
        yield Concern("docker_server.start_command", said, "warning")
