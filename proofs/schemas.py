"""How many JSON schemas are enforced, and whether exactly: instances fed token by token through the masks.

    python proofs/schemas.py SAMPLE.jsonl [--bare] [--list]

SAMPLE has one schema a line: {"name", "schema", "tests": [{"valid", "data"}, …]}, as MaskBench has them
(https://github.com/guidance-ai/jsonschemabench). Every token of a valid instance must be allowed and the end after it;
an invalid one must be stopped somewhere. `--bare` leaves out our lowering of schemas; `--list` names what was refused.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from colonnade.engine import llguidance_grammar
from colonnade.engine.folder import ModelFolder
from colonnade.engine.grammar import Exhausted, Unenforceable, allowed, word_count
from colonnade.engine.llguidance_grammar import LlguidanceCompiler, LlguidanceMatcher
from colonnade.wire.messages import Grammar

TIMEOUT_S = 2.0
"""A compilation that takes longer counts as a timeout: `replica.grammar_timeout`."""


@dataclass
class Tally:
    schemas: int = 0
    accepted: int = 0
    timeouts: int = 0
    valid: int = 0
    valid_stopped: list[str] = field(default_factory=list)
    invalid: int = 0
    invalid_admitted: list[str] = field(default_factory=list)
    refused: list[tuple[str, str, str]] = field(default_factory=list)
    firsts: list[float] = field(default_factory=list)
    betweens: list[float] = field(default_factory=list)


def compiler() -> tuple[LlguidanceCompiler, int]:
    folder = ModelFolder.open("colonnade-tiny")
    text = folder.tokenizer_path.read_text("utf-8")
    return LlguidanceCompiler(text, folder.vocab_size, folder.eos_token_ids), folder.vocab_size


def try_schema(made: LlguidanceCompiler, size: int, row: dict[str, Any], tally: Tally) -> None:
    tally.schemas += 1
    began = time.perf_counter()
    words = np.zeros(word_count(size), dtype=np.uint32)
    try:
        matcher = made.compile(Grammar("json_schema", json.dumps(row["schema"])))
        matcher.copy().fill(words)
    except (Unenforceable, Exhausted) as error:
        reason = error.keyword or str(error) if isinstance(error, Unenforceable) else str(error)
        tally.refused.append((row["name"], reason, getattr(error, "path", "")))
        return
    tally.firsts.append(time.perf_counter() - began)
    tally.timeouts += tally.firsts[-1] > TIMEOUT_S
    tally.accepted += 1
    for number, test in enumerate(row["tests"]):
        through = feed(made, matcher.copy(), size, test["data"], tally.betweens)
        name = f"{row['name']} #{number}"
        tally.valid += test["valid"]
        tally.invalid += not test["valid"]
        if test["valid"] and not through:
            tally.valid_stopped.append(name)
        elif through and not test["valid"]:
            tally.invalid_admitted.append(name)


def feed(made: LlguidanceCompiler, matcher: LlguidanceMatcher, size: int, data: Any, betweens: list[float]) -> bool:
    """Whether it and the end after it come through the masks."""
    words = np.zeros(word_count(size), dtype=np.uint32)
    text = json.dumps(data, ensure_ascii=False)
    for token in [*made.tokenizer.tokenize_str(text), made.tokenizer.eos_token]:
        began = time.perf_counter()
        try:
            matcher.fill(words)
            if not allowed(words, size)[token]:
                return False
            matcher.accept(token)
        except Exhausted:
            return False
        betweens.append(time.perf_counter() - began)
    return True


def percentile(seconds: list[float], share: float) -> str:
    return f"{1e6 * float(np.quantile(seconds, share)):.0f} µs"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sample", type=Path)
    parser.add_argument("--bare", action="store_true")
    parser.add_argument("--list", action="store_true")
    options = parser.parse_args()
    if options.bare:
        llguidance_grammar.lower = llguidance_grammar.any_order = lambda schema: schema
    made, size = compiler()
    tally = Tally()
    for line in options.sample.read_text("utf-8").splitlines():
        try_schema(made, size, json.loads(line), tally)
    show(tally, listed=options.list)


def show(tally: Tally, *, listed: bool) -> None:
    stopped = {name.rpartition(" #")[0] for name in tally.valid_stopped}
    rows = [
        ("schemas", f"{tally.schemas}"),
        ("accepted", f"{tally.accepted} ({100 * tally.accepted / tally.schemas:.1f} %)"),
        ("refused, with the reason", f"{len(tally.refused)}"),
        ("timeouts", f"{tally.timeouts}"),
        ("invalid instances admitted", f"{len(tally.invalid_admitted)} of {tally.invalid}"),
        ("valid instances stopped", f"{len(tally.valid_stopped)} of {tally.valid}"),
        ("accepted schemas that stop one", f"{len(stopped)} ({100 * len(stopped) / tally.accepted:.1f} %)"),
        ("to the first mask, p50 and p99", f"{percentile(tally.firsts, 0.5)}, {percentile(tally.firsts, 0.99)}"),
        ("between masks, p50 and p99", f"{percentile(tally.betweens, 0.5)}, {percentile(tally.betweens, 0.99)}"),
    ]
    for name, value in rows:
        print(f"{name:32} {value}")
    for reason, count in Counter(reason for _, reason, _ in tally.refused).most_common():
        print(f"  refused for {reason[:90]}: {count}")
    if listed:
        for name, reason, path in tally.refused:
            print(f"{name}: {reason} at {path or '/'}")
        print("invalid admitted:", *tally.invalid_admitted, "valid stopped:", *tally.valid_stopped, sep="\n  ")


if __name__ == "__main__":
    main()
