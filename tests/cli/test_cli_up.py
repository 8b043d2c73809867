"""The whole of it for real: processes, the shipped model, a state folder, a free port."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from colonnade.drivers.process import start_ticks
from colonnade.engine.folder import ModelFolder

COLONNADE = [sys.executable, "-m", "colonnade.cli"]
PATIENCE = 60.0


def colonnade(*words: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([*COLONNADE, *words], capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == code, done.stderr
    return done


def told(*words: str) -> Any:
    return json.loads(colonnade(*words, "--json").stdout)


def until(condition: Callable[[], object], what: str) -> None:
    """Every look is a command that takes its time, so nothing is slept."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, what


@contextmanager
def up(*words: str) -> Iterator[dict[str, Any]]:
    greeting = told("up", "--port", "0", "--detach", *words)
    try:
        yield greeting
    finally:
        colonnade("down")
        assert start_ticks(greeting["pid"]) is None


@contextmanager
def foreground(*words: str) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    argv = [*COLONNADE, *words, "--json"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line, process.stderr and process.stderr.read()
            yield process, json.loads(line)
        finally:
            process.terminate()


def pasted(curl: str) -> Any:
    """The line as a shell in another terminal runs it."""
    bare = {"PATH": os.environ["PATH"]}
    done = subprocess.run(["bash", "-c", curl], capture_output=True, text=True, timeout=PATIENCE, env=bare)
    return json.loads(done.stdout)


def children(home: Path) -> dict[str, int]:
    record = json.loads((home / "run" / "up.json").read_text())
    return {name: pid for name, (pid, _) in record["children"].items()}


def test_a_day_with_up(home: Path) -> None:
    """One `up`, since each costs seconds: it answers, lists, makes keys, and whatever is killed comes back."""
    with up() as greeting:
        assert greeting["url"].startswith("http://127.0.0.1:")
        assert shlex.split(greeting["curl"])[0] == "curl"
        answer = pasted(greeting["curl"])
        assert answer["choices"][0]["message"]["content"], answer
        [replica] = told("ps")
        assert replica["state"] == "ready"
        assert {"id", "pid", "state", "reason", "restarts"} <= replica.keys()
        assert (replica["quantisation"], replica["facts"]["kv_dtype"]) == ("none", "float32")
        assert told("chat", "Book Ann", "--max-tokens", "3")["text"]

        again = told("up")
        assert again == greeting
        taken = colonnade("up", "--port", "1", code=1)
        assert greeting["url"] in taken.stderr
        assert "--port" in taken.stderr

        key = told("keys", "create", "--name", "crm")["key"]
        assert {each["name"] for each in told("keys", "list")} == {"local", "crm"}
        assert told("chat", "--url", greeting["url"], "--key", key, "Hi", "--max-tokens", "2")["text"]
        limited = told("keys", "limit", "crm", "--requests-per-minute", "0", "--priority", "3")
        assert (limited["requests_per_minute"], limited["tokens_per_minute"], limited["priority"]) == (0, None, 3)
        until(lambda: run_chat(greeting["url"], key) != 0, "the gateway keeps to a key's limit")
        colonnade("keys", "limit", "crm", "--requests-per-minute", "none")
        until(lambda: run_chat(greeting["url"], key) == 0, "and lets it go again")
        colonnade("keys", "revoke", "crm")
        until(lambda: run_chat(greeting["url"], key) != 0, "a revoked key is refused")

        os.kill(replica["pid"], signal.SIGKILL)
        until(lambda: replica_is_back(replica["pid"]), "the replica comes back")
        [back] = told("ps")
        assert back["restarts"] == 1
        assert "SIGKILL" in back["reason"]

        until(lambda: any(row["prompt_tokens"] for row in told("fleet", "cost", "--by", "key")), "tokens are billed")
        [line] = told("fleet", "cost", "--since", "1h")
        assert line["deployment"] == "colonnade-tiny"
        assert line["replica_seconds"] > 0 < line["completion_tokens"]
        assert colonnade("fleet", "cost", "--csv").stdout.startswith("deployment,replica_seconds,unit_seconds,cost,")
        before = children(home)
        for name in ("control", "gateway"):
            os.kill(before[name], signal.SIGKILL)
        until(lambda: all(children(home)[name] != before[name] for name in ("control", "gateway")), "they come back")
        until(lambda: run_chat(greeting["url"], greeting["key"]) == 0, "the gateway serves at its old port")
        assert "SIGKILL" in colonnade("logs", "up").stdout
        left = children(home)
    assert all(start_ticks(pid) is None for pid in left.values())
    assert colonnade("down").stderr == "nothing was running\n"
    colonnade("ps", code=3)

    with up() as second:
        assert second["key"] == greeting["key"]
        assert {each["name"] for each in told("keys", "list")} == {"local"}


def test_a_deployment_that_rests_wakes_for_its_requests(home: Path, tmp_path: Path) -> None:
    """From zero: several requests at once, one activation, all served; then a fixed number, and a file with faults."""
    with up() as greeting:
        file = tmp_path / "desk.yaml"
        file.write_text("model: colonnade-tiny\nname: desk\nscaling: {min: 0, max: 2, target: 64}\nreplica: 1\n")
        assert "desk.yaml:4: replica:" in colonnade("deploy", str(file), code=1).stderr
        file.write_text("model: colonnade-tiny\nname: desk\nreplicas: 0\n")
        assert told("deploy", str(file))["replicas"] == 0
        assert told("scale", "desk", "--min", "0", "--max", "2", "--target", "64")["scaling"]["max"] == 2
        words = [*COLONNADE, "chat", "--url", greeting["url"], "--key", greeting["key"], "--model", "desk", "Hi"]
        asked = [subprocess.Popen([*words, "--max-tokens", "2"], stdout=subprocess.DEVNULL) for _ in range(3)]
        assert [each.wait(PATIENCE) for each in asked] == [0, 0, 0]
        changes = [row for row in told("explain", "scale", "desk") if row["what"] == "scaled"]
        assert [row["why"].partition(":")[0] for row in changes] == ["0 -> 1"]
        file.write_text("model: colonnade-tiny\nname: desk\nreplicas: 2\nsettings: {threads: 1}\n")
        changed = {line["what"]: (line["now"], line["then"]) for line in told("fleet", "plan", str(file))}
        assert {"settings", "version", "scaling"} <= changed.keys()
        [cluster] = told("fleet", "clusters")
        assert (cluster["name"], cluster["lost"]) == ("local", "")
        token = told("fleet", "tokens", "create", "--name", "ci", "--role", "deployer")["token"]
        assert token != told("fleet", "tokens", "rotate", "ci")["token"]
        assert [each["role"] for each in told("fleet", "tokens", "list")] == ["deployer"]
        colonnade("fleet", "tokens", "revoke", "ci")
        assert told("scale", "desk", "0").get("scaling") is None
        happened = told("fleet", "events", "--deployment", "desk", "--since", "1h")
        assert [each["kind"] for each in happened][:2] == ["deployed", "deployed"]
        assert {each["deployment"] for each in happened} == {"desk"}
        assert all(each["reason"] for each in happened)
        assert "0 -> 1" in colonnade("fleet", "events", "--deployment", "desk", "--kind", "scaled").stdout
        assert "no such" not in colonnade("explain", "scale", "desk").stderr
        colonnade("scale", "desk", code=2)
        colonnade("explain", "scale", "none", code=1)


def run_chat(url: str, key: str) -> int:
    words = ["chat", "--url", url, "--key", key, "--max-tokens", "2", "Hi"]
    return subprocess.run([*COLONNADE, *words], capture_output=True, timeout=PATIENCE).returncode


def replica_is_back(old: int) -> bool:
    [now] = told("ps")
    return now["state"] == "ready" and now["pid"] != old


def test_up_in_the_foreground_ends_with_ctrl_c_and_nothing_outlives_it(home: Path) -> None:
    with foreground("up", "--port", "0") as (process, _):
        [replica] = told("ps")
        pids = [*children(home).values(), replica["pid"]]
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE) == 0
        assert process.stderr is not None
        said = process.stderr.read()
    assert all(start_ticks(pid) is None for pid in pids)
    assert "control plane\n" in said
    assert "s  in all" in said
    assert "stopped by SIGINT" in said


