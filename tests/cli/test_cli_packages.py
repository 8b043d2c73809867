"""A package deployed: a version of it, served by the fleet behind the gateway."""

from __future__ import annotations

import json
import shutil
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from test_cli_up import colonnade, told, until, up

ROGUE = Path(__file__).parents[1] / "packages" / "folders" / "rogue"


@pytest.fixture(autouse=True)
def _home(home: Path) -> None:
    """Each command finds its own."""


def ask(server: dict[str, Any], model: str, inputs: object) -> Any:
    body = json.dumps(inputs).encode()
    headers = {"Authorization": f"Bearer {server['key']}", "Content-Type": "application/json"}
    request = urllib.request.Request(f"{server['url']}/v1/models/{model}:predict", body, headers)
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.loads(answer.read())


def test_deploy_builds_serves_and_rolls() -> None:
    """From an empty folder; the second version takes over from the first."""
    colonnade("package", "init", "greeter")
    with up("colonnade-tiny") as server:
        deployed = told("deploy", "greeter", "--replicas", "1")
        assert deployed["name"] == "greeter"
        assert deployed["model"].startswith("package:")
        until(lambda: ready("greeter"), "it serves")
        assert ask(server, "greeter", {"name": "Ada"}) == {"said": "Hello, Ada!"}
        source = Path("greeter/model/model.py")
        source.write_text(source.read_text().replace("Hello", "Welcome"))
        assert told("deploy", "greeter")["generation"] == 2
        until(lambda: ask(server, "greeter", {"name": "Ada"}) == {"said": "Welcome, Ada!"}, "the new version answers")
        assert "no setting 'threads'" in colonnade("deploy", "greeter", "--set", "threads=2", code=1).stderr


def ready(deployment: str) -> bool:
    return any(each["deployment"] == deployment and each["state"] == "ready" for each in told("ps"))


def test_a_package_that_ends_its_process_hurts_nobody_else(home: Path) -> None:
    """Its caller has a typed error, `ps` and `logs` the reason, and its neighbour answers meanwhile."""
    shutil.copytree(ROGUE, "rogue")
    colonnade("package", "init", "greeter")
    with up("colonnade-tiny") as server:
        for name in ("greeter", "rogue"):
            colonnade("deploy", name, "--replicas", "1")
        until(lambda: ready("greeter") and ready("rogue"), "both serve")
        with pytest.raises(urllib.error.HTTPError) as failed:
            ask(server, "rogue", {"how": "exit"})
        error = json.loads(failed.value.read())["error"]
        assert error["type"] == "server_error"
        assert error["code"] == "replica_lost"
        assert ask(server, "greeter", {"name": "Ada"}) == {"said": "Hello, Ada!"}
        [rogue] = [each for each in told("ps") if each["deployment"] == "rogue"]
        [greeter] = [each for each in told("ps") if each["deployment"] == "greeter"]
        assert rogue["restarts"] >= 1
        assert greeter["restarts"] == 0
        assert "exit 9: I go now" in rogue["reason"]
        assert any("I go now" in each.read_text() for each in (home / "logs").glob("rogue-0.*.log"))
        until(lambda: ready("rogue"), "it serves again")
        assert ask(server, "rogue", {"how": "well"}) == "well"
