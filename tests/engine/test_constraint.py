"""Grammars in the worker: draws are held to them, a retraction changes nothing, a failure stays one request's."""

from __future__ import annotations

import json

import numpy as np
import pytest
from tokenizers import Tokenizer

from colonnade.engine.constraint import Constraints, GrammarFailed
from colonnade.engine.folder import SHIPPED, ModelFolder
from colonnade.engine.grammar import Compiler, Exhausted, Matcher, Unenforceable, Words
from colonnade.engine.limits import Limits
from colonnade.engine.scheduler import Scheduler
from colonnade.engine.step import Drawn
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
    """Allows the token after the last one; gives up at 3."""

    def __init__(self, last: int = 0) -> None:
        self.last = last

    def copy(self) -> Matcher:
        return Row(self.last)

    def fill(self, words_W: Words) -> None:
        if self.last == 3:
            raise Exhausted("enough")
        words_W[:] = 0
        words_W[(self.last + 1) // 32] |= np.uint32(1 << (self.last + 1) % 32)

    def accept(self, token: int) -> None:
        if token != self.last + 1:
            raise ValueError(f"token {token} is not allowed here")
        self.last = token


class Rows:
    def __init__(self) -> None:
        self.compiled: list[str] = []

    def compile(self, grammar: Grammar) -> Matcher:
        self.compiled.append(grammar.text)
        if grammar.text == "bad":
            raise Unenforceable("no")
        if grammar.text == "broken":
            raise RuntimeError("a library's fault")
        return Row()


@pytest.fixture
def rows() -> Rows:
    return Rows()


@pytest.fixture
def constraints(rows: Rows) -> Constraints:
    def make() -> Compiler:
        return rows

    return Constraints(make, 4, 40)


def next_tokens(constraints: Constraints, slot: int) -> list[int]:
    mask = constraints.mask(slot)
    assert mask is not None
    return np.flatnonzero(mask == 0).tolist()


def test_masks_follow_the_draws_of_each_slot(constraints: Constraints, rows: Rows) -> None:
    for slot, tokens in enumerate([(), (1, 2)]):
        constraints.enter(slot, Grammar("regex", "good"), tokens)
    constraints.enter(2, None, ())
    assert [next_tokens(constraints, slot) for slot in (0, 1)] == [[1], [3]]
    assert constraints.mask(2) is None
    constraints.advance([Drawn(0, 1), Drawn(2, 7)])
    assert [next_tokens(constraints, slot) for slot in (0, 1)] == [[2], [3]]
    assert rows.compiled == ["good"]


@pytest.mark.parametrize(
    ("grammar", "tokens", "words"),
    [
        ("bad", (), "enforced: no"),
        ("broken", (), "fault"),
        ("good", (5,), "not allowed"),
        ("good", (1, 2, 3), "enough"),
    ],
)
def test_failures_are_told_where_the_slot_is_drawn(
    constraints: Constraints, grammar: str, tokens: tuple[int, ...], words: str
) -> None:
    constraints.enter(0, Grammar("regex", grammar), tokens)
    constraints.enter(1, Grammar("regex", "good"), ())
    constraints.advance([Drawn(0, 1), Drawn(1, 1)])
    with pytest.raises(GrammarFailed, match=words):
        constraints.mask(0)
    assert next_tokens(constraints, 1) == [2]
    constraints.enter(0, None, ())
    assert constraints.mask(0) is None
