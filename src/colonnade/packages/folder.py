"""A package on disk: a folder with a config.yaml, or one Python file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from colonnade.packages.config import Reading, read_config
from colonnade.packages.fault import BadPackage, Fault
from colonnade.packages.llm import Llm, llm_of
from colonnade.packages.mapping import wishes
from colonnade.packages.schema.config import Config

CONFIG = "config.yaml"


class Package(msgspec.Struct, frozen=True):
    """`root` is the working directory of its process; `module` the file with the class, absent for some kinds."""

    root: Path
    module: Path
    config: Config
    faults: tuple[Fault, ...] = ()
    """Of weights other than `error`."""

    @property
    def name(self) -> str:
        """The name that requests ask for: what config.yaml says, in characters that fit a URL, else the folder's."""
        told = self.config.model_name or (self.module.stem if self.one_file else self.root.name)
        return re.sub(r"[^A-Za-z0-9._-]+", "-", told).strip("-") or "model"

    @property
    def one_file(self) -> bool:
        return not (self.root / CONFIG).exists()

    @property
    def llm(self) -> Llm | None:
        """What it is where no Python serves it; its folder may be relative to the package."""
        return llm_of(self.config) if self.config.kind == "trt_llm" else None

    @property
    def data(self) -> Path:
        return self.root / self.config.data_dir

    @property
    def search_path(self) -> list[Path]:
        """Where its imports are looked for, beside what is installed: first to last."""
        beside = [self.root / each for each in self.config.external_package_dirs]
        return [self.root, *(each for each in (self.root / self.config.bundled_packages_dir, *beside) if each.is_dir())]

    @property
    def as_dict(self) -> Mapping[str, Any]:
        """The configuration as the class gets it: every key, defaults included."""
        return self.config.model_dump(mode="json")


def is_package(path: str | Path) -> bool:
    """Whether it looks like one; a model folder in the Hugging Face layout has a config.json and no config.yaml."""
    path = Path(path)
    if path.is_file():
        return path.suffix == ".py"
    return (path / CONFIG).is_file() or (path / "config.yml").is_file() or (path / "model" / "model.py").is_file()


def open_package(path: str | Path) -> Package:
    """Raises BadPackage with all faults of its configuration."""
    path = Path(path).resolve()
    if path.is_file():
        return Package(path.parent, path, Config(model_class_filename=path.name, model_module_dir="."))
    return opened(path, read_config(path / CONFIG))


def open_code(path: str | Path) -> Package:
    """One that has code, or a command, to run. Raises BadPackage."""
    package = open_package(path)
    if package.llm is not None:
        said = "there is no code in it: `colonnade serve` and `colonnade deploy` serve the model that it names"
        raise BadPackage(package.root.name, [Fault(CONFIG, 1, said, "trt_llm", "refused")])
    return package


def opened(root: Path, reading: Reading) -> Package:
    if reading.config is None:
        raise BadPackage(root.name, reading.errors)
    config = reading.config
    if lost := [wish for wish in wishes(config) if wish.decides]:
        raise BadPackage(root.name, [Fault(CONFIG, 1, wish.said, wish.key, "refused") for wish in lost])
    module = root / config.model_module_dir / config.model_class_filename
    if module.is_file() and config.trt_llm is not None:
        said = "a class around the platform's engine: hold ours instead, with `colonnade.llm.Engine` in its load()"
        raise BadPackage(root.name, [Fault(CONFIG, 1, said, "trt_llm", "refused")])
    if not module.is_file() and config.kind == "model_class":
        where = f"{config.model_module_dir}/{config.model_class_filename}"
        raise BadPackage(root.name, [Fault(where, 1, "there is no such file, and config.yaml names no other server")])
    return Package(root, module, config, reading.faults)
