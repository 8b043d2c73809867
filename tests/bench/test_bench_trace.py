"""Traces are read by content: three formats, both ways, and what is wrong is told with its line."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colonnade.bench import trace, workload
from colonnade.bench.trace import Request
from colonnade.wire.errors import InvalidRequest

lengths = st.integers(0, 100_000)
TICK = 10_000_000  # Azure's stamps have seven decimals


@given(st.lists(st.tuples(st.integers(0, 3600 * TICK), lengths, lengths), min_size=1, max_size=20))
def test_azure_keeps_every_digit(rows: list[tuple[int, int, int]]) -> None:
    origin = datetime(2023, 11, 16, 18, 15, 46)
    text = "TIMESTAMP,ContextTokens,GeneratedTokens\n"
    for ticks, prompt, output in rows:
        stamp = origin + timedelta(seconds=ticks // TICK)
        text += f"{stamp:%Y-%m-%d %H:%M:%S}.{ticks % TICK:07d},{prompt},{output}\n"
    found = trace.parse(text)
    rows.sort(key=lambda row: row[0])
    assert [(each.prompt, each.output) for each in found] == [(p, o) for _, p, o in rows]
    expected = [(ticks - rows[0][0]) / TICK for ticks, _, _ in rows]
    assert [each.at for each in found] == pytest.approx(expected, abs=1e-6)


@given(st.lists(st.tuples(st.integers(0, 10**9), lengths, lengths, st.lists(st.integers(), max_size=5)), max_size=20))
def test_mooncake(rows: list[tuple[int, int, int, list[int]]]) -> None:
    names = ("timestamp", "input_length", "output_length", "hash_ids")
    text = "\n".join(json.dumps(dict(zip(names, row, strict=True))) for row in rows)
    if not rows:
        return
    rows.sort(key=lambda row: row[0])
    expected = [Request((t - rows[0][0]) / 1000, p, o, tuple(b)) for t, p, o, b in rows]
    found = trace.parse(text)
    assert [each.at for each in found] == pytest.approx([each.at for each in expected], abs=1e-6)
    assert [(e.prompt, e.output, e.blocks) for e in found] == [(e.prompt, e.output, e.blocks) for e in expected]


def test_empty_lines_are_passed_over() -> None:
    line = '{"timestamp": 5, "input_length": 1, "output_length": 2}\n'
    assert trace.parse(f"\n{line}\n{line}") == [Request(0.0, 1, 2)] * 2


def test_columns_may_come_in_any_order_with_others_between_and_a_byte_order_mark() -> None:
    text = "\ufeffGeneratedTokens, note ,ContextTokens,TIMESTAMP\r\n7,x,5,2023-11-16 18:00:00\r\n\r\n"
    assert trace.parse(text) == [Request(0.0, 5, 7)]


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "no format"),
        ("a,b,c\n1,2,3\n", "no format"),
        ('{"prompt": "hi"}', "no format"),
        ("TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:00:00,5,x\n", "line 2"),
        ("TIMESTAMP,ContextTokens,GeneratedTokens\nyesterday,5,6\n", "line 2"),
        ("TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:00:00,5\n", "line 2"),
        ('{"timestamp": 0, "input_length": 1, "output_length": 2}\n{"timestamp":', "line 2"),
        ("client,t_s,in_p50,in_p90,in_p99,out_p50,out_p90,out_p99\n", "lengths"),
    ],
)
def test_what_is_wrong_is_said(text: str, word: str) -> None:
    with pytest.raises(InvalidRequest, match=word):
        trace.parse(text)


@pytest.mark.parametrize("name", list(workload.SHIPPED))
def test_the_shipped_samples(name: str) -> None:
    work = workload.load(name, 30, None, 0)
    assert work.format == name
    assert len(work.requests) == 30
    assert work.requests[0].at == 0
    assert all(a.at <= b.at for a, b in pairwise(work.requests))
    assert all(each.prompt > 0 for each in work.requests)


def test_the_name_of_a_file_says_nothing(tmp_path: Path) -> None:
    file = tmp_path / "mooncake.jsonl"
    file.write_bytes(workload.SHIPPED["azure"].read_bytes())
    assert workload.load(str(file), 3, None, 0).format == "azure"


def test_a_servegen_trace_wants_its_lengths(tmp_path: Path) -> None:
    file = tmp_path / "x.csv"
    file.write_bytes(workload.SHIPPED["servegen"].read_bytes())
    with pytest.raises(InvalidRequest) as refused:
        workload.load(str(file), 3, None, 0)
    assert "--lengths" in refused.value.hint
    lengths = workload.SAMPLES / "servegen_m-small_lengths.csv"
    assert len(workload.load(str(file), 3, None, 0, lengths).requests) == 3
    with pytest.raises(InvalidRequest, match="not a file of lengths"):
        workload.load(str(file), 3, None, 0, workload.SHIPPED["azure"])


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest) as refused:
        workload.load(str(tmp_path / "absent"), 3, None, 0)
    assert "azure, mooncake, servegen" in refused.value.hint


def test_an_empty_trace(tmp_path: Path) -> None:
    file = tmp_path / "empty.csv"
    file.write_text("TIMESTAMP,ContextTokens,GeneratedTokens\n")
    with pytest.raises(InvalidRequest, match="no request"):
        workload.load(str(file), 3, None, 0)
