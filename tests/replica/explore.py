"""schemathesis against a replica, by the OpenAPI document that it serves of itself."""

import json
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
CHANGING = "(update_weights|sleep|wake|abort)"
"""Endpoints that change how the replica does for everybody else."""


def explore(url: str, folder: Path, phases: str, examples: int) -> str:
    """What it printed; deterministic. `folder`: for what it writes. Raises AssertionError where a check failed."""
    with urllib.request.urlopen(f"{url}/openapi.json", timeout=60) as answer:
        document = json.loads(answer.read())
    with urllib.request.urlopen(f"{url}/v1/models", timeout=60) as answer:
        name_models(document, json.loads(answer.read())["data"][0]["id"])
    (folder / "openapi.json").write_text(json.dumps(document))
    asked = [f"--phases={phases}", f"--max-examples={examples}", "--generation-deterministic", f"--checks={CHECKS}"]
    asked += ["--continue-on-failure", "--request-timeout=120", f"--exclude-path-regex={CHANGING}", "--no-color"]
    program = Path(sys.executable).parent / "schemathesis"
    done = subprocess.run(
        [str(program), "run", "openapi.json", f"--url={url}", *asked],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def name_models(document: dict[str, Any], name: str) -> None:
    """Bodies that ask for another model are all refused alike: ask for the one that is there."""
    for schema in document["components"]["schemas"].values():
        if "model" in schema.get("properties", {}):
            schema["properties"]["model"] = {"const": name}
