"""`doctor MODEL`: what fits where, and what would, before anything is loaded."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hollow
import hub_server
import pytest
from command_line import Run
from hub_server import Hub
from huggingface_hub import constants

from colonnade.cli import weighing
from colonnade.engine import devices
from colonnade.engine.fit import Device, fit
from colonnade.engine.folder import SHIPPED
from colonnade.engine.footprint import OVERHEAD, Footprint
from colonnade.wire.settings import EngineSettings

GIB = 1 << 30


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Sets the free memory of the CPU, and of GPUs."""

    def of(cpu: int, *gpus: int) -> None:
        monkeypatch.setattr(weighing, "free_memory", lambda: cpu)
        monkeypatch.setattr(weighing, "gpus", lambda: [Device(f"cuda:{n}", free) for n, free in enumerate(gpus)])

    return of


def found(run: Run, *words: str, code: int = 0) -> dict[str, dict[str, Any]]:
    result = run("doctor", *words, "--json")
    assert result.exit_code == code, result.output
    return {each["check"]: each for each in json.loads(result.stdout)}


def test_a_model_that_fits(run: Run, machine: Any) -> None:
    machine(8 * GIB)
    findings = found(run, "colonnade-tiny")
    assert {name: each["status"] for name, each in findings.items()} == dict.fromkeys(
        ("model", "weights", "kv", "cpu"), "ok"
    )
    assert findings["cpu"]["figures"]["context"] == 8192
    assert "holds the context of 8192" in run("doctor", "colonnade-tiny").stdout


def test_half_precision_is_counted_as_it_is_kept(run: Run, machine: Any, tmp_path: Path) -> None:
    machine(8 * GIB)
    weights = hollow.make(tmp_path / "m", "BF16")
    figures = found(run, str(tmp_path / "m"))["weights"]["figures"]
    assert weights // 2 <= figures["in_memory"] <= weights // 2 + 100_000
    assert found(run, str(tmp_path / "m"), "--kernels", "torch")["weights"]["figures"]["in_memory"] == weights
    assert found(run, str(tmp_path / "m"), "--quantize", "int8")["weights"]["figures"]["in_memory"] < weights // 2.5
    assert weights // 2 <= figures["stored"] <= weights // 2 + 10_000


def test_a_model_that_fits_on_one_device_only(run: Run, machine: Any, tmp_path: Path) -> None:
    weights = hollow.make(tmp_path / "m")
    machine(OVERHEAD, weights + 2 * GIB)
    findings = found(run, str(tmp_path / "m"))
    assert (findings["cpu"]["status"], findings["cuda:0"]["status"]) == ("warn", "ok")
    machine(OVERHEAD, OVERHEAD)
    assert found(run, str(tmp_path / "m"), code=1)["cuda:0"]["status"] == "fail"
    assert found(run, str(tmp_path / "m"), "--device", "cuda", code=1).keys() & {"cpu", "cuda:0"} == {"cuda:0"}


def test_no_gpu_where_one_is_asked_for(run: Run, machine: Any) -> None:
    machine(8 * GIB)
    assert found(run, "colonnade-tiny", "--device", "cuda", code=1)["cuda"]["status"] == "fail"


def test_a_model_that_is_refused(run: Run) -> None:
    finding = found(run, "no-such", code=1)["model"]
    assert finding["status"] == "fail"
    assert "colonnade-tiny" in finding["fix"]


PRINT = Footprint(weights=GIB, token=1 << 20)


@pytest.mark.parametrize(
    ("free", "settings", "verdict", "said", "fix"),
    [
        (GIB, {}, "fail", "1.0 GiB are free", "381.5 MiB more, and 1.0 MiB for each token of context: 5.4 GiB in all"),
        (
            GIB + OVERHEAD + 8 * GIB,
            {},
            "warn",
            "cuts the context to 2048 of 4096",
            "--kv-tokens 4096 holds it: 5.4 GiB",
        ),
        (GIB + OVERHEAD + 2 * GIB, {}, "warn", "cuts the context to 512 of 4096", "2.0 GiB more memory"),
        (GIB + OVERHEAD + 8 * GIB, {"kv_tokens": 4096}, "ok", "4096 tokens (4.0 GiB) holds the context of 4096", ""),
        (GIB + OVERHEAD + GIB, {"kv_tokens": 4096}, "fail", "4096 MiB, 1024 MiB are free", "--kv-tokens 1024"),
        (GIB + OVERHEAD + 8 * GIB, {"max_context": 2000}, "ok", "holds the context of 2000", ""),
        (GIB + OVERHEAD + 8 * GIB, {"max_context": 5000}, "fail", "trained for 4096", "at most 4096"),
    ],
)
def test_what_would_fit(free: int, settings: dict[str, int], verdict: str, said: str, fix: str) -> None:
    found = fit(PRINT, Device("cpu", free), EngineSettings(**settings), 4096)
    assert found.verdict == verdict
    assert said in found.found
    assert fix in found.fix
    assert found.figures["needed_for_whole_context"] == GIB + OVERHEAD + (4096 << 20)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with hub_server.serving() as hub:
        hub.repos["lab/tiny"] = SHIPPED / "colonnade-tiny"
        template = hub.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "ENDPOINT", hub.url)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hf"))
        yield hub


def test_a_repository_is_looked_at_without_its_weights(run: Run, machine: Any, hub: Hub) -> None:
    machine(8 * GIB)
    local, remote = found(run, "colonnade-tiny"), found(run, "lab/tiny")
    assert "still to be fetched" in remote["weights"]["found"]
    assert remote["weights"]["figures"] == local["weights"]["figures"]
    assert remote["cpu"]["figures"] == local["cpu"]["figures"]
    digest = hub_server.sha256(SHIPPED / "colonnade-tiny" / "model.safetensors")
    assert {request.range for request in hub.asked(digest)} == {"bytes=0-100000"}


def test_a_repository_that_is_not_there(run: Run, hub: Hub) -> None:
    assert "no repository lab/none" in found(run, "lab/none", code=1)["model"]["found"]


def test_gpus_are_asked_for_in_a_process_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without a driver nothing is started; with one, torch's answer counts, and this machine's may be none."""
    monkeypatch.setattr(devices, "DRIVERS", (tmp_path / "none",))
    assert devices.gpus() == []
    monkeypatch.setattr(devices, "DRIVERS", (tmp_path,))
    assert all(device.free > 0 for device in devices.gpus())
    monkeypatch.setattr(devices.sys, "executable", "/nowhere/python")
    assert devices.gpus() == []
