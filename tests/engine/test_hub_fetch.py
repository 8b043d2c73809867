"""Models from a hub: real huggingface_hub against a local server, fetched in the process that a replica starts."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import hub_server
import msgspec
import numpy as np
import pytest
from hub_server import COMMIT, Hub, environment
from huggingface_hub import constants
from safetensors.numpy import save_file

from colonnade.engine.folder import SHIPPED, ModelFolder
from colonnade.engine.hub import transfer
from colonnade.engine.hub.fetch import Fetch
from colonnade.engine.hub.reference import Reference
from colonnade.engine.hub.said import Doing, Fetched, Said
from colonnade.engine.hub.transfer import Transfer
from colonnade.wire.errors import SetupError

TINY = SHIPPED / "colonnade-tiny"
WEIGHTS = "model.safetensors"


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    with hub_server.serving() as hub:
        repo = tmp_path / "repo"
        shutil.copytree(TINY, repo)
        (repo / "pytorch_model.bin").write_bytes(b"not read")
        hub.repos["lab/tiny"] = repo
        yield hub


class Fetching:
    """`python -m colonnade.engine.hub`, as a replica starts it."""

    def __init__(self, hub: Hub, home: Path, repo: str = "lab/tiny", revision: str = "main", **env: str) -> None:
        argv = [sys.executable, "-W", "error", "-m", "colonnade.engine.hub", repo, revision, str(home / "notes")]
        self.process = subprocess.Popen(
            argv, env=environment(hub, home, **env), stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )

    def said(self) -> list[Said]:
        out, err = self.process.communicate(timeout=60)
        found = [msgspec.json.decode(line, type=Said) for line in out.splitlines()]
        assert found, err.decode()
        return found

    def folder(self) -> Path:
        last = self.said()[-1]
        assert isinstance(last, Fetched), last
        return Path(last.folder)


@pytest.fixture
def here(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    """The hub of this process, too."""
    monkeypatch.setattr(constants, "ENDPOINT", hub.url)
    template = hub.url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hf" / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    return hub


def fetched(home: Path, repo: str = "lab/tiny", revision: str = "main") -> Path:
    return Fetch(Reference(repo, revision), home / "notes", lambda text: None).run()


def refusal(home: Path, repo: str = "lab/tiny", revision: str = "main") -> SetupError:
    with pytest.raises(SetupError) as caught:
        fetched(home, repo, revision)
    assert caught.value.hint
    return caught.value


def test_what_the_engine_reads_is_fetched_and_no_more(hub: Hub, tmp_path: Path) -> None:
    said = Fetching(hub, tmp_path).said()
    assert isinstance(said[-1], Fetched)
    folder = Path(said[-1].folder)
    assert folder.name == COMMIT
    assert (folder.parent.parent / "refs" / "main").read_text() == COMMIT
    assert all(file.read_bytes() == (TINY / file.name).read_bytes() for file in folder.iterdir())
    assert ModelFolder.open(folder).weight_files == (folder / WEIGHTS,)
    assert hub.asked("pytorch_model.bin") == []
    texts = [each.text for each in said if isinstance(each, Doing)]
    assert texts[0] == f"fetching lab/tiny: asking {hub.url}"
    assert any("MiB (0 %)" in text for text in texts)


def test_a_second_start_needs_no_network(hub: Hub, tmp_path: Path) -> None:
    first = Fetching(hub, tmp_path).folder()
    hub.requests.clear()
    hub.down = True
    assert Fetching(hub, tmp_path).folder() == first
    assert Fetching(hub, tmp_path, HF_HUB_OFFLINE="1").folder() == first
    assert hub.requests == []


def test_what_another_program_fetched_is_compared_and_not_fetched_again(hub: Hub, tmp_path: Path) -> None:
    first = Fetching(hub, tmp_path).folder()
    shutil.rmtree(tmp_path / "notes")
    hub.requests.clear()
    assert Fetching(hub, tmp_path, HF_HUB_OFFLINE="1").folder() == first
    assert Fetching(hub, tmp_path).folder() == first
    assert {request.method for request in hub.requests if "/resolve/" in request.path} == {"HEAD"}


def test_a_named_revision(here: Hub, tmp_path: Path) -> None:
    folder = fetched(tmp_path, revision="v1")
    assert (folder.parent.parent / "refs" / "v1").read_text() == COMMIT
    assert here.asked("/api/models/lab/tiny/revision/v1")


def test_shards(here: Hub, tmp_path: Path) -> None:
    whole = here.repos["lab/tiny"] / WEIGHTS
    whole.rename(whole.with_name("model-00001-of-00001.safetensors"))
    shards = {"a": "model-00001-of-00001.safetensors"}
    (here.repos["lab/tiny"] / "model.safetensors.index.json").write_text(json.dumps({"weight_map": shards}))
    folder = fetched(tmp_path)
    assert [file.name for file in ModelFolder.open(folder).weight_files] == list(shards.values())


def test_a_cut_connection_is_taken_up_where_it_ended(here: Hub, tmp_path: Path) -> None:
    here.cut, here.cuts = 300_000, 1
    folder = fetched(tmp_path)
    assert (folder / WEIGHTS).read_bytes() == (TINY / WEIGHTS).read_bytes()
    ranges = [request.range for request in here.requests if request.storage and request.method == "GET"]
    assert [each for each in ranges if each] == ["bytes=300000-"]


def test_a_killed_process_is_taken_up_where_it_ended(hub: Hub, tmp_path: Path) -> None:
    """The server stops in the middle of a file; the process dies there; the next one asks for the rest alone."""
    hub.cut, hub.cuts, hub.hold = 300_000, 1, threading.Event()
    fetching = Fetching(hub, tmp_path)
    assert hub.held.wait(60)
    partials = _until_partial(tmp_path)
    fetching.process.send_signal(signal.SIGKILL)
    fetching.process.communicate()
    size = partials.stat().st_size
    hub.requests.clear()
    folder = Fetching(hub, tmp_path).folder()
    assert (folder / WEIGHTS).read_bytes() == (TINY / WEIGHTS).read_bytes()
    assert f"bytes={size}-" in [request.range for request in hub.requests if request.storage]


def _until_partial(home: Path) -> Path:
    """The file that is under way, once something of it is on the disk."""
    waited = threading.Event()
    for _ in range(600):
        found = [file for file in home.glob("hf/hub/*/blobs/*.partial") if file.stat().st_size]
        if found:
            return found[0]
        waited.wait(0.05)
    raise AssertionError("nothing was written")


def test_two_processes_at_once(hub: Hub, tmp_path: Path) -> None:
    """The first is held in the middle of a file; the second waits for it, and fetches no content a second time."""
    hub.cut, hub.cuts, hub.hold = 300_000, 1, threading.Event()
    first = Fetching(hub, tmp_path)
    assert hub.held.wait(60)
    second = Fetching(hub, tmp_path)
    while not [request for request in hub.requests if request.path.startswith("/api/")][1:]:
        threading.Event().wait(0.01)
    hub.hold.set()
    assert first.folder() == second.folder()
    whole = [request for request in hub.requests if request.storage and request.method == "GET" and not request.range]
    assert len(whole) == 2  # tokenizer.json and the weights, once each
    assert [file.name for file in (tmp_path / "hf/hub/models--lab--tiny/blobs").iterdir() if "." in file.name] == []


def test_other_content_than_the_hub_states_is_refused(here: Hub, tmp_path: Path) -> None:
    here.spoil = True
    fault = refusal(tmp_path)
    assert fault.reason == "corrupt_download"
    assert "is not what the hub states" in fault.message
    here.spoil = False
    assert (fetched(tmp_path) / WEIGHTS).is_file()


def test_content_that_was_spoilt_on_the_disk_is_refused(here: Hub, tmp_path: Path) -> None:
    blob = (fetched(tmp_path) / WEIGHTS).resolve()
    shutil.rmtree(tmp_path / "notes")
    content = blob.read_bytes()
    blob.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    fault = refusal(tmp_path)
    assert fault.reason == "corrupt_download"
    assert str(blob) in fault.hint


def test_a_token_is_for_the_hub_alone(here: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here.gated, here.tokens = {"lab/tiny"}, {"hf_good"}
    monkeypatch.setenv("HF_TOKEN", "hf_good")
    fetched(tmp_path)
    assert {request.authorization for request in here.requests if not request.storage} == {"Bearer hf_good"}
    assert {request.authorization for request in here.requests if request.storage} == {""}


def test_a_disk_that_is_too_small_is_seen_before_any_weight_comes(
    here: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file of many bytes that are nowhere: its size is enough."""
    sparse = here.repos["lab/tiny"] / WEIGHTS
    os.truncate(sparse, 100 << 20)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(1 << 40, 1 << 40, 128 << 20))
    fault = refusal(tmp_path)
    assert fault.reason == "disk_full"
    assert f"{164 << 20} bytes are needed, {128 << 20} are free" in fault.message
    assert "HF_HOME" in fault.hint
    assert not [each for each in here.requests if each.storage and each.path == f"/{hub_server.sha256(sparse)}"]


