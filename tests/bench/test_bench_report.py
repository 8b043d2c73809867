"""From events to figures: pure, and by hand what the figures must be."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from colonnade.bench import compare as comparison
from colonnade.bench import table
from colonnade.bench.measurement import Measured, Recording
from colonnade.bench.probe import Machine, Probe
from colonnade.bench.prompts import Sized
from colonnade.bench.report import Levels, Report, Run, build, meets
from colonnade.wire.errors import InvalidRequest
from colonnade.wire.stream import Event

SIZED = Sized(10, 4, False)
RUN = Run("t.csv", "azure", 2, None, 1.0, 0, 60.0, "http://h:1", "m")

NO_LEVELS, NO_MACHINE = Levels(), Machine()


def ours(data: str, *comments: str) -> Event:
    return Event(data=data, comments=list(comments))


def recorded(*events: tuple[float, Event], error: str = "") -> Measured:
    recording = Recording(1.0, 1.5, SIZED)
    for now, event in events:
        recording.event(event, now)
    return recording.close(5.0, error)


def test_our_own_stream_tells_its_tokens_and_usage_in_comments() -> None:
    found = recorded(
        (2.0, ours('{"choices":[{"text":""}]}', "usage prompt=10 cached=8 completion=0", "tokens 0 5")),
        (3.0, ours('{"choices":[{"text":"ab"}]}', "tokens 0 6 7")),
        (3.0, ours('{"choices":[]}', "tokens 0 9", "usage prompt=10 cached=8 completion=4")),
        (3.5, ours("[DONE]")),
    )
    assert found.ok
    assert found.marks == ((2.0, 1), (3.0, 2), (3.0, 1))
    assert (found.prompt, found.cached, found.completion) == (10, 8, 4)
    assert found.first == 1.0
    assert found.gaps == [0.5, 0.5, 0.0]
    assert found.per_token == pytest.approx(1 / 3)
    assert (found.end_to_end, found.late) == (4.0, 0.5)


def test_another_servers_stream_is_counted_by_its_text() -> None:
    usage = (
        '{"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2,"prompt_tokens_details":{"cached_tokens":1}}}'
    )
    found = recorded(
        (2.0, ours('{"choices":[{"text":"a"}]}')),
        (2.1, ours('{"choices":[{"text":""}]}')),
        (2.5, ours('{"choices":[{"text":"b"}],"usage":null}')),
        (2.6, ours(usage)),
        (2.6, ours("[DONE]")),
    )
    assert found.ok
    assert [count for _, count in found.marks] == [1, 1]
    assert (found.prompt, found.cached, found.completion) == (3, 1, 2)


@pytest.mark.parametrize(
    ("event", "code"),
    [
        (ours('{"error":{"code":"replica_lost","message":"gone"}}'), "replica_lost"),
        (ours('{"error":{"type":"server_error"}}'), "server_error"),
        (ours('{"error":"no"}'), "error"),
        (ours("not json"), "malformed_event"),
        (ours("[1]"), "malformed_event"),
        (ours('{"choices":[{"text":"x"}]}'), "stream_broken"),
    ],
)
def test_streams_that_fail(event: Event, code: str) -> None:
    assert recorded((2.0, event)).error == code


def test_an_error_of_the_connection() -> None:
    found = recorded((2.0, ours('{"choices":[{"text":"x"}]}')), error="timeout")
    assert found.error == "timeout"
    assert found.completion == 1
    nothing = recorded(error="timeout")
    assert (nothing.first, nothing.per_token, nothing.gaps) == (None, None, [])


def ok(at: float, first: float, tokens: int, end: float, cached: int = 0) -> Measured:
    marks = ((first, 1), (end, tokens - 1)) if tokens > 1 else ((first, 1),)
    return Measured(at, at, end, SIZED, marks, "", 10, cached, tokens)


def failed(at: float) -> Measured:
    return Measured(at, at + 0.2, at + 1, Sized(9, 9, True), (), "overloaded")


def report(*measured: Measured, levels: Levels = NO_LEVELS, machine: Machine = NO_MACHINE) -> Report:
    return build(RUN, measured, levels, machine, {"id": "m"}, colonnade="0", started="now")


def test_a_report_by_hand() -> None:
    found = report(ok(0, 0.1, 5, 0.5, cached=5), ok(1, 1.4, 1, 1.4), failed(3), levels=Levels(0.2, 0.15))
    assert found.requests.sent == 3
    assert (found.requests.ok, found.requests.failed, found.requests.errors) == (2, 1, {"overloaded": 1})
    assert found.requests.clipped == 1
    assert found.duration_s == 4
    assert found.ttft_s is not None
    assert (found.ttft_s.p50, found.ttft_s.count) == (0.1, 2)
    assert found.throughput.output_tokens == 6
    assert found.throughput.hit_rate == 0.25
    assert found.goodput is not None
    assert (found.goodput.met, found.goodput.share) == (1, pytest.approx(1 / 3))
    assert found.late
    text = table.render(found)
    assert "2 of 3 requests answered" in text
    assert "1 overloaded" in text
    assert "goodput" in text
    warnings = "\n".join(table.warnings(found))
    assert "late" in warnings
    assert "clipped" in warnings
    assert "failed" in warnings


def test_levels() -> None:
    fast, slow = ok(0, 0.1, 5, 0.5), ok(0, 0.3, 5, 5.0)
    assert meets(fast, Levels())
    assert not meets(failed(0), Levels())
    assert not meets(slow, Levels(ttft_s=0.2))
    assert meets(slow, Levels(ttft_s=0.4))
    assert not meets(slow, Levels(inter_token_s=1.0))
    assert meets(ok(0, 9, 1, 9), Levels(inter_token_s=0.1))
    assert report(fast, levels=Levels(0.2)).goodput is not None
    assert "goodput" in table.render(report(fast, levels=Levels(inter_token_s=0.2)))


def test_a_run_of_nothing_but_failures_has_no_latencies() -> None:
    found = report(failed(0))
    assert found.ttft_s is None
    assert found.throughput.hit_rate == 0
    assert found.goodput is None
    assert "-" in table.render(found)
    assert report().duration_s == 0


measured = st.builds(
    lambda at, first, more, tokens, error: (
        failed(at) if error else ok(at, at + first, tokens, at + first + (more if tokens > 1 else 0))
    ),
    st.floats(0, 100),
    st.floats(0, 10),
    st.floats(0, 10),
    st.integers(1, 50),
    st.booleans(),
)


@given(st.lists(measured, max_size=20), st.floats(0, 5), st.floats(0, 5))
def test_any_report_adds_up_and_survives_json(run: list[Measured], ttft: float, itl: float) -> None:
    found = report(*run, levels=Levels(ttft, itl))
    assert found.requests.ok + found.requests.failed == found.requests.sent == len(run)
    assert sum(found.requests.errors.values()) == found.requests.failed
    assert found.goodput is not None
    assert found.goodput.met <= found.requests.ok
    assert comparison.decode(msgspec.json.encode(found), "x") == found
    assert table.render(found)
    same = comparison.compare(found, found)
    assert all(each.ratio in (None, 1.0) for each in same.ratios)
    assert comparison.render(same)


def test_comparing_two_runs() -> None:
    machine = Machine((Probe(1, 18.0, 60.0), Probe(2, 30.0, 110.0)))
    slower = Machine((Probe(1, 15.0, 61.0),))
    a = report(ok(0, 0.1, 5, 0.5), machine=machine)
    b = report(ok(0, 0.2, 5, 0.5), machine=slower)
    found = comparison.compare(a, b)
    assert next(each for each in found.ratios if each.metric == "ttft_s.p50").ratio == pytest.approx(2.0)
    assert len(found.warnings) == 1
    assert "gb_per_s on 1" in found.warnings[0]
    unprobed = comparison.compare(a, report(ok(0, 0.1, 5, 0.5), machine=Machine(note="none")))
    assert "probed" in unprobed.warnings[0]


def test_comparing_what_differs() -> None:
    a = report(ok(0, 0.1, 5, 0.5), levels=Levels(1.0))
    b = msgspec.structs.replace(
        report(ok(0, 0.1, 5, 0.5), levels=Levels(2.0)),
        run=msgspec.structs.replace(RUN, seed=1, trace="/other/u.csv"),
    )
    said = " ".join(comparison.compare(a, b).warnings)
    assert "seed" in said
    assert "trace" in said
    assert "service levels" in said


def test_what_is_no_report() -> None:
    with pytest.raises(InvalidRequest, match="is no report"):
        comparison.decode(b"{}", "x.json")


@pytest.mark.parametrize(("value", "text"), [(0.0123, "12.3 ms"), (1.234, "1.23 s"), (250.0, "250 s"), (0.0, "0 ms")])
def test_seconds(value: float, text: str) -> None:
    assert table.seconds(value) == text
