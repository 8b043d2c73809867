"""A Python environment for what a package asks for, made once for each list of requirements.

It sees what Colonnade itself is installed with, behind its own: a requirement that is met there is not installed again,
and one that is not is installed beside it, and comes first.
"""

from __future__ import annotations

import fcntl
import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import venv
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from colonnade.packages.building.digest import file_digest, text_digest
from colonnade.packages.fault import BadPackage, Fault
from colonnade.packages.folder import CONFIG, Package
from colonnade.wire.errors import SetupError

Tell = Callable[[str], None]
"""Hears each line of a build as it comes."""
_DONE = "complete"
_LOG = "build.log"
_REMEMBERED = 12


class BuildFailed(BadPackage):
    """The installer's last words are in the hint."""

    code = "build_failed"


class Environment(msgspec.Struct, frozen=True):
    root: Path

    @property
    def python(self) -> Path:
        return self.root / "bin" / "python"

    @property
    def log(self) -> Path:
        return self.root / _LOG


class Wanted(msgspec.Struct, frozen=True):
    """Arguments of the installer, and what of their meaning is not in them."""

    arguments: tuple[str, ...]
    contents: tuple[str, ...]

    @property
    def key(self) -> str:
        return text_digest(sys.version, sys.prefix, *self.arguments, *self.contents)


def wanted_by(package: Package) -> Wanted:
    """Raises BadPackage for a file of requirements that cannot be used."""
    config, root = package.config, package.root
    lines = list(config.requirements)
    contents = [file_digest(root / each) for each in lines if (root / each).is_file()]
    if config.requirements_file is None:
        return Wanted(tuple(_arguments(lines)), tuple(contents))
    file = root / config.requirements_file
    try:
        text = file.read_text(encoding="utf-8")
        if file.name == "uv.lock":
            raise ValueError("uv.lock is not read: write requirements.txt by `uv export`")
        if file.suffix == ".toml":
            return Wanted(tuple(tomllib.loads(text).get("project", {}).get("dependencies", [])), ())
    except (OSError, ValueError) as error:
        raise BadPackage(root.name, [Fault(CONFIG, 1, str(error), "requirements_file")]) from error
    return Wanted(("-r", config.requirements_file), (text,))


def _arguments(lines: Sequence[str]) -> list[str]:
    """Each line is one argument, but for options, which are several."""
    found: list[str] = []
    for line in lines:
        text = line.strip()
        if text and not text.startswith("#"):
            found += text.split() if text.startswith("-") else [text]
    return found


def environment_for(package: Package, home: Path, tell: Tell) -> Environment:
    """The one that is there, else a new one below `home`. Raises BuildFailed."""
    wanted = wanted_by(package)
    made = Environment(home / "packages" / "environments" / wanted.key)
    with _held(made.root.with_suffix(".lock")):
        if (made.root / _DONE).exists():
            return made
        shutil.rmtree(made.root, ignore_errors=True)
        tell(f"environment {wanted.key}: {len(wanted.arguments)} requirements")
        _make(made)
        if wanted.arguments:
            _install(made, wanted, package, tell)
        (made.root / _DONE).touch()
    return made


def _make(made: Environment) -> None:
    venv.EnvBuilder(symlinks=True).create(made.root)
    [library] = (made.root / "lib").glob("python3*/site-packages")
    ours = sorted({sysconfig.get_path("purelib"), sysconfig.get_path("platlib")})
    lines = (f"import site; site.addsitedir({place!r})\n" for place in ours)
    (library / "_behind.pth").write_text("".join(lines), encoding="utf-8")


def _install(made: Environment, wanted: Wanted, package: Package, tell: Tell) -> None:
    argv = [*_installer(made), *wanted.arguments]
    environ = {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_RETRIES": "2", "PIP_NO_INPUT": "1", **os.environ}
    code, said = run(argv, package.root, environ, made.log, tell)
    if code != 0:
        faults = [Fault(CONFIG, 1, line, "requirements") for line in said if line.lower().startswith("error")]
        raise BuildFailed(package.root.name, faults or [Fault(CONFIG, 1, each, "requirements") for each in said[-3:]])


def _installer(made: Environment) -> list[str]:
    """pip where it can be imported, else uv. Raises SetupError for neither."""
    if importlib.util.find_spec("pip") is not None:
        return [sys.executable, "-m", "pip", "--python", str(made.python), "install", "--progress-bar", "off"]
    if (uv := shutil.which("uv")) is not None:
        return [uv, "pip", "install", "--python", str(made.python)]
    raise SetupError("there is neither pip nor uv", hint="install one of them beside colonnade", code="no_installer")


def run(argv: Sequence[str], cwd: Path, environ: dict[str, str], log: Path, tell: Tell) -> tuple[int, list[str]]:
    """The exit code, and the last lines; every line goes to `tell` as it comes, and into `log`."""
    said: list[str] = []
    with (
        log.open("a", encoding="utf-8") as kept,
        subprocess.Popen(
            argv, cwd=cwd, env=environ, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, errors="replace",
        ) as child,
    ):  # fmt: skip
        assert child.stdout is not None
        for line in child.stdout:
            kept.write(line)
            tell(line.rstrip())
            said = [*said, line.strip()][-_REMEMBERED:]
    return child.returncode, [each for each in said if each]


@contextmanager
def _held(lock: Path) -> Generator[None]:
    """Two builds of one environment: the second waits, and finds it made."""
    lock.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with lock.open("a") as opened:
        fcntl.flock(opened, fcntl.LOCK_EX)
        yield
