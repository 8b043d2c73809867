"""The parts of the phone call that decide: turns, clauses, the grammar's text, the desk, streams begun again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from phone import grammar
from phone.audio import FRAME, SAMPLES, frames, loudness, samples_of
from phone.clauses import Clauses
from phone.desk import Desk
from phone.listening import Listening, steady
from phone.recogniser import new_recogniser, prepare
from phone.scripts import PAUSE, answer, script
from phone.turns import Decision, Limits, Turns
from phone.voice import Voice

from colonnade.wire.errors import ReplicaLost

LOUD, QUIET = 1000.0, 5.0


def heard(
    *spans: tuple[float, float], finished: bool = True, limits: Limits | None = None
) -> list[tuple[float, Decision]]:
    """What is decided when, of spans of (loudness, seconds)."""
    turns, now = Turns(limits), 0.0
    found: list[tuple[float, Decision]] = []
    for loud, seconds in spans:
        for _ in range(round(seconds / 0.02)):
            now += 0.02
            decision = turns.hear(loud, now)
            turns.finished = finished
            if decision:
                found.append((round(now, 2), decision))
    return found


def test_a_turn_begins_pauses_and_ends() -> None:
    assert heard((QUIET, 0.5), (LOUD, 1.0), (QUIET, 1.0)) == [(0.56, "begins"), (1.54, "pauses"), (1.84, "ends")]


def test_a_pause_of_300_ms_is_no_end() -> None:
    found = heard((QUIET, 0.2), (LOUD, 0.6), (QUIET, 0.32), (LOUD, 0.6), (QUIET, 0.5))
    assert [each for _, each in found] == ["begins", "pauses", "goes on", "pauses", "ends"]


def test_what_sounds_unfinished_gets_more_time() -> None:
    found = heard((QUIET, 0.2), (LOUD, 0.6), (QUIET, 1.0), finished=False)
    assert found[-1] == (1.6, "ends")


def test_a_click_is_no_turn_and_the_longest_turn_ends() -> None:
    assert heard((QUIET, 0.2), (LOUD, 0.04), (QUIET, 1.0)) == []
    assert heard((LOUD, 3.0), limits=Limits(longest=1.0))[1][1] == "ends"


def test_a_loud_room_is_learned() -> None:
    assert heard((140.0, 10.0), (300.0, 1.0)) == []
    assert heard((40.0, 1.0), (300.0, 1.0))[0][1] == "begins"


@given(st.lists(st.floats(0, 20_000), max_size=400), st.booleans())
def test_decisions_come_in_order_whatever_is_heard(loudnesses: list[float], finished: bool) -> None:
    turns, now = Turns(), 0.0
    after: dict[Decision | None, set[Decision]] = {
        None: {"begins"},
        "begins": {"pauses", "ends"},
        "pauses": {"goes on", "ends"},
        "goes on": {"pauses", "ends"},
        "ends": {"begins"},
    }
    last: Decision | None = None
    for loud in loudnesses:
        now += 0.02
        if decision := turns.hear(loud, now):
            assert decision in after[last]
            last = decision
        turns.finished = finished
        assert turns.speaking == (last not in (None, "ends"))
        assert turns.paused == (last == "pauses")


@given(st.text(alphabet="ab .,?\n", max_size=60), st.lists(st.integers(0, 60), max_size=8))
def test_clauses_are_the_same_however_the_text_comes(text: str, cuts: list[int]) -> None:
    whole, pieces = Clauses(), Clauses()
    expected = whole.feed(text) + whole.rest()
    edges = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    found = [clause for start, end in pairwise(edges) for clause in pieces.feed(text[start:end])]
    assert found + pieces.rest() == expected
    assert "".join(" ".join(expected).split()) == "".join(text.split())


def test_a_breath_that_is_cut_is_one_breath() -> None:
    clauses = Clauses()
    assert clauses.feed("Yes. ") + clauses.feed(" . Right") + clauses.rest() == ["Yes.", ".", "Right"]


def test_a_time_is_one_clause() -> None:
    clauses = Clauses()
    assert clauses.feed("I have booked Ada for Friday at 14:30. Any") == ["I have booked Ada for Friday at 14:30."]
    assert clauses.rest() == ["Any"]


def test_text_is_written_as_people_do_and_known_to_be_whole_or_not() -> None:
    assert grammar.written("my name is anna brown") == "My name is Anna Brown"
    assert grammar.written("") == ""
    assert grammar.written("actually make it nine thirty") == "Actually, make it nine thirty"
    assert grammar.written("no thank you") == "No thank you"
    assert grammar.finished("on friday")
    assert grammar.finished("yes please")
    for text in ("", "book an appointment for", "my name is anna", "at half past"):
        assert not grammar.finished(text)


def test_every_caller_speaks_within_the_grammar_and_wants_something_that_can_be() -> None:
    words = set(
        grammar.jsgf().replace("(", " ").replace(")", " ").replace("[", " ").replace("]", " ").replace(";", " ").split()
    )
    for number in range(60):
        caller = script(1, number)
        for text in (caller.opening, *caller.answers.values()):
            assert set(text.replace(PAUSE, " ").split()) <= words
        assert caller.before or caller.wanted
        assert (PAUSE in caller.opening) == caller.pauses
    assert answer(caller, "What time would you like?") == caller.answers["What time"]
    assert answer(caller, "Goodbye.") is None
    assert answer(caller, "What?") == caller.opening.replace(PAUSE, "")


def test_the_desk_books_moves_cancels_and_says_what_is_taken(tmp_path: Path) -> None:
    desk = Desk(tmp_path / "book.db")
    ada = {"name": "Ada", "day": "Friday", "time": "14:30"}
    assert desk.carry_out("book_appointment", ada, "1", False) == {"status": "booked"}
    assert desk.appointments() == []
    assert desk.carry_out("book_appointment", ada, "1", True) == {"status": "booked"}
    assert desk.carry_out("book_appointment", ada, "2", True) == {"status": "booked"}
    bob = {**ada, "name": "Bob"}
    assert desk.carry_out("book_appointment", bob, "3", True) == {"status": "taken", "free": "15:00"}
    assert desk.carry_out("move_appointment", bob, "4", True) == {"status": "not_found"}
    assert desk.carry_out("move_appointment", {**ada, "time": "18:30"}, "5", True) == {"status": "moved"}
    late = {**bob, "time": "18:30"}
    assert desk.carry_out("book_appointment", late, "6", True) == {"status": "taken", "free": "07:00"}
    assert desk.appointments() == [("Ada", "Friday", "18:30")]
    cancel = {"name": "Ada", "day": "Friday"}
    assert desk.carry_out("cancel_appointment", cancel, "7", True) == {"status": "cancelled"}
    assert desk.carry_out("cancel_appointment", cancel, "8", True) == {"status": "not_found"}


def test_the_same_key_is_carried_out_once(tmp_path: Path) -> None:
    desk = Desk(tmp_path / "book.db")
    ada = {"name": "Ada", "day": "Friday", "time": "14:30"}
    desk.carry_out("book_appointment", ada, "1", True)
    assert desk.carry_out("cancel_appointment", ada, "2", True) == {"status": "cancelled"}
    assert desk.carry_out("cancel_appointment", ada, "2", True) == {"status": "cancelled"}
    assert desk.carry_out("book_appointment", ada, "1", True) == {"status": "booked"}  # told again, not done again
    assert desk.appointments() == []


async def numbers(breaks: list[int]) -> AsyncIterator[int]:
    at = breaks.pop(0)
    for number in range(6):
        if number == at:
            raise ReplicaLost("gone")
        yield number


async def test_a_stream_is_begun_again_where_it_broke() -> None:
    breaks = [2, 4, -1]
    assert [each async for each in steady(lambda: numbers(breaks))] == [0, 1, 2, 3, 4, 5]
    breaks = [2, 1, 3]
    with pytest.raises(ReplicaLost):
        [each async for each in steady(lambda: numbers(breaks))]


async def test_a_transcriber_that_is_lost_hears_the_turn_from_its_begin() -> None:
    lives: list[list[bytes]] = []

    async def transcribe(feed: AsyncIterator[bytes]) -> AsyncIterator[str]:
        frames_heard: list[bytes] = []
        lives.append(frames_heard)
        async for frame in feed:
            frames_heard.append(frame)
            yield str(len(frames_heard))
            if len(lives) == 1 and len(frames_heard) == 3:
                raise ReplicaLost("gone")

    listening = Listening(transcribe, [b"1", b"2"])
    for frame in (b"3", b"4"):
        listening.put(frame)
        await asyncio.sleep(0)
    assert await listening.whole() == "4"
    assert lives == [[b"1", b"2", b"3"], [b"1", b"2", b"3", b"4"]]


async def test_what_is_spoken_is_heard() -> None:
    samples_N = Voice().say("book an appointment for hannah carter on wednesday at three o'clock")
    cut = frames(samples_N)
    assert all(len(each) == FRAME for each in cut)
    assert len(cut) == -(-len(samples_N) // SAMPLES)
    assert max(map(loudness, cut)) > 1000
    assert samples_of(cut[0]).tolist() == samples_N[:SAMPLES].tolist()
    recogniser = new_recogniser()
    for frame in [*cut, *[bytes(FRAME)] * 10]:
        await recogniser.hear(frame)
    assert await recogniser.whole() == "book an appointment for hannah carter on wednesday at three o'clock"
    recogniser.free()


def test_as_many_calls_as_were_prepared_for_wait_for_no_recogniser(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PHONE_CALLS", "2")
    prepare()
    monkeypatch.setattr("phone.recogniser._decoder", lambda: pytest.fail("made in the middle of a call"))
    calls = [new_recogniser(), new_recogniser()]
    for each in calls:
        each.free()
