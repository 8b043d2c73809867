"""Peers beside ours, the pure half: who runs when, what they are asked, what the figures are."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colonnade.bench.peers import table, workloads
from colonnade.bench.peers.figures import Answer, Done, Spread, agreement, fault, figure, spread
from colonnade.bench.peers.order import turns
from colonnade.bench.peers.report import Findings, Report, Row, rows
from colonnade.bench.peers.roster import OURS, PEERS, Peer, entries
from colonnade.bench.peers.workloads import DECODE_4, NAMES, PREFILL, SERVE, Request, Sizes, Workload
from colonnade.bench.probe import Machine, Probe

SMALL = Sizes(groups=2, prompts=3, prefix=8, fresh=2, output=4, together=3, decode=5, prefill=7)


@given(st.integers(0, 6), st.integers(0, 9))
def test_each_has_its_turn_once_a_round_and_nobody_is_always_first(count: int, rounds: int) -> None:
    taken = list(turns(range(count), rounds))
    for number in range(rounds):
        assert sorted(entry for at, entry in taken if at == number) == list(range(count))
    assert [number for number, _ in taken] == sorted(number for number, _ in taken)
    assert list(turns("abc", 3)) == [*((0, n) for n in "abc"), *((1, n) for n in "acb"), *((2, n) for n in "cab")]


def test_ours_is_always_among_them() -> None:
    assert [each.name for each in entries((), ())] == [
        "colonnade fp32",
        "transformers fp32",
        "llama.cpp fp32",
        "openvino fp32",
        "colonnade int8",
        "llama.cpp int8",
        "openvino int8",
    ]
    assert [each.name for each in entries(("openvino",), ("int8",))] == ["colonnade int8", "openvino int8"]
    assert [each.name for each in entries(("transformers",), ("int8",))] == ["colonnade int8"]


def test_a_round_has_its_prompts() -> None:
    first, again, next_one = (workloads.workloads(SMALL, 5, number) for number in (0, 0, 1))
    assert first == again
    assert [each.name for each in first] == list(NAMES)
    serve, one, four, prefill = first
    assert [len(each.prompt) for each in serve.requests] == [10] * 6
    assert {each.tokens for each in serve.requests} == {4}
    assert serve.together == 3
    shared = [tuple(each.prompt[:8]) for each in serve.requests]
    assert sorted(shared.count(prefix) for prefix in set(shared)) == [3, 3]
    assert (len(one.requests), len(four.requests), four.together) == (1, 4, 4)
    assert [(len(each.prompt), each.tokens) for each in prefill.requests] == [(7, 1)]
    assert not set(shared) & {tuple(each.prompt[:8]) for each in next_one[0].requests}
    assert prefill.asked() == {
        "requests": [{"prompt": prefill.requests[0].prompt, "tokens": 1, "ids": False}],
        "together": 1,
    }
    assert all(each.ids for each in workloads.warm_up(5).requests)


@given(st.builds(Sizes, *[st.integers(1, 40)] * 8))
def test_the_cache_holds_what_runs_at_a_time(sizes: Sizes) -> None:
    for work in workloads.workloads(sizes, 0, 0):
        lengths = sorted((len(each.prompt) + each.tokens for each in work.requests), reverse=True)
        assert sum(lengths[: work.together]) <= sizes.cache_tokens
        assert lengths[0] <= sizes.longest


def done(*times: list[float], began: float = 0.0) -> Done:
    return Done(began, [Answer(list(range(len(each))), each) for each in times])


def test_figures_by_hand() -> None:
    requests = (Request([1] * 6, 3), Request([1] * 4, 2))
    answers = done([3.0, 4.0, 6.0], [3.5, 5.0], began=1.0)
    assert figure(Workload(SERVE, requests, 2), answers) == 5 / 5
    assert figure(Workload(DECODE_4, requests, 2), answers) == 5 / 5
    assert figure(Workload(PREFILL, requests, 2), answers) == 10 / 2.5
    assert spread([3.0, 1.0, 2.0]) == Spread(2.0, 1.0, 3.0, (3.0, 1.0, 2.0))
    assert agreement(answers, replace_first(answers)) == 0.5


def replace_first(answers: Done) -> Done:
    return Done(0.0, [Answer([9, 9, 9], answers.answers[0].times), answers.answers[1]])


def test_answers_that_are_no_good_are_told() -> None:
    work = Workload(SERVE, (Request([1], 2),), 1)
    assert fault(work, done([1.0, 2.0])) == ""
    assert fault(work, done()) == "serve: 0 answers to 1 requests"
    assert fault(work, done([1.0])) == "serve: 1 tokens where 2 were asked for"
    assert fault(work, Done(0.0, [Answer([1, 2], [1.0])])).startswith("serve: 2 tokens")


def found(speed: float) -> Findings:
    findings = Findings("v 1", "as it is", ready=[0.5, 0.7], agrees=[1.0, 0.75])
    for name in NAMES:
        findings.add(name, speed)
        findings.add(name, 2 * speed)
    return findings


def test_rows_and_their_table() -> None:
    chosen = entries(("llama.cpp", "openvino"), ("fp32",))
    findings = {
        "colonnade fp32": found(100.0),
        "llama.cpp fp32": found(50.0),
        "openvino fp32": Findings(failed="no wheel"),
    }
    findings["colonnade fp32"].agrees.clear()
    ours, theirs, failed = rows(chosen, findings)
    assert ours.speeds[SERVE] == Spread(150.0, 100.0, 200.0, (100.0, 200.0))
    assert (ours.ours_over, ours.agrees) == ({}, None)
    assert theirs.ours_over[SERVE] == Spread(2.0, 2.0, 2.0, (2.0, 2.0))
    assert theirs.agrees == 0.75
    assert failed == Row("openvino", "fp32", failed="no wheel")
    machine = Machine((Probe(2, 30.0, 200.0),))
    report = Report("m", 2, 2, 0, SMALL, "now", "0", machine, Machine(note="not probed"), (ours, theirs, failed))
    text = table.render(report)
    for expected in (
        "machine before: 30.0 GB/s and 200 GFLOP/s on 2",
        "machine after: not probed",
        "| colonnade | 150 (100 to 200) |",
        "| llama.cpp | 75 (50 to 100), x 2.00 (2.00 to 2.00) |",
        "| 0.6 | 75% |",
        "| openvino | did not run: no wheel | | | | | |",
        "- openvino fp32: did not run: no wheel",
        "- llama.cpp fp32: v 1; as it is",
    ):
        assert expected in text, text


def test_where_ours_fails_there_is_nothing_to_compare_with() -> None:
    chosen = entries(("openvino",), ("int8",))
    failed, theirs = rows(chosen, {"colonnade int8": Findings(failed="broken"), "openvino int8": found(1.0)})
    assert (failed.peer, failed.failed) == (OURS, "broken")
    assert theirs.ours_over == {}


@pytest.mark.parametrize("peer", PEERS, ids=lambda peer: peer.name)
def test_what_a_peer_needs_is_pinned(peer: Peer) -> None:
    assert all("==" in package or package == "numpy" for package in peer.packages)
