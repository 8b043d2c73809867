"""Where the time of a request went, kept for whoever asks later: bounded on disk, found by id, shown as a waterfall."""

from __future__ import annotations

import json
from pathlib import Path

from chain_rig import rig
from command_line import Run
from test_chain_face import ask

from colonnade.chains.handles import MOST_SPANS
from colonnade.chains.notes import Span
from colonnade.cli.home import Home
from colonnade.cli.traces import Trace, Traces


def trace(id: str) -> Trace:
    return Trace(id, 1e9, "shop.py", "ok", Span("Shop", 0.0, 0.5, inner=(Span("Tail", 0.1, 0.2, 0.05),)))


def test_the_newest_are_kept_and_the_disk_is_bounded(tmp_path: Path) -> None:
    traces = Traces(tmp_path / "requests.jsonl", limit=1000)
    for number in range(100):
        traces.keep(trace(f"req_{number:03d}"))
    kept = [each.id for each in traces.all()]
    assert kept == [f"req_{number:03d}" for number in range(100 - len(kept), 100)]
    assert 5 < len(kept) < 30
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) < 2500


def test_a_request_is_found_by_its_first_letters_if_they_are_its_own(tmp_path: Path) -> None:
    traces = Traces(tmp_path / "requests.jsonl")
    assert traces.find("req") is None
    for id in ("req_1", "req_12", "req_3"):
        traces.keep(trace(id))
    with (tmp_path / "requests.jsonl").open("a") as file:
        file.write('{"torn')
    assert traces.find("req_") is None
    assert traces.find("req_3") == trace("req_3")
    assert traces.find("req_1") == trace("req_1")
    assert traces.find("req_12") == trace("req_12")
    Traces(tmp_path / "none" / "requests.jsonl").keep(trace("req_1"))  # the request is not lost


async def test_every_request_to_the_endpoint_is_kept_and_shown_to_those_who_ask() -> None:
    kept: dict[str, Span] = {}
    async with rig("unix") as shop:
        for what, outcome in (("a", "ok"), ("value", "step_failed")):
            reply = await ask(shop, "Shop", {"what": [what]}, keep=kept.__setitem__)
            span = kept.pop(reply.headers["colonnade-request-id"])
            assert (span.step, span.outcome) == ("Shop", outcome)
            assert span.inner[0].step == "Middle"
            assert "trace" not in reply.body.decode()
            assert "stack" not in reply.body.decode()


async def test_a_request_of_very_many_calls_has_a_bounded_trace() -> None:
    async with rig("inline") as shop:
        answer = await shop.client("Middle").call(["a"] * (MOST_SPANS + 5), trace=True)
        assert answer.trace is not None
        assert len(answer.trace.inner) == MOST_SPANS


def test_explain_request_shows_the_waterfall(tmp_path: Path) -> None:
    home, run = Home(tmp_path / "home"), Run()
    home.prepare()
    Traces(home.trace_file).keep(trace("req_5f3a"))
    shown = run("--home", str(home.path), "explain", "request", "req_5f")
    assert shown.exit_code == 0
    assert [line.split()[0] for line in shown.stdout.splitlines() if line] == ["req_5f3a", "Shop", "Tail"]
    said = run("--home", str(home.path), "explain", "request", "req_5f3a", "--json")
    assert json.loads(said.stdout)["span"]["inner"][0]["step"] == "Tail"
    missing = run("--home", str(home.path), "explain", "request", "req_9")
    assert missing.exit_code != 0
    assert "req_9" in missing.stderr