def test_a_disk_that_fills_up_meanwhile(here: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Transfer, path: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(Transfer, "into", full)
    assert refusal(tmp_path).reason == "disk_full"


def test_a_folder_that_cannot_be_written(here: Hub, tmp_path: Path) -> None:
    (tmp_path / "hf").write_text("a file in its place")
    assert "HF_HOME" in refusal(tmp_path).hint


@pytest.mark.parametrize(
    ("repo", "revision", "change", "code", "message", "hint"),
    [
        ("lab/none", "main", {}, "model_not_found", "there is no repository lab/none", "HF_TOKEN"),
        ("lab/tiny", "v9", {}, "revision_not_found", "no revision 'v9'", "branches"),
        ("lab/gated", "main", {}, "hub_refused", "lab/gated is gated", "HF_TOKEN"),
        ("lab/tiny", "main", {"HF_HUB_OFFLINE": True}, "hub_unreachable", "HF_HUB_OFFLINE is set", "HF_ENDPOINT"),
        ("lab/tiny", "main", {"ENDPOINT": "http://127.0.0.1:9"}, "hub_unreachable", "refused", "HF_ENDPOINT"),
    ],
)
def test_refusals(
    here: Hub,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    repo: str,
    revision: str,
    change: dict[str, object],
    code: str,
    message: str,
    hint: str,
) -> None:
    here.repos["lab/gated"] = here.repos["lab/tiny"]
    here.gated = {"lab/gated"}
    for name, value in change.items():
        monkeypatch.setattr(constants, name, value)
    fault = refusal(tmp_path, repo, revision)
    assert fault.reason == code
    assert message in fault.message
    assert hint in fault.hint


def test_a_wrong_token(here: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here.gated = {"lab/tiny"}
    monkeypatch.setenv("HF_TOKEN", "hf_bad")
    assert refusal(tmp_path).reason == "hub_refused"


def test_a_connection_that_brings_nothing_any_more(here: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "PAUSE", 0.0)
    here.cut, here.cuts, here.deaf = 300_000, 1, True
    assert refusal(tmp_path).reason == "hub_unreachable"
    partial = next((tmp_path / "hf").glob("hub/*/blobs/*.partial"))
    assert partial.stat().st_size == 300_000
    here.deaf = False
    assert (fetched(tmp_path) / WEIGHTS).read_bytes() == (TINY / WEIGHTS).read_bytes()


def test_a_server_without_ranges(here: Hub, tmp_path: Path) -> None:
    here.cut, here.cuts, here.ranges = 300_000, 1, False
    assert (fetched(tmp_path) / WEIGHTS).read_bytes() == (TINY / WEIGHTS).read_bytes()


def test_a_model_that_cannot_be_served_is_refused_before_its_weights_come(here: Hub, tmp_path: Path) -> None:
    config = here.repos["lab/tiny"] / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"architectures": ["MambaForCausalLM"]}))
    fault = refusal(tmp_path)
    assert "MambaForCausalLM" in fault.message
    assert "LlamaForCausalLM" in fault.hint
    assert here.asked(hub_server.sha256(here.repos["lab/tiny"] / WEIGHTS)) == []


