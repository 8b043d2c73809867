"""Grammars in the worker: draws are held to them, a retraction changes nothing, a failure stays one request's."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
import pytest
from tokenizers import Tokenizer

from colonnade.engine.constraint import Constraints
from colonnade.engine.folder import SHIPPED, ModelFolder
from colonnade.engine.grammar import Compiler, Exhausted, Matcher, Unenforceable, Words, allowed
from colonnade.engine.limits import Limits
from colonnade.engine.scheduler import Scheduler
from colonnade.engine.spot import Spot
from colonnade.engine.step import Chunk
from colonnade.engine.worker import LoadedWorker, load_worker
from colonnade.wire.messages import Delta, Grammar, Sampling, Submit
from colonnade.wire.settings import EngineSettings

# No blanks beside what is needed: a schema's would go on as long as the model likes.
GRAMMAR = Grammar("regex", r'\{"name":"[a-z]{1,6}","count":[0-9]{1,2}\}')


@pytest.fixture(scope="module")
def loaded() -> LoadedWorker:
    return load_worker(ModelFolder.open("colonnade-tiny"), EngineSettings(kv_tokens=512, max_running=8))


def run(loaded: LoadedWorker, submits: list[Submit], pages: int = 512) -> tuple[dict[str, list[Delta]], int]:
    """All deltas by key, and the number of retractions."""
    scheduler = Scheduler(Limits(pages=pages, max_context=256, max_running=8, prefix_cache=False))
    deltas: dict[str, list[Delta]] = {submit.key: [] for submit in submits}
    for submit in submits:
        assert scheduler.submit(submit) is None
    while scheduler.has_work:
        step = scheduler.plan()
        assert step is not None
        for delta in scheduler.commit(loaded.worker.run(step)):
            deltas[delta.key].append(delta)
    return deltas, scheduler.retractions


def submission(seed: int, grammar: Grammar | None = GRAMMAR) -> Submit:
    sampling = Sampling(
        seed=seed, temperature=1.5, max_tokens=80, stop_token_ids=(2,), grammar=grammar, repetition_penalty=1.1
    )
    return Submit(f"{seed}", list(range(100, 120)), sampling)


def tokens(deltas: list[Delta]) -> list[int]:
    return [token for delta in deltas for token in delta.tokens]


def test_draws_are_of_the_grammar_and_retractions_change_nothing(loaded: LoadedWorker) -> None:
    submits = [submission(seed) for seed in range(5)]
    roomy, _ = run(loaded, submits)
    tight = [run(loaded, submits, pages) for pages in (48, 56, 64)]
    assert any(retractions for _, retractions in tight)
    tokenizer = Tokenizer.from_file(str(SHIPPED / "colonnade-tiny" / "tokenizer.json"))
    for key, deltas in roomy.items():
        assert deltas[-1].finish == "stop"
        value = json.loads(tokenizer.decode(tokens(deltas)))
        assert set(value) == {"name", "count"}
        assert [tokens(found[key]) for found, _ in tight] == [tokens(deltas)] * len(tight)


def test_a_grammar_that_fails_ends_its_own_request(loaded: LoadedWorker) -> None:
    bad = submission(1, Grammar("regex", "(a"))
    deltas, _ = run(loaded, [submission(0), bad, submission(2, None)])
    assert (deltas["1"][-1].finish, "cannot be enforced" in deltas["1"][-1].reason) == ("error", True)
    assert deltas["0"][-1].finish == "stop"
    assert tokens(deltas["2"])
    alone, _ = run(loaded, [submission(0)])
    assert tokens(alone["0"]) == tokens(deltas["0"])


class Row:
    """Allows the token after the last one, foresees the two after it; gives up at 5."""

    def __init__(self, last: int = 0) -> None:
        self.last = last
        self.kept = last

    def copy(self) -> Matcher:
        return Row(self.last)

    def fill(self, words_W: Words) -> None:
        if self.last == 5:
            raise Exhausted("enough")
        words_W[:] = 0
        words_W[(self.last + 1) // 32] |= np.uint32(1 << (self.last + 1) % 32)

    def accept(self, token: int) -> None:
        if token != self.last + 1:
            raise ValueError(f"token {token} is not allowed here")
        self.last = token

    def back(self, count: int) -> None:
        self.last -= count
        assert self.last >= self.kept

    def keep(self) -> None:
        self.kept = self.last

    def ahead(self) -> Sequence[int]:
        self.keep()
        return [self.last + 1, self.last + 2]

    def plain(self, token: int) -> bool:
        return False


class Free(Row):
    """Allows everything, in which token 9 is no piece of a word."""

    def fill(self, words_W: Words) -> None:
        words_W[:] = 0xFFFFFFFF

    def accept(self, token: int) -> None:
        self.last += 1

    def copy(self) -> Matcher:
        return Free(self.last)

    def plain(self, token: int) -> bool:
        return token != 9


class Rows:
    def __init__(self) -> None:
        self.compiled: list[str] = []

    def compile(self, grammar: Grammar) -> Matcher:
        self.compiled.append(grammar.text)
        if grammar.text == "bad":
            raise Unenforceable("no")
        if grammar.text == "broken":
            raise RuntimeError("a library's fault")
        return Free() if grammar.text == "free" else Row()


VOCAB = 100


class House:
    """Constraints, one step after another."""

    def __init__(self, **switches: bool) -> None:
        self.rows = Rows()
        self.constraints = Constraints(self._make, VOCAB, **switches)

    def _make(self) -> Compiler:
        return self.rows

    def enter(self, slot: int, text: str, tokens: Sequence[int] = ()) -> None:
        self.constraints.enter(slot, Grammar("regex", text), tokens)

    def step(self, *places: tuple[int, Sequence[int]]) -> list[list[int]]:
        """What may be drawn at each place; all of the vocabulary is told as [-1]."""
        sizes = [1 + len(drafts) for _, drafts in places]
        count, firsts = sum(sizes), [sum(sizes[:number]) for number in range(len(sizes))]
        spots = [
            Spot(Chunk(slot, 0, [0] * (1 + len(drafts)), True, drafts), row, slot, 1)
            for (slot, drafts), row in zip(places, firsts, strict=True)
        ]
        self.constraints.prepare(spots)
        self.constraints.ready()
        bits_SV = np.ones((count, VOCAB), dtype=np.bool_)
        made = min(count, len(self.constraints.words_SW))
        bits_SV[:made] = allowed(self.constraints.words_SW[:made], VOCAB)
        found = [np.flatnonzero(row_V).tolist() for row_V in bits_SV]
        return [[-1] if len(each) == VOCAB else each for each in found]


def test_masks_follow_the_draws_of_each_slot() -> None:
    house = House()
    house.enter(0, "good")
    house.enter(1, "good", (1, 2))
    house.constraints.enter(2, None, ())
    assert house.step((0, ()), (2, ()), (1, ())) == [[1], [-1], [3]]
    assert house.constraints.settle(0, [1]) == [2, 3]
    assert house.constraints.settle(2, [7]) == ()
    assert house.step((1, ()), (0, ())) == [[3], [2]]
    assert house.rows.compiled == ["good"]


def test_slots_that_are_held_and_what_is_added_to_their_logits() -> None:
    house = House()
    assert house.constraints.among([0, 1]) == []
    house.enter(1, "good")
    house.step((0, ()), (1, ()))
    assert house.constraints.among([0, 1]) == [(1, 1)]
    assert house.constraints.mask(0, 0) is None
    added_V = house.constraints.mask(1, 1)
    assert added_V is not None
    assert np.flatnonzero(added_V == 0).tolist() == [1]
    assert set(added_V.tolist()) == {0.0, -np.inf}


def test_drafts_have_masks_as_far_as_they_can_be_right() -> None:
    house = House()
    house.enter(0, "good")
    assert house.step((0, (1, 2, 9, 10))) == [[1], [2], [3], [-1], [-1]]
    house.constraints.settle(0, [1, 2])  # the second draw was another: it says so itself
    assert house.step((0, (3,))) == [[3], [4]]


def test_drafts_that_were_wrong_are_taken_back() -> None:
    house = House()
    house.enter(0, "free")
    assert house.step((0, (1, 2, 3))) == [[-1]] * 4
    house.constraints.settle(0, [8])
    row = house.constraints._rows[0]
    assert isinstance(row.matcher, Row)
    assert (row.matcher.last, row.pending) == (0, [8])
    house.step((0, ()))
    assert (row.matcher.last, row.matcher.kept, row.pending) == (1, 1, [])


def test_what_comes_next_is_looked_for_where_something_may_be_forced() -> None:
    house = House()
    house.enter(0, "free")
    house.step((0, ()))
    assert house.constraints.settle(0, [8]) == ()
    house.step((0, ()))
    assert house.constraints.settle(0, [9]) == [3, 4]


def test_nothing_is_foreseen_where_that_is_switched_off() -> None:
    house = House(foresee=False)
    house.enter(0, "good")
    house.step((0, ()))
    assert house.constraints.settle(0, [1]) == ()
    assert house.step((0, ())) == [[2]]


@pytest.mark.parametrize(
    ("grammar", "tokens", "words"),
    [
        ("bad", (), "enforced: no"),
        ("broken", (), "fault"),
        ("good", (5,), "not allowed"),
        ("good", (1, 2, 3, 4, 5), "enough"),
    ],
)
def test_failures_are_told_where_the_slot_is_drawn(grammar: str, tokens: tuple[int, ...], words: str) -> None:
    house = House()
    house.enter(0, grammar, tokens)
    house.enter(1, "good")
    assert house.step((0, ()), (1, ()))[1] == [1]
    assert words in house.constraints.error(0)
    assert (house.constraints.error(1), house.constraints.error(2)) == ("", "")
    assert house.constraints.settle(0, [1]) == ()
    house.constraints.settle(1, [1])
    assert house.step((0, ()), (1, ()))[1] == [2]
    house.constraints.enter(0, None, ())
    assert house.constraints.error(0) == ""


def test_a_draw_that_a_grammar_does_not_have_spoils_it() -> None:
    house = House()
    house.enter(0, "good")
    house.step((0, ()))
    assert house.constraints.settle(0, [7]) == ()
    assert "not allowed" in house.constraints.error(0)