def test_an_up_that_is_killed_leaves_nothing(home: Path) -> None:
    greeting = told("up", "--port", "0", "--detach")
    [replica] = told("ps")
    pids = [*children(home).values(), replica["pid"]]
    os.kill(greeting["pid"], signal.SIGKILL)
    colonnade("down")
    assert all(start_ticks(pid) is None for pid in pids)


@pytest.mark.parametrize("detach", [[], ["--detach"]], ids=["foreground", "detached"])
def test_a_model_that_is_not_there_is_said_before_anything_starts(home: Path, detach: list[str]) -> None:
    done = colonnade("up", "--port", "0", "no-such-model", *detach, code=1)
    assert "no-such-model" in done.stderr
    assert "colonnade-tiny" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (home / "state.db").exists()


def test_a_model_whose_weights_are_broken_is_given_up(home: Path, tmp_path: Path) -> None:
    """Only a replica can find that out: `up` watches it fail, says why, and leaves nothing behind."""
    broken = tmp_path / "broken"
    shutil.copytree(ModelFolder.open("colonnade-tiny").path, broken)
    (broken / "model.safetensors").write_bytes(b"not weights")
    done = colonnade("up", "--port", "0", str(broken), code=1)
    assert "replica broken-0" in done.stderr
    assert "Traceback" not in done.stderr
    assert colonnade("down").stderr == "nothing was running\n"


