"""Grammars by llguidance (https://github.com/guidance-ai/llguidance): an Earley parser over derivatives of regexes.

It refuses what it does not implement, makes a mask in some 50 µs and compiles lazily. JSON schemas are first lowered
by `schema.lower`; its own switches inside of a schema (`x-guidance`, which could make it lenient) are taken out there.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from llguidance import LLMatcher, LLTokenizer
from llguidance.gbnf_to_lark import gbnf_to_lark

from colonnade.engine.call_grammar import locate_call, to_lark
from colonnade.engine.grammar import Exhausted, Unenforceable, Words
from colonnade.engine.ordering import any_order
from colonnade.engine.schema import locate, lower
from colonnade.wire.messages import Grammar

_OF_SCHEMAS = ("json_schema", "calls")

Layout = Mapping[str, Any]
"""How a JSON text may be laid out, as llguidance has it."""

_LAYOUT: Layout = {"whitespace_pattern": r"[ \n\r\t]{0,40}"}
"""Between two parts of a JSON text: enough to indent, and an end to a model that would write blanks for ever."""

_USUAL: Layout = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
"""The most common one, Python's; what is drafted follows it while the answer does."""


class LlguidanceCompiler:
    """`tokenizer` is the text of tokenizer.json. With `guess`, matchers also foresee the usual layout of JSON, which an
    answer need not have. Raises ValueError for a tokenizer that cannot be read."""

    def __init__(self, tokenizer: str, vocab_size: int, end_tokens: Sequence[int], *, guess: bool = True) -> None:
        self._ends = frozenset(end_tokens)
        self.tokenizer = LLTokenizer(tokenizer, n_vocab=vocab_size, eos_token=list(end_tokens))
        self._guess = guess
        self._plain: dict[int, bool] = {}

    def compile(self, grammar: Grammar) -> LlguidanceMatcher:
        """Raises Unenforceable."""
        matcher = self._matcher(grammar)
        if matcher.is_error():
            raise _refusal(grammar, matcher.get_error())
        if warnings := matcher.get_grammar_warnings():
            raise Unenforceable(_first_line(warnings[0]))
        return LlguidanceMatcher(self, matcher, grammar)

    def _matcher(self, grammar: Grammar) -> LLMatcher:
        """With objects in any order where the library takes that, too."""
        for orders in (True, False) if grammar.kind in _OF_SCHEMAS else (False,):
            matcher = LLMatcher(self.tokenizer, self._serialized(grammar, _LAYOUT, orders=orders), log_level=0)
            if not matcher.is_error():
                break
        return matcher

    def is_end(self, token: int) -> bool:
        return token in self._ends

    def is_plain(self, token: int) -> bool:
        found = self._plain.get(token)
        if found is None:
            text = self.tokenizer.decode_str([token])
            found = self._plain[token] = text.lstrip(" ").isalnum()
        return found

    def guide(self, grammar: Grammar) -> LLMatcher | None:
        """The same values in one layout."""
        if not self._guess or grammar.kind not in _OF_SCHEMAS:
            return None
        guide = LLMatcher(self.tokenizer, self._serialized(grammar, _USUAL), log_level=0)
        return None if guide.is_error() else guide

    def _serialized(self, grammar: Grammar, layout: Layout, *, orders: bool = False) -> str:
        """In llguidance's own form; `orders`: with other orders of properties than a schema's. Raises Unenforceable."""
        lowered = (lambda schema: any_order(lower(schema))) if orders else lower
        match grammar.kind:
            case "regex":
                return LLMatcher.grammar_from_regex(grammar.text)
            case "json_schema":
                schema = json.dumps(lowered(_json(grammar.text)))
                return LLMatcher.grammar_from_json_schema(schema, defaults=layout)  # pyright: ignore[reportArgumentType]
            case "calls":
                return LLMatcher.grammar_from_lark(to_lark(_json(grammar.text), self._is_token, layout, lowered))
            case "ebnf":
                return LLMatcher.grammar_from_lark(_lark(grammar.text))

    def _is_token(self, text: str) -> bool:
        """Whether the tokenizer has it as one added token, which text cannot spell."""
        tokens = self.tokenizer.tokenize_str(text, parse_special=True)
        return len(tokens) == 1 and self.tokenizer.is_special_token(tokens[0])


class LlguidanceMatcher:
    """`guide` matches the same values, but in one layout alone. What it forces is a good guess, until an answer is laid
    out in another way: then it is dropped. It is made for the first copy, lags behind the matcher, and never has to go
    back."""

    def __init__(self, compiler: LlguidanceCompiler, matcher: LLMatcher, grammar: Grammar) -> None:
        self._compiler = compiler
        self._matcher = matcher
        self._grammar = grammar
        self._guide: LLMatcher | None = None
        self._unguided: list[int] = []  # accepted, and not shown to the guide
        self._counted: list[bool] = []  # of what may be taken back: whether the library counts it as a step

    def copy(self) -> LlguidanceMatcher:
        """Of one that has accepted nothing."""
        if self._guide is None:
            self._guide = self._compiler.guide(self._grammar)
        copy = LlguidanceMatcher(self._compiler, self._matcher.deep_copy(), self._grammar)
        copy._guide = None if self._guide is None else self._guide.deep_copy()
        return copy

    def fill(self, words_W: Words) -> None:
        self._matcher.unsafe_compute_mask_ptr(words_W.ctypes.data, words_W.nbytes)
        if self._matcher.is_error():
            raise Exhausted(_first_line(self._matcher.get_error()))

    def accept(self, token: int) -> None:
        counted = self._matcher.try_consume_tokens([token]) == 1
        if not counted:
            if self._matcher.is_error():
                raise Exhausted(_first_line(self._matcher.get_error()))
            if not (self._matcher.is_stopped() and self._compiler.is_end(token)):  # an end after the end is no step
                raise ValueError(f"token {token} is not allowed here")
        self._counted.append(counted)
        self._unguided.append(token)

    def back(self, count: int) -> None:
        if not count:
            return
        steps = sum(self._counted[-count:])
        del self._counted[-count:], self._unguided[-count:]
        if steps and not self._matcher.rollback(steps):
            raise Exhausted(_first_line(self._matcher.get_error()))

    def keep(self) -> None:
        self._counted.clear()
        if self._guide is not None and self._guide.try_consume_tokens(self._unguided) < len(self._unguided):
            self._guide = None
        self._unguided.clear()

    def ahead(self) -> Sequence[int]:
        self.keep()
        if self._guide is not None and (text := self._guide.compute_ff_bytes()):
            return self._spelled(text, self._guide.compute_ff_tokens())
        return self._matcher.compute_ff_tokens()

    def _spelled(self, text: bytes, tokens: list[int]) -> Sequence[int]:
        """All of `text`, of which `tokens` are certain to be so written: how the rest is depends on what follows."""
        tokenizer = self._compiler.tokenizer
        rest = text[len(tokenizer.decode_bytes(tokens)) :]
        return [*tokens, *tokenizer.tokenize_bytes(rest)] if rest else tokens

    def plain(self, token: int) -> bool:
        return self._compiler.is_plain(token)

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
    if grammar.kind not in _OF_SCHEMAS or not keyword:
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
