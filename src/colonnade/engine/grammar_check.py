"""`python -m colonnade.engine.grammar_check`: tries grammars before an engine sees them, and may be killed for it.

A grammar comes from a client: it may take forever to compile, or all memory. Here it may do so: the parent bounds the
time and kills; this process bounds its own memory. What passes is known to compile within both.

Each frame on stdin and stdout is four bytes of length (big endian) and MessagePack: a `Grammar` in, a `Verdict` out. An
empty verdict goes first, when everything is loaded.
"""

from __future__ import annotations

import argparse
import resource
import struct
import sys
from pathlib import Path
from typing import BinaryIO

import msgspec
import numpy as np

from colonnade.engine.grammar import Compiler, Exhausted, Unenforceable, word_count
from colonnade.wire.messages import Grammar

LENGTH = struct.Struct(">I")


class Verdict(msgspec.Struct, frozen=True):
    """`message` is empty for a grammar that can be enforced."""

    message: str = ""
    keyword: str = ""
    path: str = ""


def judge(compiler: Compiler, grammar: Grammar, vocab_size: int) -> Verdict:
    """Compile it, and make the first mask."""
    try:
        compiler.compile(grammar).fill(np.zeros(word_count(vocab_size), dtype=np.uint32))
    except Unenforceable as error:
        return Verdict(error.message, error.keyword, error.path)
    except Exhausted as error:
        return Verdict(f"too complex: {error}")
    except RecursionError:
        return Verdict("nested too deeply")
    return Verdict()


def serve(compiler: Compiler, vocab_size: int, source: BinaryIO, sink: BinaryIO) -> None:
    """Until `source` ends."""
    decoder = msgspec.msgpack.Decoder(Grammar)
    _send(sink, Verdict())
    while len(head := source.read(LENGTH.size)) == LENGTH.size:
        grammar = decoder.decode(source.read(LENGTH.unpack(head)[0]))
        _send(sink, judge(compiler, grammar, vocab_size))


def _send(sink: BinaryIO, verdict: Verdict) -> None:
    frame = msgspec.msgpack.encode(verdict)
    sink.write(LENGTH.pack(len(frame)) + frame)
    sink.flush()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m colonnade.engine.grammar_check", description=__doc__)
    parser.add_argument("--tokenizer", required=True, help="tokenizer.json")
    parser.add_argument("--vocab-size", required=True, type=int)
    parser.add_argument("--end-tokens", required=True, help="ids, with commas between")
    parser.add_argument("--memory", required=True, type=int, help="bytes of address space")
    options = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_AS, (options.memory, options.memory))
    from colonnade.engine.llguidance_grammar import LlguidanceCompiler  # within the limit

    ends = [int(each) for each in options.end_tokens.split(",")]
    compiler = LlguidanceCompiler(Path(options.tokenizer).read_text("utf-8"), options.vocab_size, ends)
    serve(compiler, options.vocab_size, sys.stdin.buffer, sys.stdout.buffer)
    return 0


if __name__ == "__main__":
    sys.exit(main())