@pytest.mark.parametrize(
    ("without", "message"),
    [("config.json", "has no config.json"), ("tokenizer.json", "has no tokenizer.json"), (WEIGHTS, "model.bin is not")],
)
def test_a_repository_without_what_is_needed(here: Hub, tmp_path: Path, without: str, message: str) -> None:
    (here.repos["lab/tiny"] / without).unlink()
    assert message in refusal(tmp_path).message


def test_a_missing_shard(here: Hub, tmp_path: Path) -> None:
    (here.repos["lab/tiny"] / WEIGHTS).unlink()
    index = {"weight_map": {"a": "one.safetensors", "b": "two.safetensors"}}
    (here.repos["lab/tiny"] / "model.safetensors.index.json").write_text(json.dumps(index))
    save_file({"a": np.zeros(1, np.float32)}, here.repos["lab/tiny"] / "one.safetensors")
    assert "missing shard two.safetensors" in refusal(tmp_path).message


@pytest.mark.parametrize(
    ("text", "repo", "revision"),
    [
        ("org/name", "org/name", "main"),
        ("a/b.c-d_2@refs/pr/1", "a/b.c-d_2", "refs/pr/1"),
        ("org/name@0123abc", "org/name", "0123abc"),
    ],
)
def test_names(text: str, repo: str, revision: str) -> None:
    assert Reference.parse(text) == Reference(repo, revision)
    assert str(Reference(repo, revision)) == text


@pytest.mark.parametrize(
    "text", ["name", "/a/b", "./a", "a/b/c", "a/..", "a/b@", "a/b@../x", "a/b@c..d", "a /b", "~/b"]
)
def test_what_is_no_name(text: str) -> None:
    assert Reference.parse(text) is None
