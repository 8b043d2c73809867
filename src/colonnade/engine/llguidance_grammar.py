"""Grammars by llguidance (https://github.com/guidance-ai/llguidance): an Earley parser over derivatives of regexes.

It refuses what it does not implement, makes a mask in some 50 µs and compiles lazily. JSON schemas are first lowered
by `schema.lower`; its own switches inside of a schema (`x-guidance`, which could make it lenient) are taken out there.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from llguidance import LLMatcher, LLTokenizer
from llguidance.gbnf_to_lark import gbnf_to_lark

from colonnade.engine.call_grammar import locate_call, to_lark
from colonnade.engine.grammar import Exhausted, Unenforceable, Words
from colonnade.engine.schema import locate, lower
from colonnade.wire.messages import Grammar

_LAYOUT = {"whitespace_pattern": r"[ \n\r\t]{0,40}"}
"""Between two parts of a JSON text: enough to indent, and an end to a model that would write blanks for ever."""


class LlguidanceCompiler:
    """`tokenizer` is the text of tokenizer.json. Raises ValueError for one that cannot be read."""

    def __init__(self, tokenizer: str, vocab_size: int, end_tokens: Sequence[int]) -> None:
        self._ends = frozenset(end_tokens)
        self.tokenizer = LLTokenizer(tokenizer, n_vocab=vocab_size, eos_token=list(end_tokens))

    def compile(self, grammar: Grammar) -> LlguidanceMatcher:
        """Raises Unenforceable."""
        matcher = LLMatcher(self.tokenizer, self._serialized(grammar), log_level=0)
        if matcher.is_error():
            raise _refusal(grammar, matcher.get_error())
        if warnings := matcher.get_grammar_warnings():
            raise Unenforceable(_first_line(warnings[0]))
        return LlguidanceMatcher(matcher, self._ends)

    def _serialized(self, grammar: Grammar) -> str:
        """In llguidance's own form. Raises Unenforceable."""
        match grammar.kind:
            case "regex":
                return LLMatcher.grammar_from_regex(grammar.text)
            case "json_schema":
                schema = json.dumps(lower(_json(grammar.text)))
                return LLMatcher.grammar_from_json_schema(schema, defaults=_LAYOUT)  # pyright: ignore[reportArgumentType]
            case "calls":
                return LLMatcher.grammar_from_lark(to_lark(_json(grammar.text), self._is_token))
            case "ebnf":
                return LLMatcher.grammar_from_lark(_lark(grammar.text))

    def _is_token(self, text: str) -> bool:
        """Whether the tokenizer has it as one added token, which text cannot spell."""
        tokens = self.tokenizer.tokenize_str(text, parse_special=True)
        return len(tokens) == 1 and self.tokenizer.is_special_token(tokens[0])


class LlguidanceMatcher:
    def __init__(self, matcher: LLMatcher, ends: frozenset[int]) -> None:
        self._matcher = matcher
        self._ends = ends

    def copy(self) -> LlguidanceMatcher:
        return LlguidanceMatcher(self._matcher.deep_copy(), self._ends)

    def fill(self, words_W: Words) -> None:
        self._matcher.unsafe_compute_mask_ptr(words_W.ctypes.data, words_W.nbytes)
        if self._matcher.is_error():
            raise Exhausted(_first_line(self._matcher.get_error()))

    def accept(self, token: int) -> None:
        if self._matcher.try_consume_tokens([token]) == 1:
            return
        if self._matcher.is_error():
            raise Exhausted(_first_line(self._matcher.get_error()))
        if self._matcher.is_stopped() and token in self._ends:  # nothing may follow: the end is not counted as a step
            return
        raise ValueError(f"token {token} is not allowed here")

    @property
    def complete(self) -> bool:
        """Whether the answer may end here."""
        return self._matcher.is_accepting()


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise Unenforceable(f"not JSON: {error}") from error


def _lark(text: str) -> str:
    if "x-guidance" in text:
        raise Unenforceable("x-guidance would let keywords be dropped", "x-guidance")
    if "::=" not in text:
        return text
    try:
        return gbnf_to_lark(text)
    except Exception as error:  # the converter raises whatever it stumbles over
        raise Unenforceable(f"not EBNF: {error}") from error


def _refusal(grammar: Grammar, message: str) -> Unenforceable:
    """llguidance names keywords; we say where they are."""
    keyword = _keyword(message)
    if grammar.kind not in ("json_schema", "calls") or not keyword:
        return Unenforceable(_first_line(message))
    spoken = _json(grammar.text)
    path = locate(spoken, keyword) if grammar.kind == "json_schema" else locate_call(spoken, keyword)
    return Unenforceable(_first_line(message), keyword, path or "")


_NAMED = (
    re.compile(r'Unimplemented keys: \["([^"]+)"'),
    re.compile(r"^(oneOf) constraints"),
    re.compile(r"^min/(maxProperties)"),
    re.compile(r"Invalid (type):"),
    re.compile(r"lookarounds.* (regex)"),
)


def _keyword(message: str) -> str:
    found = next((match[1] for each in _NAMED if (match := each.search(message))), "")
    return {"regex": "pattern"}.get(found, found)


def _first_line(message: str) -> str:
    return message.partition("\n")[0][:300]
