"""Versions and environments, with a wheel made on the spot: nothing is fetched."""

from __future__ import annotations

import base64
import hashlib
import os
import subprocess
import zipfile
from pathlib import Path

import pytest

from colonnade.packages.building.address import is_version, place_of
from colonnade.packages.building.digest import digest_of
from colonnade.packages.building.environment import BuildFailed, wanted_by
from colonnade.packages.building.version import build
from colonnade.packages.fault import BadPackage
from colonnade.packages.folder import open_package

MODEL = "import own_kit\n\n\nclass Model:\n    def predict(self, inputs):\n        return own_kit.double(inputs)\n"


def wheel(folder: Path, factor: int = 2) -> Path:
    """own_kit 1.0, as pip takes it."""
    files = {
        "own_kit.py": f"def double(value):\n    return value * {factor}\n",
        "own_kit-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: own-kit\nVersion: 1.0\n",
        "own_kit-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\nGenerator: us\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "own_kit-1.0.dist-info/RECORD"
    hashes = {
        name: base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=")
        for name, text in files.items()
    }
    lines = [f"{name},sha256={hashes[name].decode()},{len(text)}\n" for name, text in files.items()]
    made = folder / "own_kit-1.0-py3-none-any.whl"
    with zipfile.ZipFile(made, "w") as archive:
        for name, text in {**files, record: "".join(lines) + f"{record},,\n"}.items():
            archive.writestr(zipfile.ZipInfo(name), text)
    return made


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "doubling"
    (made / "model").mkdir(parents=True)
    wheel(made)
    (made / "config.yaml").write_text("requirements:\n- ./own_kit-1.0-py3-none-any.whl\n- numpy\n")
    (made / "model" / "model.py").write_text(MODEL)
    return made


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """For tests that are content with an environment that is there."""
    return tmp_path_factory.mktemp("home")


def test_a_version_has_what_it_asks_for_and_does_not_change(folder: Path, tmp_path: Path) -> None:
    said: list[str] = []
    home = tmp_path / "home"
    version = build(folder, home, said.append)
    assert any("Successfully installed own-kit-1.0" in line for line in said)
    python, package = place_of(version.model)
    assert is_version(version.model)
    code = "import own_kit, colonnade, numpy, sys; print(own_kit.double(21), sys.prefix)"
    told = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout
    assert told == f"42 {Path(python).parents[1]}\n"
    (folder / "model" / "model.py").write_text(MODEL + "# changed\n")
    assert (Path(package) / "model" / "model.py").read_text() == MODEL
    assert not os.stat(Path(package) / "model" / "model.py").st_mode & 0o222

    said.clear()
    changed = build(folder, home, said.append)
    assert changed.digest != version.digest
    assert not any("installed" in line for line in said), "the environment is the same"
    assert len(list((home / "packages" / "environments").glob("*/complete"))) == 1
    assert build(folder, home, said.append) == changed
    assert said[-1].endswith("is built already")

    wheel(folder, factor=3)
    assert wanted_by(open_package(folder)).key != Path(python).resolve().parents[1].name
    assert build(folder, home, said.append).digest not in (version.digest, changed.digest)


def test_what_cannot_be_installed_does_not_count(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    (folder / "config.yaml").write_text("requirements:\n- own-kit==7.0\n")
    with pytest.raises(BuildFailed) as failed:
        build(folder, tmp_path / "home", lambda _: None)
    assert "own-kit==7.0" in failed.value.hint
    assert list((tmp_path / "home" / "packages").glob("versions/*")) == []


@pytest.mark.parametrize(
    ("source", "where"),
    [
        ("import own_kit\nown_kit.triple(2)\n" + MODEL, "model/model.py:2: AttributeError: "),
        ("import sys\nsys.exit(5)\n" + MODEL, "model/model.py:2: SystemExit: 5"),
        ("class Model(object):\n    pass\n", "model/model.py:1: TypeError: "),
        ("import os\nos._exit(7)\n" + MODEL, "model.py:1: the import ended the process with 7"),
    ],
)
def test_the_class_is_imported_where_it_will_run(folder: Path, home: Path, source: str, where: str) -> None:
    (folder / "model" / "model.py").write_text(source)
    with pytest.raises(BuildFailed) as failed:
        build(folder, home, lambda _: None)
    assert failed.value.hint.startswith(where)


def test_what_check_finds_is_found_before_anything_is_installed(folder: Path, tmp_path: Path) -> None:
    (folder / "config.yaml").write_text("requirements: ['a b c']\nruntime:\n  predict_concurrency: 0\n")
    with pytest.raises(BadPackage) as bad:
        build(folder, tmp_path / "home", lambda _: None)
    assert len(bad.value.faults) == 3
    assert not (tmp_path / "home").exists()


def test_one_file_and_folders_beside_it(tmp_path: Path, home: Path) -> None:
    (tmp_path / "one.py").write_text("class Model:\n    def predict(self, inputs):\n        return inputs\n")
    _, package = place_of(build(tmp_path / "one.py", home, lambda _: None).model)
    assert open_package(package).name == "one"
    folder = tmp_path / "two"
    (folder / "model").mkdir(parents=True)
    (tmp_path / "common").mkdir()
    (tmp_path / "common" / "shared_by_two.py").write_text("VALUE = 1\n")
    (folder / "config.yaml").write_text("external_package_dirs: [../common]\n")
    (folder / "model" / "model.py").write_text(
        "from shared_by_two import VALUE\n\n\nclass Model:\n    def predict(self):\n        return VALUE\n"
    )
    _, package = place_of(build(folder, home, lambda _: None).model)
    assert (Path(package).parent / "common" / "shared_by_two.py").exists()


def test_a_digest_is_of_contents_alone(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name / "sub" / "__pycache__").mkdir(parents=True)
        (tmp_path / name / "sub" / "x.txt").write_text("same")
        (tmp_path / name / "sub" / "__pycache__" / "x.pyc").write_text(name)
    assert digest_of(tmp_path / "a") == digest_of(tmp_path / "b")
    (tmp_path / "b" / "sub" / "x.txt").chmod(0o755)
    assert digest_of(tmp_path / "a") != digest_of(tmp_path / "b")


def test_requirements_of_a_project(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "model.py").write_text(MODEL)
    (tmp_path / "config.yaml").write_text("requirements_file: pyproject.toml\n")
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "x"\ndependencies = ["numpy>=2", "click"]\n')
    assert wanted_by(open_package(tmp_path)).arguments == ("numpy>=2", "click")
    (tmp_path / "config.yaml").write_text("requirements_file: uv.lock\n")
    (tmp_path / "uv.lock").write_text("")
    with pytest.raises(BadPackage):
        wanted_by(open_package(tmp_path))