def test_serve(home: Path) -> None:
    with foreground("serve", "colonnade-tiny", "--port", "0") as (process, greeting):
        assert greeting["model"] == "colonnade-tiny"
        assert pasted(greeting["curl"])["choices"]
        assert run_chat(greeting["url"], "wrong") != 0
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE) == 0
    assert list((home / "run").glob("serve-*")) == []


def test_serve_without_keys_says_why_it_ended(home: Path) -> None:
    with foreground("serve", "colonnade-tiny", "--port", "0", "--no-auth") as (process, greeting):
        assert greeting["key"] == ""
        assert run_chat(greeting["url"], "") == 0
        [line] = [line for line in _processes() if f"--epoch {_epoch(greeting['url'])}" in line]
        os.kill(int(line.split()[0]), signal.SIGKILL)
        assert process.wait(PATIENCE) == 1
        assert process.stderr is not None
        assert "the replica ended: killed by signal 9 (SIGKILL)" in process.stderr.read()


def _processes() -> Iterator[str]:
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            yield f"{path.parent.name} {path.read_bytes().replace(bytes(1), b' ').decode()}"
        except (FileNotFoundError, ProcessLookupError):
            continue


def _epoch(url: str) -> str:
    import urllib.request

    with urllib.request.urlopen(f"{url}/v1/models") as answer:
        return json.load(answer)["data"][0]["epoch"]


def test_a_model_that_cannot_be_served(home: Path) -> None:
    done = colonnade("serve", "no-such-model", "--port", "0", code=1)
    assert "no-such-model" in done.stderr
    assert "Traceback" not in done.stderr


def test_bench_starts_what_it_measures(home: Path) -> None:
    words = ["--serve", "colonnade-tiny", "--requests", "8", "--rate", "20", "--scale-tokens", "0.05", "--no-probe"]
    report = json.loads(colonnade("bench", *words, "--json", "-").stdout)
    assert report["requests"] == {"sent": 8, "ok": 8, "failed": 0, "errors": {}, "clipped": 0}
    assert report["server"]["fingerprint"]
    assert report["throughput"]["output_tokens"] >= 8
    assert list((home / "run").glob("serve-*")) == []


def test_shared_prefixes_are_found_in_the_cache(home: Path) -> None:
    """Mooncake's hash ids become prefixes that the engine's cache finds again."""
    words = ["--trace", "mooncake", "--requests", "40", "--rate", "20", "--scale-tokens", "0.02", "--no-probe"]
    report = json.loads(colonnade("bench", "--serve", "colonnade-tiny", *words, "--json", "-").stdout)
    assert report["requests"]["ok"] == 40
    assert report["throughput"]["hit_rate"] > 0.1
