"""LLM sections of config.yaml: what maps to our engine, what to another's server, and that nothing is passed over."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from colonnade.cli import cli
from colonnade.engine.folder import SHIPPED
from colonnade.packages.config import parse_config, read_config
from colonnade.packages.fault import BadPackage
from colonnade.packages.folder import open_code, open_package
from colonnade.packages.llm import Llm, llm_of
from colonnade.packages.llm_servers import SERVERS, command, lost
from colonnade.packages.mapping import wishes

CONFIGS = Path(__file__).parent / "configs"
TINY = SHIPPED / "colonnade-tiny"
SERVED = ("--port", "0", "--json", "--no-auth", "--stop-on-eof")
REAL = [
    name
    for name in sorted(each.name for each in CONFIGS.glob("*.yaml"))
    if (config := read_config(CONFIGS / name).config) is not None and config.trt_llm is not None
]


def written(build: str = "", runtime: str = "", rest: str = "", stack: str = "v1") -> Llm:
    """A section with these lines in it, beside a checkpoint."""
    said = "checkpoint_repository: {source: HF, repo: org/name}" if "checkpoint_repository" not in build else ""
    text = f"{rest}\ntrt_llm:\n  inference_stack: {stack}\n  build: {{{', '.join(filter(None, [said, build]))}}}\n"
    reading = parse_config(text + f"  runtime: {{{runtime}}}\n")
    assert reading.config is not None, reading.errors
    llm = llm_of(reading.config)
    assert llm is not None
    return llm


def verdicts(llm: Llm) -> dict[str, str]:
    return {wish.key.removeprefix("trt_llm."): wish.verdict for wish in llm.wishes}


@pytest.mark.parametrize("name", REAL)
def test_every_key_that_a_real_one_sets_is_answered(name: str) -> None:
    data = yaml.safe_load((CONFIGS / name).read_text(encoding="utf-8"))["trt_llm"]
    config = read_config(CONFIGS / name).config
    assert config is not None
    llm = llm_of(config)
    assert llm is not None
    asked = {f"{part}.{key}" for part in ("build", "runtime") for key in data.get(part) or {}}
    patches = (data.get("runtime") or {}).get("patch_kwargs", {})
    asked = (asked - {"runtime.patch_kwargs"}) | {f"runtime.patch_kwargs.{key}" for key in patches}
    settled = verdicts(llm)
    plain = {"build.quantization_type": "no_quant", "build.tensor_parallel_count": 1, "runtime.tensor_parallel_size": 1}
    for key in asked:
        part, _, rest = key.partition(".")
        if plain.get(key) == data[part].get(rest):
            continue
        placed = "runtime.patch_kwargs.model_path", "build.checkpoint_repository"
        assert key in settled or (key in placed and {"model_cache", "weights"} & settled.keys()), key


def test_which_of_the_real_ones_are_served() -> None:
    refused = {}
    for name in REAL:
        config = read_config(CONFIGS / name).config
        assert config is not None
        deciding = [wish.key for wish in wishes(config) if wish.decides]
        if deciding:
            refused[name] = deciding
    assert len(REAL) - len(refused) >= 45
    assert {key for keys in refused.values() for key in keys} == {
        "trt_llm.build.base_model",
        "trt_llm.build.checkpoint_repository",
        "trt_llm.runtime.webserver_default_route",
    }


def test_options_become_settings_of_our_engine() -> None:
    llm = written(
        "checkpoint_repository: {source: HF, repo: org/name, revision: v2}, max_seq_len: 4096, max_batch_size: 16, "
        "max_num_tokens: 1024, quantization_type: weights_int8",
        "served_model_name: org/name, enable_chunked_context: true, request_default_max_tokens: 9",
    )
    assert llm.model == "org/name@v2"
    assert llm.settings == {
        "max_context": 4096,
        "max_running": 16,
        "step_tokens": 1024,
        "quantize": "int8",
        "served_name": "org/name",
    }
    assert verdicts(llm)["runtime.request_default_max_tokens"] == "refused"
    second = written("", "max_seq_len: 2048, max_batch_size: 8, max_num_tokens: 512", stack="v2")
    assert second.settings == {"max_context": 2048, "max_running": 8, "step_tokens": 512}


def test_lookahead_becomes_guesses_from_the_request() -> None:
    sizes = "lookahead_windows_size: 3, lookahead_ngram_size: 8, lookahead_verification_set_size: 3"
    llm = written(f"speculator: {{speculative_decoding_mode: LOOKAHEAD_DECODING, {sizes}}}")
    assert llm.settings == {"speculation": "ngram", "draft_tokens": 41}


@pytest.mark.parametrize(
    ("build", "rest", "key"),
    [
        ("quantization_type: fp8_kv", "resources: {accelerator: H100}", "build.quantization_type"),
        ("tensor_parallel_count: 2", "resources: {accelerator: 'H100:2'}", "build.tensor_parallel_count"),
        ("pipeline_parallel_count: 2", "resources: {accelerator: 'H100:2'}", "build.pipeline_parallel_count"),
        ("sequence_parallel_count: 2", "resources: {accelerator: 'H100:2'}", "build.sequence_parallel_count"),
        (
            "tensor_parallel_count: 2, moe_expert_parallel_option: 2",
            "resources: {accelerator: 'H100:2'}",
            "build.moe_expert_parallel_option",
        ),
        ("lora_adapters: {a: {source: HF, repo: org/a}}", "", "build.lora_adapters"),
        ("quantization_config: {calib_size: 64}", "", "build.quantization_config"),
    ],
)
def test_what_our_engine_cannot_keep_to_is_refused_and_the_model_served(build: str, rest: str, key: str) -> None:
    llm = written(build, rest=rest)
    assert verdicts(llm)[key] == "refused"
    assert not any(wish.decides for wish in llm.wishes)
    assert verdicts(written("", "", "", "v1")).keys() == {"build.checkpoint_repository"}


@pytest.mark.parametrize(
    ("build", "runtime", "stack"),
    [
        ("base_model: encoder_bert", "", "v1"),
        ("base_model: encoder", "webserver_default_route: /rerank", "v1"),
        ("base_model: encoder", "webserver_default_route: /predict", "v1"),
        ("checkpoint_repository: {source: S3, repo: 's3://a/b'}", "", "v1"),
        ("checkpoint_repository: {source: HF, repo: gpt2}", "", "v1"),
    ],
)
def test_what_leaves_nothing_to_serve(build: str, runtime: str, stack: str) -> None:
    assert any(wish.decides for wish in written(build, runtime, stack=stack).wishes)


def test_no_checkpoint_at_all() -> None:
    reading = parse_config("trt_llm:\n  inference_stack: v2\n  build: {skip_build_result: true}\n  runtime: {}\n")
    assert reading.config is not None
    llm = llm_of(reading.config)
    assert llm is not None
    assert [wish.key for wish in llm.wishes if wish.decides] == ["trt_llm.build"]


@pytest.mark.parametrize(
    ("rest", "key"),
    [
        (
            "model_cache: [{repo_id: real/model, revision: main, use_volume: true, volume_folder: m}]",
            "model_cache",
        ),
        ("weights: [{source: 'hf://real/model', mount_location: /app/model_cache/m}]", "weights"),
    ],
)
def test_a_model_among_the_mounted_files_is_the_one(rest: str, key: str) -> None:
    llm = written("", "patch_kwargs: {model_path: /app/model_cache/m, backend: pytorch}", rest, "v2")
    assert llm.model == "real/model"
    assert verdicts(llm)[key] == "mapped"
    assert verdicts(llm)["runtime.patch_kwargs.backend"] == "refused"
    assert written("", "patch_kwargs: {model_path: /elsewhere}", rest, "v2").model == "org/name"


@pytest.mark.parametrize("kind", sorted(SERVERS))
def test_other_engines_take_more_of_it(kind: str) -> None:
    llm = written(
        "checkpoint_repository: {source: HF, repo: org/name, revision: v2}, max_seq_len: 4096, max_batch_size: 16, "
        "max_num_tokens: 1024, tensor_parallel_count: 2, pipeline_parallel_count: 2, quantization_type: fp8_kv",
        "kv_cache_free_gpu_mem_fraction: 0.8",
        "resources: {accelerator: 'H100:4'}",
    )
    said = command(kind, llm, 9000)
    for each in ("org/name", "v2", " 4096", " 16 ", " 1024", " 2 ", " 0.8", "--port 9000"):
        assert each in said
    assert ("fp8" in said) == (kind != "trtllm")
    assert lost(kind, llm) == (["trt_llm.build.quantization_type"] if kind == "trtllm" else [])
    assert lost(kind, written("lora_adapters: {a: {source: HF, repo: org/a}}")) == ["trt_llm.build.lora_adapters"]


def folder_of(root: Path, config: dict[str, Any]) -> Path:
    folder = root / "desk"
    folder.mkdir()
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    return folder


@pytest.fixture
def desk(tmp_path: Path) -> Path:
    """A folder that names the shipped model, as a Truss would."""
    checkpoint = {"source": "LOCAL", "repo": str(TINY)}
    build = {"base_model": "decoder", "checkpoint_repository": checkpoint, "max_seq_len": 512, "max_batch_size": 4}
    return folder_of(tmp_path, {"model_name": "Desk LLM", "trt_llm": {"build": build}})


@contextmanager
def served(folder: Path, home: Path, *flags: str, path: str = "") -> Iterator[tuple[str, Path]]:
    """The gateway's URL, and where the command's words are."""
    words = home / "words"
    home.mkdir()
    with words.open("wb") as said:
        process = subprocess.Popen(
            [sys.executable, "-m", "colonnade.cli", "serve", str(folder), *flags, *SERVED],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=said,
            env=os.environ | {"COLONNADE_HOME": str(home), "PATH": f"{path}{os.pathsep}{os.environ['PATH']}"},
        )
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, words.read_text()
    try:
        yield json.loads(line)["url"], words
    finally:
        process.communicate(timeout=60)


def asked(url: str, path: str, body: Any = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(url + path, data), timeout=60) as answer:
        return json.load(answer)


def test_the_folder_is_served_by_our_engine(desk: Path, tmp_path: Path) -> None:
    with served(desk, tmp_path / "home", "--threads", "1") as (url, words):
        (card,) = asked(url, "/v1/models")["data"]
        assert (card["id"], card["max_model_len"]) == ("Desk-LLM", 512)
        body = {"model": "Desk-LLM", "messages": [{"role": "user", "content": "Hello!"}], "max_tokens": 3}
        assert asked(url, "/v1/chat/completions", body)["usage"]["completion_tokens"] == 3
    assert "mapped: trt_llm.build.max_seq_len: --max-context 512" in words.read_text()


VLLM = '''#!{python}
"""As much of vLLM's server as is asked here: it says what it was started with."""
import json, sys
from http.server import BaseHTTPRequestHandler, HTTPServer

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.say({{"object": "list", "data": [{{"id": "org/name", "object": "model", "max_model_len": 4096}}]}})
    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        said = {{"role": "assistant", "content": " ".join(sys.argv[1:])}}
        choice = {{"index": 0, "message": said, "finish_reason": "stop"}}
        usage = {{"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}}
        self.say({{"id": "x", "object": "chat.completion", "created": 1, "choices": [choice], "usage": usage}})
    def say(self, what):
        body = json.dumps(what).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_):
        pass

HTTPServer(("127.0.0.1", int(sys.argv[sys.argv.index("--port") + 1])), Handler).serve_forever()
'''


def test_the_folder_is_served_by_another_engine(tmp_path: Path) -> None:
    """Its server is started with what config.yaml says, and stands behind the gateway."""
    program = tmp_path / "bin" / "vllm"
    program.parent.mkdir()
    program.write_text(VLLM.format(python=sys.executable))
    program.chmod(0o755)
    build = {"checkpoint_repository": {"source": "HF", "repo": "org/name"}, "max_seq_len": 4096}
    folder = folder_of(tmp_path, {"trt_llm": {"build": build, "runtime": {"served_model_name": "mine"}}})
    with served(folder, tmp_path / "home", "--engine-kind", "vllm", path=str(program.parent)) as (url, words):
        body = {"model": "mine", "messages": [{"role": "user", "content": "Hello!"}]}
        answer = asked(url, "/v1/chat/completions", body)
        said = answer["choices"][0]["message"]["content"]
    assert said.startswith("serve org/name --max-model-len 4096 --host 127.0.0.1 --port ")
    assert "mapped: vllm serve org/name" in words.read_text()


def test_check_says_what_becomes_of_it(desk: Path) -> None:
    found = CliRunner().invoke(cli, ["package", "check", str(desk), "--json"])
    assert found.exit_code == 0
    said = {wish["key"]: wish["said"] for wish in json.loads(found.stdout)["wishes"]}
    assert said["trt_llm.build.max_seq_len"] == "--max-context 512"


def test_there_is_no_code_in_it_to_build_or_watch(desk: Path) -> None:
    assert open_package(desk).llm is not None
    with pytest.raises(BadPackage) as refused:
        open_code(desk)
    assert "serve" in refused.value.hint
    (desk / "model").mkdir()
    (desk / "model" / "model.py").touch()
    with pytest.raises(BadPackage) as held:
        open_package(desk)
    assert "colonnade.llm.Engine" in held.value.hint
