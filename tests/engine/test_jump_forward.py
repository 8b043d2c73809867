"""Text that a grammar forces is committed in one pass; with and without, tokens and log-probabilities are the same."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_grammar import END, VOCABULARY, calls, compiler, schema
from test_speculation_model import Output, run
from tokenizers import Tokenizer

from colonnade.engine.config import EngineConfig
from colonnade.engine.folder import ModelFolder
from colonnade.engine.grammar import allowed, word_count
from colonnade.engine.limits import Limits
from colonnade.engine.ngram import NgramDrafter
from colonnade.engine.scheduler import Scheduler
from colonnade.engine.worker import LoadedWorker, load_worker
from colonnade.wire.messages import Grammar, Sampling, Submit

PAGES, CONTEXT = 2048, 256
NOTE = "Extract the fields from this note: Anna Bloom, 35 years old. Reports dry cough. Given ibuprofen 200 mg."
TEXTS = ("name", "complaint", "medication")
NUMBERS = ("age", "dose_mg", "follow_up_days")
FIELDS = ("name", "age", "complaint", "medication", "dose_mg", "follow_up_days")
NOTES = {
    "type": "object",
    "properties": {name: {"type": ["string" if name in TEXTS else "integer", "null"]} for name in FIELDS},
    "required": list(FIELDS),
    "additionalProperties": False,
}
NESTED = {
    "type": "object",
    "properties": {
        "kind": {"enum": ["alpha particle", "alphabet", "beta"]},
        "unit": {"const": {"mg": 1, "é": ["x", None]}},
        "rows": {
            "type": "array",
            "items": {"type": "object", "properties": {"deep": {"type": "boolean"}}},
            "maxItems": 2,
        },
    },
    "required": ["kind", "unit"],
}
GRAMMARS = {
    "notes": schema(NOTES),
    "nested": schema(NESTED),
    "calls": calls(several=True),
    "regex": Grammar("regex", r"The (quick|quickest) brown fox jumps over [0-9]{1,3} lazy dogs\\."),
    "ebnf": Grammar("ebnf", 'root ::= "yes, of course" | "yes, but not today"'),
}


@cache
def worker(*, jump_forward: bool, draft_rule: str = "coupled") -> LoadedWorker:
    config = EngineConfig(kv_tokens=PAGES, max_context=CONTEXT, max_running=6, threads=1)
    return load_worker(
        ModelFolder.open("colonnade-tiny"), replace(config, jump_forward=jump_forward, draft_rule=draft_rule)
    )


def submissions(*names: str) -> list[Submit]:
    text = f"<|im_start|>user\n{NOTE}<|im_end|>\n<|im_start|>assistant\n"
    prompt = Tokenizer.from_file(str(ModelFolder.open("colonnade-tiny").tokenizer_path)).encode(text).ids
    how: dict[str, Any] = {"max_tokens": 90, "stop_token_ids": (END,), "logprobs": 2}
    return [
        Submit(f"{name} {heat}", prompt, Sampling(seed=7, temperature=heat, grammar=GRAMMARS[name], **how))
        for name in names
        for heat in (0.0, 0.8)
    ]


@cache
def without(*names: str) -> tuple[dict[str, Output], int]:
    """Each request alone, and the forward passes of all."""
    scheduler = Scheduler(Limits(PAGES, CONTEXT, VOCABULARY, 1))
    return run(worker(jump_forward=False), scheduler, submissions(*names)), scheduler.steps


@pytest.mark.parametrize("name", list(GRAMMARS))
def test_answers_are_the_same_in_fewer_passes(name: str) -> None:
    calm, passes = without(name)
    scheduler = Scheduler(Limits(PAGES, CONTEXT, VOCABULARY, 1))
    assert run(worker(jump_forward=True), scheduler, submissions(name)) == calm
    assert scheduler.steps < passes
    assert scheduler.speculation.accepted == sum(len(tokens) for tokens, _, _ in calm.values()) - scheduler.steps


def test_extraction_takes_at_most_two_thirds_of_the_passes() -> None:
    _, passes = without("notes")
    scheduler = Scheduler(Limits(PAGES, CONTEXT, VOCABULARY, 1))
    found = run(worker(jump_forward=True), scheduler, submissions("notes"))
    assert scheduler.steps * 1.5 <= passes
    text = Tokenizer.from_file(str(ModelFolder.open("colonnade-tiny").tokenizer_path)).decode(found["notes 0.0"][0])
    assert json.loads(text)["medication"] == "ibuprofen"


limits = st.builds(
    Limits,
    pages=st.sampled_from([320, PAGES]),
    max_context=st.just(CONTEXT),
    vocab_size=st.just(VOCABULARY),
    max_running=st.integers(1, 6),
    step_tokens=st.sampled_from([8, 64, 512]),
    prefill_chunk=st.sampled_from([1, 5, 512]),
    extent=st.integers(1, 16),
    prefix_cache=st.booleans(),
)


@given(limits=limits, ngram=st.booleans())
@settings(max_examples=4, deadline=None)
def test_company_drafts_and_cache_change_nothing(limits: Limits, ngram: bool) -> None:
    names = tuple(GRAMMARS)
    scheduler = Scheduler(limits, NgramDrafter() if ngram else None)
    assert run(worker(jump_forward=True), scheduler, submissions(*names)) == without(*names)[0]


def test_drafts_accepted_by_chance_leave_what_is_forced() -> None:
    found = []
    for jump_forward in (False, True):
        scheduler = Scheduler(Limits(PAGES, CONTEXT, VOCABULARY, 1))
        loaded = worker(jump_forward=jump_forward, draft_rule="probability")
        found.append((run(loaded, scheduler, submissions("notes", "nested")), scheduler.steps))
    assert found[0][0] == found[1][0]
    assert found[1][1] < found[0][1]


# What a matcher foresees, against its masks.


@pytest.mark.parametrize("name", list(GRAMMARS))
@pytest.mark.parametrize("seed", range(4))
def test_what_is_forced_is_the_only_token_of_each_mask(name: str, seed: int) -> None:
    chance, words_W = random.Random(seed), np.zeros(word_count(VOCABULARY), dtype=np.uint32)
    matcher = compiler(guess=False).compile(GRAMMARS[name]).copy()
    for _ in range(80):
        for token in matcher.ahead():
            matcher.fill(words_W)
            assert np.flatnonzero(allowed(words_W, VOCABULARY)).tolist() == [token]
            matcher.accept(token)
        matcher.fill(words_W)
        tokens = np.flatnonzero(allowed(words_W, VOCABULARY)).tolist()
        if tokens in ([], [END]):
            return
        matcher.accept(chance.choice([token for token in tokens if token != END]))


@pytest.mark.parametrize("name", list(GRAMMARS))
def test_a_matcher_that_went_back_is_as_before(name: str) -> None:
    chance, words_AW = random.Random(5), np.zeros((2, word_count(VOCABULARY)), dtype=np.uint32)
    matcher = compiler().compile(GRAMMARS[name]).copy()
    for _ in range(40):
        matcher.fill(words_AW[0])
        tokens = np.flatnonzero(allowed(words_AW[0], VOCABULARY)).tolist()
        steps = 0
        while steps < 4:
            matcher.fill(words_AW[1])
            further = np.flatnonzero(allowed(words_AW[1], VOCABULARY)).tolist()
            matcher.accept(chance.choice(further))
            steps += 1
        matcher.back(steps)
        matcher.fill(words_AW[1])
        assert (words_AW[0] == words_AW[1]).all()
        matcher.keep()
        if tokens == [END]:
            return
        matcher.accept(chance.choice([token for token in tokens if token != END]))


def test_the_usual_layout_is_foreseen_until_an_answer_has_another() -> None:
    encode, decode = compiler().tokenizer.tokenize_str, compiler().tokenizer.decode_str

    def foreseen(text: str, guess: bool = True) -> str:
        matcher = compiler(guess=guess).compile(GRAMMARS["notes"]).copy()
        for token in encode(text):
            matcher.accept(token)
        return decode(list(matcher.ahead()))

    assert foreseen("") == '{"name": '
    assert foreseen('{"name": "Anna",') == ' "age": '
    assert foreseen('{"name": "Anna",', guess=False) == ""
    assert foreseen('{"name":"Anna","') == "age"
    assert foreseen('{"name":"Anna","', guess=False) == "age"


def test_pieces_of_words_are_plain() -> None:
    matcher = compiler().compile(GRAMMARS["notes"])
    (letter,), (quote,) = (compiler().tokenizer.tokenize_str(text) for text in ("a", '"'))
    assert (matcher.plain(letter), matcher.plain(quote), matcher.plain(END)) == (True, False, False)


@pytest.mark.parametrize("name", list(GRAMMARS))
def test_text_that_is_forced_is_written_as_the_tokenizer_writes_it(name: str) -> None:
    """Up to its last tokens, on which what follows decides."""
    chance, words_W = random.Random(1), np.zeros(word_count(VOCABULARY), dtype=np.uint32)
    tokenizer, matcher = compiler().tokenizer, compiler(guess=False).compile(GRAMMARS[name]).copy()
    forced: list[int] = []
    for _ in range(150):
        if token := next(iter(matcher.ahead()), None):
            forced.append(token)
        else:
            text = tokenizer.decode_bytes(forced)
            assert tokenizer.tokenize_bytes(text + b" ")[: len(forced)] == forced
            forced = []
            matcher.fill(words_W)
            token = chance.choice(np.flatnonzero(allowed(words_W, VOCABULARY)).tolist())
        if token == END:
            return
        matcher.accept(token)
