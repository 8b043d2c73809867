"""XGrammar over the same schemas and instances as `proofs/schemas.py`: `python proofs/xgrammar_beside.py SAMPLE.jsonl`.

It is no dependency: `pip install --no-deps xgrammar apache-tvm-ffi`. Each schema is tried in a process of its own,
which is killed after `LIMIT_S`; what takes longer counts as a timeout. Its defaults: any blanks, strict mode.
"""

from __future__ import annotations

import json
import multiprocessing
import sys
import time
from dataclasses import fields
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xgrammar  # pyright: ignore[reportMissingImports]
from schemas import TIMEOUT_S, Tally, compiler, show, try_schema

from colonnade.engine.folder import ModelFolder
from colonnade.engine.grammar import Exhausted, Unenforceable, Words
from colonnade.wire.messages import Grammar

LIMIT_S = 20.0


class Matcher:
    """Of the shape that `schemas.py` asks for."""

    def __init__(self, compiled: Any, size: int) -> None:
        self._compiled, self._size = compiled, size
        self._matcher = xgrammar.GrammarMatcher(compiled)
        self._bits = xgrammar.allocate_token_bitmask(1, size)

    def copy(self) -> Matcher:
        return Matcher(self._compiled, self._size)

    def fill(self, words: Words) -> None:
        self._bits.fill_(-1)
        self._matcher.fill_next_token_bitmask(self._bits)
        words[:] = np.frombuffer(self._bits.to(torch.int32).numpy().tobytes(), dtype=np.uint32)[: len(words)]

    def accept(self, token: int) -> None:
        if not self._matcher.accept_token(token):
            raise Exhausted("refused a token of its own mask")


class Compiler:
    def __init__(self) -> None:
        made, self.size = compiler()
        self.tokenizer = made.tokenizer
        folder = ModelFolder.open("colonnade-tiny")
        spoken = json.loads(folder.tokenizer_path.read_text("utf-8"))
        words = [""] * self.size
        for word, token in spoken["model"]["vocab"].items():
            words[token] = word
        for added in spoken["added_tokens"]:
            words[added["id"]] = added["content"]
        kind = xgrammar.VocabType.BYTE_LEVEL
        info = xgrammar.TokenizerInfo(words, kind, vocab_size=self.size, stop_token_ids=list(folder.eos_token_ids))
        self._compiler = xgrammar.GrammarCompiler(info, max_threads=1, cache_enabled=False)

    def compile(self, grammar: Grammar) -> Matcher:
        try:
            return Matcher(self._compiler.compile_json_schema(grammar.text), self.size)
        except Exception as error:
            raise Unenforceable(str(error).partition("\n")[0][:80]) from error


def tried(made: Compiler, row: dict[str, Any], to: Connection) -> None:
    tally = Tally()
    try_schema(made, made.size, row, tally)  # pyright: ignore[reportArgumentType]
    to.send(tally)


def main() -> None:
    made, whole = Compiler(), Tally()
    fork = multiprocessing.get_context("fork")
    for line in Path(sys.argv[1]).read_text("utf-8").splitlines():
        row = json.loads(line)
        here, there = fork.Pipe(duplex=False)
        child = fork.Process(target=tried, args=(made, row, there))
        child.start()
        there.close()
        began = time.monotonic()
        try:
            found = here.recv() if here.poll(LIMIT_S) else None
        except EOFError:
            found = None  # it died
        child.kill()
        child.join()
        if found is None:
            slow = time.monotonic() - began > TIMEOUT_S
            found = Tally(schemas=1, timeouts=int(slow), refused=[(row["name"], "timeout" if slow else "died", "")])
        for each in fields(Tally):
            setattr(whole, each.name, getattr(whole, each.name) + getattr(found, each.name))
    show(whole, listed=False)


if __name__ == "__main__":
    main()
