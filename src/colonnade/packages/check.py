"""Preflight: everything that is wrong with a package, found before it is served, with file and line."""

from __future__ import annotations

import ast
import os
import tomllib
from collections.abc import Iterator
from pathlib import Path

import msgspec

from colonnade.packages.config import read_config
from colonnade.packages.fault import Fault, Weight
from colonnade.packages.folder import CONFIG
from colonnade.packages.mapping import Wish, wishes
from colonnade.packages.marked import Document
from colonnade.packages.reading import faults_of_class
from colonnade.packages.schema.config import Config
from colonnade.packages.secrets import Secrets


class Verdict(msgspec.Struct, frozen=True):
    """`wishes` say what becomes of the configuration here."""

    faults: tuple[Fault, ...]
    wishes: tuple[Wish, ...] = ()

    @property
    def passed(self) -> bool:
        return not any(each.weight in ("error", "refused") for each in self.faults)


def check(path: Path) -> Verdict:
    """Reads, and runs none of the package's code."""
    if path.is_file():
        return Verdict(tuple(_source_faults(path, path.name, "Model")))
    reading = read_config(path / CONFIG)
    if reading.config is None:
        config = Config()
        module = path / config.model_module_dir / config.model_class_filename
        more = _source_faults(module, f"{config.model_module_dir}/{module.name}", "Model") if module.is_file() else ()
        return Verdict((*reading.faults, *more))
    place = _Placed(path, reading.config)
    found = [*reading.faults, *place.faults()]
    return Verdict(tuple(sorted(found, key=lambda each: (each.weight, each))), tuple(wishes(reading.config)))


class _Placed:
    """A configuration beside its files, on this machine."""

    def __init__(self, root: Path, config: Config) -> None:
        self._root = root
        self._config = config
        self._document = Document((root / CONFIG).read_text(encoding="utf-8"))

    def faults(self) -> Iterator[Fault]:
        yield from self._class()
        yield from self._files()
        yield from self._secrets()
        yield from self._resources()
        yield from self._limits()
        for wish in wishes(self._config):
            if wish.verdict == "refused":
                yield self._at(wish.key, wish.said, "refused" if wish.decides else "warning")

    def _at(self, key: str, said: str, weight: Weight = "error") -> Fault:
        return Fault(CONFIG, self._document.line(tuple(key.split("."))), said, key, weight)

    def _class(self) -> Iterator[Fault]:
        config = self._config
        if config.kind != "model_class" or config.bis_llm is not None:
            return
        shown = f"{config.model_module_dir}/{config.model_class_filename}"
        module = self._root / shown
        if not module.is_file():
            yield Fault(shown, 1, "there is no such file", "model_class_filename")
            return
        yield from _source_faults(module, shown, config.model_class_name)
        for file in sorted((self._root / config.bundled_packages_dir).rglob("*.py")):
            yield from _syntax(file, str(file.relative_to(self._root)))

    def _files(self) -> Iterator[Fault]:
        config = self._config
        for index, each in enumerate(config.external_package_dirs):
            if not (self._root / each).is_dir():
                line = self._document.line(("external_package_dirs", index))
                yield Fault(CONFIG, line, f"there is no folder {each}", f"external_package_dirs[{index}]")
        if config.requirements_file is not None:
            yield from self._requirements(self._root / config.requirements_file)

    def _requirements(self, file: Path) -> Iterator[Fault]:
        if not file.is_file():
            yield self._at("requirements_file", f"there is no file {self._config.requirements_file}")
        elif file.suffix == ".toml":
            try:
                tomllib.loads(file.read_text(encoding="utf-8"))
            except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
                yield Fault(file.name, 1, f"it is not TOML: {error}")

    def _secrets(self) -> Iterator[Fault]:
        for name in Secrets(self._config.secrets).missing():
            said = f"no value here: set the environment variable TRUSS_SECRET_{name}"
            yield self._at(f"secrets.{name}", said, "warning")

    def _resources(self) -> Iterator[Fault]:
        resources = self._config.resources
        try:
            wanted = resources.memory_bytes
        except ValueError:
            yield self._at("resources.memory", f"no amount of memory: {resources.memory!r}")
            return
        has = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        if wanted > has:
            yield self._at("resources.memory", f"{resources.memory} is more than this machine has", "warning")

    def _limits(self) -> Iterator[Fault]:
        runtime = self._config.runtime
        if runtime.predict_concurrency < 1:
            yield self._at("runtime.predict_concurrency", f"must be at least 1, got {runtime.predict_concurrency}")
        if runtime.streaming_read_timeout < 1:
            yield self._at("runtime.streaming_read_timeout", "must be at least a second")


def _source_faults(file: Path, shown: str, name: str) -> Iterator[Fault]:
    broken = list(_syntax(file, shown))
    yield from broken
    if not broken:
        yield from faults_of_class(ast.parse(file.read_bytes()), shown, name)


def _syntax(file: Path, shown: str) -> Iterator[Fault]:
    try:
        ast.parse(file.read_bytes())
    except SyntaxError as error:
        yield Fault(shown, error.lineno or 1, f"it does not compile: {error.msg}")
    except ValueError as error:
        yield Fault(shown, 1, f"it does not compile: {error}")
