"""A version of a package: its files as they were, its environment, named by what is in it. It never changes.

home/packages/versions/NAME-DIGEST/
    package/        the folder, or the one file; not to be written to
    environment     a link to its environment
    version.json    what it is
"""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Sequence
from pathlib import Path

import msgspec

from colonnade.packages.building.address import PREFIX
from colonnade.packages.building.digest import PASSED_OVER, digest_of, text_digest
from colonnade.packages.building.environment import BuildFailed, Environment, Tell, environment_for, run, wanted_by
from colonnade.packages.check import check
from colonnade.packages.fault import BadPackage, Fault
from colonnade.packages.folder import CONFIG, Package, open_code

_RECORD = "version.json"


class Version(msgspec.Struct, frozen=True):
    """`root` holds what the page of this module says; `file` is the name of a package that is one file."""

    name: str
    digest: str
    root: str
    file: str = ""

    @property
    def model(self) -> str:
        """What a deployment of it names as its model."""
        return f"{PREFIX}{self.root}" + (f"#{self.file}" if self.file else "")


def build(path: Path, home: Path, tell: Tell) -> Version:
    """The version that is there, else a new one. Raises BadPackage with all that `check` finds wrong, BuildFailed
    where it cannot be installed, or imported in what was installed."""
    package = open_code(path)
    if bad := [each for each in check(path).faults if each.weight == "error"]:
        raise BadPackage(path.name, bad)
    made = environment_for(package, home, tell)
    source = package.module if package.one_file else package.root
    beside = [digest_of(package.root / each) for each in package.config.external_package_dirs]
    digest = text_digest(digest_of(source), wanted_by(package).key, *beside)
    root = home / "packages" / "versions" / f"{package.name}-{digest}"
    version = Version(package.name, digest, str(root), source.name if package.one_file else "")
    if (root / _RECORD).exists():
        tell(f"version {digest} is built already")
        return version
    tell(f"importing {package.config.model_class_name} in its environment")
    try_import(package, made, tell)
    _keep(source, root, made, version, package.config.external_package_dirs)
    tell(f"version {digest}")
    return version


def try_import(package: Package, made: Environment, tell: Tell) -> None:
    """Raises BuildFailed with file and line."""
    what = package.module if package.one_file else package.root
    argv = [str(made.python), "-m", "colonnade.packages.building.trial", str(what)]
    environ = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    code, said = run(argv, package.root, environ, made.log, lambda line: None if line.startswith("{") else tell(line))
    if code == 0:
        return
    try:
        told = msgspec.json.decode(said[-1])
        fault = Fault(told["file"], told["line"], told["said"])
    except (msgspec.DecodeError, IndexError, KeyError, TypeError):
        words = said[-1] if said else f"the import ended the process with {code}"
        fault = Fault(package.module.name, 1, words)
    raise BuildFailed(package.root.name, [fault])


def _keep(source: Path, root: Path, made: Environment, version: Version, beside: Sequence[str]) -> None:
    """All at once: a version that is there is whole."""
    root.parent.mkdir(parents=True, exist_ok=True)
    new = Path(tempfile.mkdtemp(prefix=".new-", dir=root.parent))
    kept = new / "package"
    if source.is_file():
        kept.mkdir()
        shutil.copy2(source, kept)
    else:
        shutil.copytree(source, kept, ignore=_passed_over)
    _keep_beside(source, kept, beside)
    for file in (each for each in new.rglob("*") if each.is_file()):
        file.chmod(file.stat().st_mode & ~(stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH))
    (new / "environment").symlink_to(made.root)
    (new / _RECORD).write_bytes(msgspec.json.encode(version))
    try:
        new.rename(root)
    except OSError:  # somebody else was quicker, with the same
        shutil.rmtree(new)
        if not (root / _RECORD).exists():
            raise


def _keep_beside(source: Path, kept: Path, beside: Sequence[str]) -> None:
    """Folders outside the package, where it finds them by the same relative path. Raises BuildFailed for one that would
    lie outside the version."""
    for each in beside:
        place = Path(os.path.normpath(kept / each))
        if not place.is_relative_to(kept.parent):
            said = f"{each} is too far from the package: it may be beside it, as ../NAME"
            raise BuildFailed(source.name, [Fault(CONFIG, 1, said, "external_package_dirs")])
        if not place.is_relative_to(kept):
            shutil.copytree(source / each, place, ignore=_passed_over, dirs_exist_ok=True)


def _passed_over(_: str, names: list[str]) -> list[str]:
    return [each for each in names if each in PASSED_OVER]
