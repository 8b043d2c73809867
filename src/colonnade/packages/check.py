"""Preflight: everything that is wrong with a package, found before it is served, with file and line."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import msgspec

from colonnade.packages.config import read_config
from colonnade.packages.fault import Fault, Weight
from colonnade.packages.folder import CONFIG
from colonnade.packages.imports import Providers
from colonnade.packages.limits import concerns, machine
from colonnade.packages.mapping import wishes
from colonnade.packages.marked import Document
from colonnade.packages.reading import faults_of_class
from colonnade.packages.requirements import Unreadable, requirements_of
from colonnade.packages.schema.config import Config
from colonnade.packages.using import faults_of_use
from colonnade.packages.wish import Wish


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
        self._asked: list[str] = []

    def faults(self) -> Iterator[Fault]:
        yield from self._files()
        yield from self._class()
        for said in concerns(self._config, self._root, machine()):
            yield self._at(said.key, said.said, said.weight)
        for wish in wishes(self._config):
            if wish.verdict == "refused":
                yield self._at(wish.key, wish.said, "refused" if wish.decides else "warning")

    def _at(self, key: str, said: str, weight: Weight = "error") -> Fault:
        return Fault(CONFIG, self._document.line(_steps(key)), said, key, weight)

    def _class(self) -> Iterator[Fault]:
        config = self._config
        if config.kind != "model_class" or config.bis_llm is not None:
            return
        shown = f"{config.model_module_dir}/{config.model_class_filename}"
        module = self._root / shown
        if not module.is_file():
            named = next((k for k in ("model_class_filename", "model_module_dir") if k in config.model_fields_set), "")
            told = self._at(named, f"there is no file {shown}") if named else Fault(shown, 1, "there is no such file")
            yield told
            return
        yield from _source_faults(module, shown, config.model_class_name)
        providers = Providers(self._places(), self._asked, self._open_ended)
        yield from self._source(module, shown, providers)
        if config.runtime.transport.kind == "websocket" and not _mentions(module, "websocket"):
            yield self._at("runtime.transport.kind", f"{shown} has no method `websocket`")
        for file in sorted((self._root / config.bundled_packages_dir).rglob("*.py")):
            shown = str(file.relative_to(self._root))
            yield from _syntax(file, shown)
            yield from self._source(file, shown, providers)

    def _source(self, file: Path, shown: str, providers: Providers) -> Iterator[Fault]:
        if tree := _tree(file):
            yield from providers.faults(tree, shown)
            yield from faults_of_use(tree, shown, self._config.secrets)

    def _places(self) -> list[Path]:
        config = self._config
        return [
            self._root,
            self._root / config.bundled_packages_dir,
            *(self._root / e for e in config.external_package_dirs),
        ]

    @property
    def _open_ended(self) -> bool:
        """Whether modules may come from where nobody can look."""
        config = self._config
        return bool(config.base_image or config.build_commands or config.requirements_file or config.system_packages)

    def _files(self) -> Iterator[Fault]:
        config = self._config
        for index, each in enumerate(config.external_package_dirs):
            if not (self._root / each).is_dir():
                yield self._at(f"external_package_dirs[{index}]", f"there is no folder {each}")
        for key in ("data_dir", "bundled_packages_dir", "examples_filename"):
            if key in config.model_fields_set and not (self._root / getattr(config, key)).exists():
                yield self._at(key, f"there is no {getattr(config, key)} in the package", "warning")
        for found in requirements_of(config.requirements):
            if isinstance(found, Unreadable):
                yield self._at(f"requirements[{found.line}]", found.said)
            else:
                self._asked.append(found.name)
        if config.requirements_file is not None:
            yield from self._requirements(self._root / config.requirements_file)

    def _requirements(self, file: Path) -> Iterator[Fault]:
        shown = self._config.requirements_file or file.name
        if not file.is_file():
            yield self._at("requirements_file", f"there is no file {shown}")
        elif file.suffix == ".txt":
            for found in requirements_of(file.read_text(encoding="utf-8", errors="replace").splitlines()):
                if isinstance(found, Unreadable):
                    yield Fault(shown, found.line + 1, found.said)
                else:
                    self._asked.append(found.name)
        elif file.suffix == ".toml":
            try:
                tomllib.loads(file.read_text(encoding="utf-8"))
            except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
                line = re.search(r"at line (\d+)", str(error))
                yield Fault(shown, int(line[1]) if line else 1, f"it is not TOML: {error}")


def _steps(key: str) -> tuple[str | int, ...]:
    """Of `a.b[2]`; names that people give may have dots in them."""
    section, _, name = key.partition(".")
    if section in ("secrets", "environment_variables"):
        return (section, name)
    return tuple(int(step) if step.isdigit() else step for step in re.split(r"[.\[\]]+", key) if step)


def _source_faults(file: Path, shown: str, name: str) -> Iterator[Fault]:
    broken = list(_syntax(file, shown))
    yield from broken
    if not broken:
        yield from faults_of_class(ast.parse(file.read_bytes()), shown, name)


def _tree(file: Path) -> ast.Module | None:
    try:
        return ast.parse(file.read_bytes())
    except (SyntaxError, ValueError):
        return None


def _mentions(file: Path, method: str) -> bool:
    """Whether a class there has it, or inherits what cannot be seen."""
    kinds = [each for each in ast.walk(_tree(file) or ast.Module([], [])) if isinstance(each, ast.ClassDef)]
    return any(kind.bases or any(getattr(each, "name", "") == method for each in kind.body) for kind in kinds)


def _syntax(file: Path, shown: str) -> Iterator[Fault]:
    try:
        ast.parse(file.read_bytes())
    except SyntaxError as error:
        yield Fault(shown, error.lineno or 1, f"it does not compile: {error.msg}")
    except ValueError as error:
        yield Fault(shown, 1, f"it does not compile: {error}")
