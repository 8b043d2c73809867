"""The process that tries grammars: refusals are typed and kept, and what hangs or dies is replaced."""

import sys
from pathlib import Path

import pytest
from replica_process import TINY

from colonnade.replica.grammars import LONGEST, Grammars
from colonnade.wire.errors import Internal, InvalidRequest
from colonnade.wire.messages import Grammar

REAL = (
    *(sys.executable, "-m", "colonnade.engine.grammar_check", f"--tokenizer={TINY / 'tokenizer.json'}"),
    *("--vocab-size=1024", "--end-tokens=2", f"--memory={4 << 30}"),
)
STAND_IN = """
import os, sys, threading
from colonnade.engine.grammar_check import LENGTH, Verdict, _send
import msgspec
with open(sys.argv[1], "a") as starts:
    starts.write("x")
_send(sys.stdout.buffer, Verdict())
while head := sys.stdin.buffer.read(4):
    text = msgspec.msgpack.decode(sys.stdin.buffer.read(LENGTH.unpack(head)[0]))["text"]
    if text == "hang":
        threading.Event().wait()
    if text == "die":
        os._exit(1)
    _send(sys.stdout.buffer, Verdict("no", "not", "/a") if text == "no" else Verdict())
"""


async def refusal(grammars: Grammars, grammar: Grammar) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        await grammars.check(grammar, "regex")
    return caught.value


async def test_the_real_one_tells_good_from_bad():
    grammars = Grammars(REAL, 20.0)
    try:
        await grammars.check(Grammar("regex", "[a-z]+"), "regex")
        error = await refusal(grammars, Grammar("regex", "[a"))
        assert (error.param, error.reason, error.status) == ("regex", "grammar_refused", 400)
        error = await refusal(grammars, Grammar("json_schema", "[" * 100_000))
        assert error.reason == "grammar_refused"
    finally:
        await grammars.stop()


async def test_one_that_hangs_or_dies_is_replaced(tmp_path: Path):
    starts = tmp_path / "starts"
    grammars = Grammars((sys.executable, "-c", STAND_IN, str(starts)), 0.3)
    try:
        for text in ("hang", "fine", "die", "good"):
            grammar = Grammar("regex", text)
            if text in ("hang", "die"):
                for _ in range(2):  # the second time it is known
                    assert (await refusal(grammars, grammar)).reason == "grammar_too_complex"
            else:
                await grammars.check(grammar, "regex")
        assert starts.read_text() == "xxx"
        error = await refusal(grammars, Grammar("regex", "no"))
        assert "not at /a" in error.message
    finally:
        await grammars.stop()


async def test_a_process_that_does_not_start_is_our_fault():
    grammars = Grammars((sys.executable, "-c", ""), 1.0)
    for _ in range(2):
        with pytest.raises(Internal, match="did not start"):
            await grammars.check(Grammar("regex", "a"), "regex")


async def test_a_grammar_has_a_longest_length():
    error = await refusal(Grammars((), 1.0), Grammar("regex", "a" * (LONGEST + 1)))
    assert error.reason == "grammar_too_complex"
