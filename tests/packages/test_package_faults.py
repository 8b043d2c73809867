"""Faults planted one at a time in a package that is well, each found at its file and line."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from colonnade.packages.check import check
from colonnade.packages.requirements import Requirement, Unreadable, requirements_of

CONFIG = "model_name: well\npython_version: py311\nsecrets:\n  token: null\n"
HEAD = "import json\n\nfrom beside import shout\n\n\nclass Model:\n"
INIT = "    def __init__(self, secrets):\n        self._secrets = secrets\n\n"
PREDICT = "    def predict(self, inputs):\n        return shout(json.dumps(inputs))\n"
MODEL = HEAD + INIT + PREDICT  # predict is at line 10, what is added at line 12
WELL = {
    "config.yaml": CONFIG,
    "model/model.py": MODEL,
    "packages/beside.py": "def shout(text):\n    return text.upper()\n",
}


class Planted(msgspec.Struct, frozen=True):
    """`files` are written over those of a package that is well; `where` is to blame, and `said` part of why."""

    files: Mapping[str, str]
    where: str
    said: str
    weight: str = "error"


def config(text: str, line: int, said: str, weight: str = "error") -> Planted:
    """`text` comes below the four lines that are well; `line` counts within it."""
    return Planted({"config.yaml": CONFIG + text}, f"config.yaml:{line + 4}", said, weight)


def model(text: str, line: int, said: str, weight: str = "error") -> Planted:
    """`text` is the whole of model.py."""
    return Planted({"model/model.py": text}, f"model/model.py:{line}", said, weight)


def method(text: str, said: str, line: int = 13) -> Planted:
    """Another method of the class, behind predict."""
    return model(f"{MODEL}\n    {text}\n", line, said)


FAULTS = {
    # Configuration.
    "not YAML": config("runtime: {predict_concurrency: 2\n", 2, "expected"),
    "a version of Python that is none": Planted(
        {"config.yaml": CONFIG.replace("py311", "py27")}, "config.yaml:2", "must be one of"
    ),
    "an unknown key": config("runtime:\n  predict_concurency: 2\n", 2, "not known", "refused"),
    "a key written twice": config("description: a\ndescription: b\n", 2, "written twice", "warning"),
    "a word for a number": config("runtime:\n  predict_concurrency: many\n", 2, "integer"),
    "a transport that is none": config("runtime:\n  transport:\n    kind: pigeon\n", 2, "tag"),
    "grpc": config("runtime:\n  transport:\n    kind: grpc\n", 3, "grpc is not served", "warning"),
    "a websocket that the class has not": config(
        "runtime:\n  transport:\n    kind: websocket\n", 3, "has no method `websocket`"
    ),
    "a variable that cannot be one": config("environment_variables:\n  A-B: c\n", 2, "no name of a variable"),
    "a variable of the server's own": config(
        "environment_variables:\n  COLONNADE_HOME: /x\n", 2, "settings of the server"
    ),
    "the wrong ending": Planted({"config.yaml": "", "config.yml": CONFIG}, "config.yaml:1", "must be named"),
    # Files.
    "a folder beside it that is not there": config("external_package_dirs:\n- ../gone\n", 2, "no folder ../gone"),
    "no data": config("data_dir: weights\n", 1, "no weights", "warning"),
    "a class file that is not there": config("model_class_filename: other.py\n", 1, "no file model/other.py"),
    "mounted twice": config(
        "weights:\n- {source: 'hf://a/b', mount_location: /m}\n- {source: 'hf://c/d', mount_location: /m}\n",
        1,
        "mounted twice",
    ),
    # Requirements.
    "a requirement that cannot be read": config("requirements:\n- numpy\n- torch == == 2\n", 3, "pip cannot read"),
    "a requirement asked for twice": config("requirements:\n- numpy==1.0\n- Numpy==2.0\n", 3, "a second time"),
    "a file of requirements that is not there": config("requirements_file: gone.txt\n", 1, "no file gone.txt"),
    "a line of that file": Planted(
        {"config.yaml": CONFIG + "requirements_file: reqs.txt\n", "reqs.txt": "# all\nnumpy>=2\nwhat is this\n"},
        "reqs.txt:3",
        "pip cannot read",
    ),
    "a pyproject that is no TOML": Planted(
        {"config.yaml": CONFIG + "requirements_file: pyproject.toml\n", "pyproject.toml": "[project]\nname = \n"},
        "pyproject.toml:2",
        "not TOML",
    ),
    "both ways at once": config("requirements: [numpy]\nrequirements_file: r.txt\n", 2, "choose"),
    # Secrets.
    "a secret without a value": Planted({}, "config.yaml:4", "TRUSS_SECRET_token", "warning"),
    "a secret that is not named": method('def load(self):\n        self.key = self._secrets["hf_key"]', "hf_key", 14),
    "a name that no secret may have": config("build:\n  secret_to_path_mapping:\n    'a b': /x\n", 2, "no name"),
    "a secret of the build that is not named": config(
        "build:\n  secret_to_path_mapping:\n    key: /x\n", 3, "not named under `secrets`"
    ),
    # Memory, capacity, time.
    "memory in no unit": config("resources:\n  memory: 2Q\n", 2, "no amount of memory"),
    "more memory than there is": config("resources:\n  memory: 4Pi\n", 2, "more than this machine has", "warning"),
    "more cores than there are": config("resources:\n  cpu: '4000'\n", 2, "more than the", "warning"),
    "an accelerator that is none": config("resources:\n  accelerator: H1000\n", 2, "no such accelerator"),
    "more accelerators than there are": config(
        "resources:\n  accelerator: H100:64\n", 2, "accelerators here", "warning"
    ),
    "more than one machine": config("resources:\n  node_count: 2\n", 2, "one machine", "refused"),
    "no concurrency": config("runtime:\n  predict_concurrency: 0\n", 2, "at least 1"),
    "no time between two pieces": config("runtime:\n  streaming_read_timeout: 0\n", 2, "at least a second"),
    "a check that comes before now": config(
        "runtime:\n  health_checks:\n    startup_threshold_seconds: -1\n", 3, "negative"
    ),
    "restarted before its traffic stops": config(
        "runtime:\n  health_checks:\n    restart_threshold_seconds: 60\n    stop_traffic_threshold_seconds: 90\n",
        4,
        "restarted after 60 s",
    ),
    # Other servers.
    "a server on the package's own port": config(
        "docker_server:\n  start_command: python -m http.server\n  server_port: 8080\n  predict_endpoint: /\n"
        "  readiness_endpoint: /\n  liveness_endpoint: /\n",
        3,
        "8080",
    ),
    "an endpoint that is no path": config(
        "docker_server:\n  start_command: python -m http.server\n  server_port: 8000\n  predict_endpoint: predict\n"
        "  readiness_endpoint: /\n  liveness_endpoint: /\n",
        4,
        "begin with /",
    ),
    "a command that no shell can read": config(
        "docker_server:\n  start_command: 'serve \"now'\n  server_port: 8000\n  predict_endpoint: /\n"
        "  readiness_endpoint: /\n  liveness_endpoint: /\n",
        2,
        "shell cannot read",
    ),
    "a program that is not here": config(
        "docker_server:\n  start_command: no-such-server --fast\n  server_port: 8000\n  predict_endpoint: /\n"
        "  readiness_endpoint: /\n  liveness_endpoint: /\n",
        2,
        "no-such-server",
        "warning",
    ),
    "an engine on a card too old": config(
        "resources:\n  accelerator: A10G\ntrt_llm:\n  build:\n    quantization_type: fp8\n"
        "    checkpoint_repository: {source: HF, repo: a/b}\n",
        5,
        "arithmetic",
    ),
    # The class.
    "no class": model("class Other:\n    pass\n", 1, "no class Model"),
    "no predict": model(HEAD + INIT, 6, "needs a method `predict`"),
    "no Python": model(MODEL + "    def load(self)\n", 12, "does not compile"),
    "a constructor that nobody can call": model(
        HEAD + INIT.replace("secrets)", "secrets, weights)") + PREDICT, 7, "weights"
    ),
    "something that nobody gives": method(
        'def setup(self, **kwargs):\n        return kwargs["weights"]', "weights", 14
    ),
    "no self": model(HEAD + INIT + PREDICT.replace("self, inputs", ""), 10, "has no self"),
    "too many arguments": model(HEAD + INIT + PREDICT.replace("inputs):", "inputs, a, b):"), 10, "at most"),
    "a request that does not say so": model(
        HEAD + INIT + PREDICT.replace("inputs):", "inputs, request):"), 10, "annotated as fastapi.Request"
    ),
    "a method twice": model(MODEL + "\n" + PREDICT, 10, "defined again"),
    "a health check with an argument": method("def is_healthy(self, deep): ...", "nothing but self"),
    "an async load": method("async def load(self): ...", "must not be async"),
    "an environment that is not taken": method("def setup_environment(self): ...", "takes one argument"),
    "predict beside a websocket": model(
        MODEL + "\n    async def websocket(self, ws): ...\n", 10, "does not go with `websocket`"
    ),
    "a websocket that is not async": model(
        "class Model:\n    def websocket(self, ws): ...\n", 2, "`websocket` must be async"
    ),
    "a stream and its postprocess": model(
        HEAD
        + INIT
        + "    def predict(self, inputs):\n        yield shout('')\n\n    def postprocess(self, out): ...\n",
        13,
        "predict streams",
    ),
    # Imports.
    "a relative import": model("from .helper import x\n\n" + MODEL, 1, "not relative"),
    "a module that nothing gives": model("import no_such_module_1\n" + MODEL, 1, "no_such_module_1"),
    "a module of the package that is not there": model("import model.helper\n" + MODEL, 1, "no module 'model.helper'"),
    "a name that its module has not": model(MODEL.replace("import shout", "import whisper"), 3, "no 'whisper'"),
    "a file beside it that does not compile": Planted(
        {"packages/broken.py": "x = 1\ny = (\n"}, "packages/broken.py:2", "does not compile"
    ),
}


def write(folder: Path, files: Mapping[str, str]) -> None:
    for name, text in (WELL | dict(files)).items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        if text or not name.endswith("config.yaml"):
            file.write_text(text)


def test_there_are_forty_and_the_package_is_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRUSS_SECRET_token", "x")
    write(tmp_path, {})
    assert len(FAULTS) >= 40
    assert check(tmp_path).faults == ()


@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_is_found_at_its_line(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    planted = FAULTS[name]
    if planted.files:
        monkeypatch.setenv("TRUSS_SECRET_token", "x")
    write(tmp_path, planted.files)
    found = check(tmp_path).faults
    at = [each for each in found if f"{each.file}:{each.line}" == planted.where and planted.said in each.message]
    assert [each.weight for each in at] == [planted.weight], found
    weights = {"error": 2, "refused": 1, "warning": 0}
    assert all(
        each in at or weights[each.weight] < weights[planted.weight] or not weights[each.weight] for each in found
    )


def test_data_that_does_not_fit_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRUSS_SECRET_token", "x")
    write(tmp_path, {"config.yaml": CONFIG + "resources:\n  memory: 1Gi\n", "data/weights.bin": ""})
    os.truncate(tmp_path / "data" / "weights.bin", 3 << 30)  # a hole: no disk is used
    [fault] = check(tmp_path).faults
    assert (fault.line, fault.where) == (6, "resources.memory")
    assert "3.0 GiB" in fault.message


def test_every_error_comes_at_once(tmp_path: Path) -> None:
    texts = [
        each.files["config.yaml"].removeprefix(CONFIG)
        for each in map(
            FAULTS.get, ("a requirement that cannot be read", "a check that comes before now", "memory in no unit")
        )
        if each
    ]
    write(tmp_path, {"config.yaml": CONFIG + "".join(texts[:2]), "model/model.py": "import no_such_module_1\n" + MODEL})
    found = {f"{each.file}:{each.line}" for each in check(tmp_path).faults}
    assert found >= {"config.yaml:4", "config.yaml:7", "config.yaml:10", "model/model.py:1"}


@given(st.text(max_size=60))
def test_any_line_is_read_or_refused(line: str) -> None:
    for found in requirements_of([line]):
        assert isinstance(found, Requirement | Unreadable)


@pytest.mark.parametrize(
    ("line", "name", "pins"),
    [
        ("numpy", "numpy", ""),
        ("Torch_Vision >= 0.1, <2 ; python_version < '3.12'", "torch-vision", ">=0.1,<2"),
        ("uvicorn[standard]==0.3  # pinned", "uvicorn", "==0.3"),
        ("name @ https://host/name-1.zip", "name", ""),
        ("git+https://github.com/a/b.git@v1#egg=b_c", "b-c", ""),
        ("./wheels/own_kit-1.0-py3-none-any.whl", "own-kit", ""),
        ("https://host/x.tar.gz", "", ""),
        ("torch==2.6.0+cu124 --hash=sha256:00", "torch", "==2.6.0+cu124"),
        ("torch==2.6.*", "torch", "==2.6.*"),
    ],
)
def test_requirements_as_pip_takes_them(line: str, name: str, pins: str) -> None:
    assert list(requirements_of([line])) == [Requirement(0, name, pins)]


def test_options_and_blank_lines_are_passed_over() -> None:
    assert list(requirements_of(["", "# a", "--extra-index-url https://x/y", "-r other.txt"])) == []
