"""`bench peers`, as typed."""

from __future__ import annotations

import json
from pathlib import Path

from command_line import Run

from colonnade.bench.peers.workloads import Sizes

SIZES = {**dict.fromkeys(Sizes.__struct_fields__, 2), "together": 1}
WORDS = ["bench", "peers", "--precision", "int8", "--peer", "transformers", "--rounds", "1", "--no-probe"]
"""Transformers has no int8: ours alone."""


def test_bench_peers(run: Run) -> None:
    sizes = [word for name, value in SIZES.items() for word in (f"--{name}", str(value))]
    found = run(*WORDS, *sizes, "--engine", "--json", "out.json")
    assert found.exit_code == 0, found.stderr
    assert "| colonnade |" in found.stdout
    report = json.loads(Path("out.json").read_text())
    assert [(row["peer"], row["precision"], row["failed"]) for row in report["rows"]] == [("colonnade", "int8", "")]
    to_stdout = run(*WORDS, *sizes, "--engine", "--quiet", "--json", "-")
    assert json.loads(to_stdout.stdout)["sizes"]["together"] == 1


def test_bench_peers_asks_what_to_compare(run: Run) -> None:
    found = run("bench", "peers")
    assert found.exit_code == 2
    assert "--engine" in found.stderr
