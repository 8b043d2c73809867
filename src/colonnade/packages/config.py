"""Reading a package's config.yaml: the configuration, and everything that is wrong with it, with its line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path as File
from typing import Any

import msgspec
from pydantic import ValidationError

from colonnade.packages.fault import Fault, Path, Weight
from colonnade.packages.marked import Document, NotYaml, dotted
from colonnade.packages.schema.config import RESERVED, Config, conflicts
from colonnade.packages.schema.part import unknown

UNKNOWN = "this key is not known"


class Reading(msgspec.Struct, frozen=True):
    """What one file says. `config` is None for a file with errors."""

    config: Config | None
    faults: tuple[Fault, ...]
    """Errors first; then what a strict reader refuses; then warnings."""

    @property
    def errors(self) -> tuple[Fault, ...]:
        return tuple(each for each in self.faults if each.weight == "error")

    @property
    def refused(self) -> tuple[Fault, ...]:
        return tuple(each for each in self.faults if each.weight == "refused")


def read_config(file: File, shown: str = "") -> Reading:
    """`shown` is the file's name in faults."""
    shown = shown or file.name
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        other = file.with_suffix(".yml")
        said = f"{other.name} must be named {file.name}" if other.exists() else "there is no such file"
        return Reading(None, (Fault(shown, 1, said),))
    except (OSError, UnicodeDecodeError) as error:
        return Reading(None, (Fault(shown, 1, f"it cannot be read: {error}"),))
    return parse_config(text, shown)


def parse_config(text: str, shown: str = "config.yaml") -> Reading:
    try:
        document = Document(text)
    except NotYaml as error:
        return Reading(None, (Fault(shown, error.line, str(error)),))
    if not isinstance(document.value or {}, dict):
        return Reading(None, (Fault(shown, 1, "must be a mapping of keys to values"),))
    return _Parsing(document, shown).reading()


class _Parsing:
    def __init__(self, document: Document, shown: str) -> None:
        self._document = document
        self._shown = shown
        self._data: dict[str, Any] = {str(key): value for key, value in (document.value or {}).items()}
        if "hf_cache" in self._data and "model_cache" not in self._data:
            self._data["model_cache"] = self._data.pop("hf_cache") or []

    def reading(self) -> Reading:
        config, errors, broken = self._validate()
        errors += [self._fault(path, said) for sections, path, said in conflicts(config) if broken.isdisjoint(sections)]
        strange = list(unknown(config))
        refused = [self._fault(path, UNKNOWN, "refused") for path, loose in strange if not loose]
        warnings = [self._fault(path, UNKNOWN, "warning") for path, loose in strange if loose]
        faults = (*sorted(errors), *sorted(refused), *sorted([*warnings, *self._warnings(config)]))
        return Reading(None if errors else config, faults)

    def _validate(self) -> tuple[Config, list[Fault], set[str]]:
        """The configuration without the sections that are wrong, the faults, and the names of those sections."""
        try:
            return Config.model_validate(self._data), [], set()
        except ValidationError as error:
            faults = list(_described(error))
            broken = {str(path[0]) for path, _ in faults if path}
            rest = {key: value for key, value in self._data.items() if key not in broken}
            return Config.model_validate(rest), [self._fault(path, said) for path, said in faults], broken

    def _warnings(self, config: Config) -> Iterator[Fault]:
        for key, line in self._document.repeated:
            yield Fault(self._shown, line, f"{key} is written twice; the later one counts", key, "warning")
        for name in RESERVED:
            if name in config.environment_variables:
                yield self._fault(("environment_variables", name), "is set by whoever runs the package", "warning")
        if config.python_version == "py39":
            yield self._fault(("python_version",), "Python 3.9 has reached its end", "warning")

    def _fault(self, path: Path, said: str, weight: Weight = "error") -> Fault:
        return Fault(self._shown, self._document.line(path), said, dotted(path), weight)


def _described(error: ValidationError) -> Iterator[tuple[Path, str]]:
    for each in error.errors(include_url=False):
        path: Path = each["loc"]
        if path[:1] == ("trt_llm",) and path[1:2] in (("v1",), ("v2",)):
            path = ("trt_llm", *path[2:])  # the tag of the union is not in the file
        if field := each.get("ctx", {}).get("field"):
            path = (*path, field)
        shown = repr(each["input"])
        got = "" if each["type"] in ("wrong", "missing") or len(shown) > 80 else f", got {shown}"
        yield path, f"{each['msg']}{got}"


def facts(config: Config) -> Mapping[str, object]:
    """What a scheduler or a list shows of a configuration."""
    return {
        "accelerator": config.resources.accelerator.text,
        "build_commands": len(config.build_commands),
        "cpu": config.resources.cpu,
        "environment_variables": config.environment_variables,
        "external_package_dirs": config.external_package_dirs,
        "kind": config.kind,
        "memory": config.resources.memory,
        "model_cache": [each.repo_id for each in config.model_cache],
        "model_name": config.model_name,
        "predict_concurrency": config.runtime.predict_concurrency,
        "python_version": config.python_version,
        "requirements": len(config.requirements),
        "requirements_file": config.requirements_file,
        "secrets": sorted(config.secrets),
        "system_packages": config.system_packages,
        "transport": config.runtime.transport.kind,
        "use_gpu": config.resources.accelerator.accelerator is not None,
    }
