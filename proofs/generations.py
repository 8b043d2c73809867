"""Answers drawn at random from the masks of every schema, each checked: `python proofs/generations.py SAMPLE.jsonl`.

    [--count 20] [--tokens 300] [--bare] [--first N]

SAMPLE is what `proofs/schemas.py` takes. No model: each token is drawn from those allowed, closing ones and the end
more often, so that answers end; what a model would never say is said, too. Each whole answer is read as JSON and
checked by jsonschema (`pip install jsonschema`), with the formats that it knows for the schema's draft; those cut at
`--tokens` are counted apart. `--bare` leaves out our lowering.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jsonschema import Draft202012Validator, FormatChecker
from jsonschema.exceptions import ValidationError
from jsonschema.validators import validator_for
from numpy.typing import NDArray
from schemas import compiler, percentile

from colonnade.engine import llguidance_grammar
from colonnade.engine.grammar import Exhausted, Unenforceable, Words, allowed, word_count
from colonnade.engine.llguidance_grammar import LlguidanceCompiler, LlguidanceMatcher
from colonnade.engine.schema import FORMATS
from colonnade.wire.messages import Grammar


class Drawing:
    """How tokens are drawn."""

    def __init__(self, made: LlguidanceCompiler, size: int) -> None:
        self.made, self.size = made, size
        self._words: Words = np.zeros(word_count(size), dtype=np.uint32)
        self._weights = np.array([self._weight(token) for token in range(size)])

    def _weight(self, token: int) -> float:
        text = self.made.tokenizer.decode_str([token])
        if self.made.is_end(token):
            return 400.0
        if not text.strip():
            return 0.1
        return 40.0 if text.strip() in ('"', "}", "]", '"}', "}}", '"]', "]}") else 1.0

    def answer(self, matcher: LlguidanceMatcher, most: int, chance: random.Random, times: list[float]) -> str | None:
        """The text of a whole answer; None if it was cut."""
        tokens: list[int] = []
        for _ in range(most):
            began = time.perf_counter()
            matcher.fill(self._words)
            times.append(time.perf_counter() - began)
            token = self._draw(allowed(self._words, self.size), chance)
            if self.made.is_end(token):
                return self.made.tokenizer.decode_bytes(tokens).decode()
            matcher.accept(token)
            tokens.append(token)
        return None

    def _draw(self, bits: NDArray[np.bool_], chance: random.Random) -> int:
        totals = np.cumsum(np.where(bits, self._weights, 0.0))
        return int(np.searchsorted(totals, chance.random() * totals[-1], side="right"))


def fault(schema: Any, text: str) -> str:
    """Why the answer is not of its schema; "" if it is."""
    kind = validator_for(schema, default=Draft202012Validator)
    checker = FormatChecker(formats=())
    checker.checkers = {name: how for name, how in kind.FORMAT_CHECKER.checkers.items() if name in FORMATS}
    try:
        kind(schema, format_checker=checker).validate(json.loads(text))
    except ValidationError as error:
        return f"{error.validator}: {error.message[:120]}"
    except ValueError as error:
        return f"not JSON: {error}"
    return ""


@dataclass
class Proof:
    drawing: Drawing
    count: int
    tokens: int
    counts: Counter[str] = field(default_factory=Counter[str])
    firsts: list[float] = field(default_factory=list[float])
    betweens: list[float] = field(default_factory=list[float])

    def take(self, row: dict[str, Any]) -> None:
        """One schema of the sample."""
        began = time.perf_counter()
        try:
            compiled = self.drawing.made.compile(Grammar("json_schema", json.dumps(row["schema"])))
            compiled.fill(np.zeros(word_count(self.drawing.size), dtype=np.uint32))
        except (Unenforceable, Exhausted):
            self.counts["schemas refused"] += 1
            return
        self.firsts.append(time.perf_counter() - began)
        self.counts["schemas accepted"] += 1
        for number in range(self.count):
            self.counts[self._tried(compiled.copy(), row, random.Random(f"{row['name']} {number}"))] += 1

    def _tried(self, matcher: LlguidanceMatcher, row: dict[str, Any], chance: random.Random) -> str:
        try:
            text = self.drawing.answer(matcher, self.tokens, chance, self.betweens)
            found = "" if text is None else fault(row["schema"], text)
        except Exhausted as error:
            print(f"{row['name']}: {error}", flush=True)
            return "given up by the library"
        except Exception as error:  # a schema that jsonschema cannot read: a reference to elsewhere, say
            print(f"{row['name']}: {type(error).__name__}: {str(error)[:150]}", flush=True)
            return "not to be checked"
        if found:
            print(f"{row['name']}: {found}: {str(text)[:300]}", flush=True)
        return "cut" if text is None else "invalid" if found else "valid"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sample", type=Path)
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--tokens", type=int, default=300)
    parser.add_argument("--first", type=int, default=1 << 30)
    parser.add_argument("--bare", action="store_true")
    options = parser.parse_args()
    if options.bare:
        llguidance_grammar.lower = llguidance_grammar.any_order = lambda schema: schema
    proof = Proof(Drawing(*compiler()), options.count, options.tokens)
    for line in options.sample.read_text("utf-8").splitlines()[: options.first]:
        proof.take(json.loads(line))
    for name, count in sorted(proof.counts.items()):
        print(f"{name:24} {count}")
    for name, times in (("to the first mask", proof.firsts), ("between masks", proof.betweens)):
        print(f"{name:24} p50 {percentile(times, 0.5)}, p99 {percentile(times, 0.99)}")
    return 1 if proof.counts["invalid"] else 0


if __name__ == "__main__":
    raise SystemExit(main())
