"""config.yaml: real ones against what Truss makes of them; faults with their lines."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from colonnade.packages.config import facts, parse_config, read_config

CONFIGS = Path(__file__).parent / "configs"
EXPECT = json.loads((CONFIGS / "EXPECT.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", sorted(EXPECT))
def test_it_is_read_as_truss_reads_it(name: str) -> None:
    expected = EXPECT[name]
    reading = read_config(CONFIGS / name)
    assert (reading.config is not None) == expected["accepted"], reading.faults
    assert bool(reading.refused) == ("push_rejects" in expected)
    if reading.config is not None:
        assert facts(reading.config) == expected["fields"]


FAULTY = {
    "every error at once": (
        "model_name: x\npython_version: py27\nresources:\n  cpu: lots\n  memory: 2Q\n"
        "runtime:\n  predict_concurrency: many\n",
        {2: "python_version", 4: "resources.cpu", 5: "resources.memory", 7: "runtime.predict_concurrency"},
    ),
    "across sections, beside others": (
        "requirements: [a]\nrequirements_file: b.txt\npython_version: py27\n",
        {2: "requirements_file", 3: "python_version"},
    ),
    "a missing key": ("model_cache:\n- repo_id: a/b\n  revision: abc\n", {2: "model_cache[0].use_volume"}),
    "a number for a text": ("spec_version: 2.0\n", {1: "spec_version"}),
    "an accelerator that is none": ("resources:\n  accelerator: H1000\n", {2: "resources.accelerator.accelerator"}),
    "mounted twice": (
        "weights:\n- {source: 'hf://a/b', mount_location: /m}\n- {source: 'hf://c/d', mount_location: /m}\n",
        {1: "weights"},
    ),
    "a scheme": ("weights:\n- source: ftp://a\n  mount_location: /m\n", {2: "weights[0].source"}),
    "credentials": (
        "base_image:\n  image: i\n  docker_auth:\n    auth_method: AWS_OIDC\n    secret_name: s\n",
        {3: "base_image.docker_auth.aws_oidc_role_arn"},
    ),
    "inside an engine": (
        "trt_llm:\n  build:\n    max_batch_size: 0\n    checkpoint_repository: {source: HF, repo: a/b}\n",
        {3: "trt_llm.build.max_batch_size"},
    ),
    "an engine on a card too old": (
        "resources:\n  accelerator: A10G\ntrt_llm:\n  build:\n    quantization_type: fp8\n"
        "    checkpoint_repository: {source: HF, repo: a/b}\n",
        {5: "trt_llm.build.quantization_type"},
    ),
    "a build option": ("build:\n  no_cache: true\n", {2: "build.no_cache"}),
    "workers": ("runtime:\n  num_workers: 2\n", {2: "runtime.num_workers"}),
}


@pytest.mark.parametrize("name", FAULTY)
def test_faults_have_their_line(name: str) -> None:
    text, expected = FAULTY[name]
    assert {each.line: each.where for each in parse_config(text).errors} == expected


def test_unknown_keys_are_kept_and_told() -> None:
    reading = parse_config(
        "model_name: x\nruntime:\n  predict_concurency: 2\nresources:\n  accelerator: T4\n  gpu: 1\n"
    )
    assert reading.config is not None
    assert [(each.line, each.where) for each in reading.refused] == [
        (3, "runtime.predict_concurency"),
        (6, "resources.gpu"),
    ]


@pytest.mark.parametrize(
    ("text", "line"), [("a: [1\nb: 2\n", 2), ("- a\n", 1), ("a: &x\n  b: *y\n", 2), ("a:\n\t- b\n", 2)]
)
def test_what_is_no_mapping(text: str, line: int) -> None:
    (fault,) = parse_config(text).faults
    assert fault.line == line


def test_a_key_written_twice_is_a_warning() -> None:
    (fault,) = parse_config("model_name: a\nresources:\n  cpu: '1'\n  cpu: '2'\n").faults
    assert (fault.line, fault.weight) == (4, "warning")


def test_an_empty_file_is_all_defaults() -> None:
    config = parse_config("").config
    assert config is not None
    assert (config.python_version, config.resources.memory_bytes) == ("py313", 2 << 30)


def test_a_file_with_the_other_ending_is_named(tmp_path: Path) -> None:
    (tmp_path / "config.yml").touch()
    (fault,) = read_config(tmp_path / "config.yaml").faults
    assert "must be named config.yaml" in fault.message
