"""How many tokens of a prompt each of its message prefixes safely stands for. Pure.

    body        {"messages": [m0, m1, ...]}          links: hashes of what it begins with (`wire.prefix`)
    text        <system>m0<user>m1...<assistant>     the rendered prompt; a link reaches to some character of it
    tokens      [ 5 | 17 | 4 | 9 | ...               and stands for the tokens before a safe place before that

A link that ends with a message reaches as far as the prompt's text agrees with the rendering of the messages until
there; one that ends inside a message, as far as the text that its bytes hold. From there back to the nearest token that
begins where every tokenizer splits: what stands before it is tokenised the same whatever follows. A template that
writes its beginning anew when more follows (a date, thoughts taken out) breaks this: then the same link is seen before
other tokens, and stands for those from then on.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import msgspec

from colonnade.engine.radix import prefix_digests
from colonnade.wire.prefix import WHOLE, Link

LEAST = 8
"""Tokens: shorter prefixes are not worth knowing."""
FRESH = 8
"""Links of one request that are learned at most; each costs a rendering."""
FIRST, LAST = 4, 12
"""Marks that one request has at most: those that many share, and those that its own conversation comes back to."""
KNOWN = 1 << 16
"""Links remembered."""


class Mark(NamedTuple):
    """A link stands for the first `length` tokens of a prompt; `tokens` is their digest, as the engine tells it."""

    link: bytes
    length: int
    tokens: bytes


class Prompt(NamedTuple):
    """`spans()`: where each token stands in `text`. `begins(token)`: whether what is before it never joins with it.
    `reach(link)`: characters of `text` that the link fixes."""

    tokens: Sequence[int]
    spans: Callable[[], Sequence[tuple[int, int]]]
    begins: Callable[[int], bool]
    reach: Callable[[Link], int]


class Landmarks:
    """Remembers what was learned, and learns it anew where it is no longer so."""

    def __init__(self) -> None:
        self._known: OrderedDict[bytes, tuple[int, bytes]] = OrderedDict()

    def fresh(self, links: Sequence[Link]) -> Sequence[Link]:
        """Those that `find` would learn: `reach` is asked for them, and for others only where they have changed."""
        return _chosen([link for link in links if link.digest not in self._known])

    def find(self, namespace: str, links: Sequence[Link], prompt: Prompt) -> list[Mark]:
        """Of one request, shortest first."""
        held = sorted((self._known[link.digest][0], link) for link in links if link.digest in self._known)
        held = [(length, link) for length, link in held if length <= len(prompt.tokens)]
        digests = prefix_digests(namespace, prompt.tokens, [length for length, _ in held])
        marks = [
            Mark(link.digest, length, tokens)
            for (length, link), tokens in zip(held, digests, strict=True)
            if self._known[link.digest][1] == tokens
        ]
        agreed = {mark.link for mark in marks}
        others = [link for link in links if link.digest not in agreed]
        for link in others:  # one that no longer agrees is fresh again
            self._known.pop(link.digest, None)
        marks += self._learn(namespace, others, prompt)
        for mark in marks:
            self._remember(mark)
        marks.sort(key=lambda mark: mark.length)
        return marks if len(marks) <= FIRST + LAST else [*marks[:FIRST], *marks[-LAST:]]

    def _learn(self, namespace: str, links: list[Link], prompt: Prompt) -> list[Mark]:
        chosen = _chosen(links)
        if not chosen:
            return []
        spans = prompt.spans()
        lengths = [safe_length(prompt, spans, prompt.reach(link)) for link in chosen]
        found = sorted((length, link.digest) for length, link in zip(lengths, chosen, strict=True) if length >= LEAST)
        digests = prefix_digests(namespace, prompt.tokens, [length for length, _ in found])
        return [Mark(link, length, tokens) for (length, link), tokens in zip(found, digests, strict=True)]

    def _remember(self, mark: Mark) -> None:
        self._known[mark.link] = (mark.length, mark.tokens)
        self._known.move_to_end(mark.link)
        if len(self._known) > KNOWN:
            self._known.popitem(last=False)


def _chosen(links: Sequence[Link]) -> Sequence[Link]:
    """The last ones of all, whose prefixes are the longest, and the first."""
    return links if len(links) <= FRESH else [links[0], *links[1 - FRESH :]]


def safe_length(prompt: Prompt, spans: Sequence[tuple[int, int]], reach: int) -> int:
    """Tokens that are the same in every prompt whose text begins with the first `reach` characters of this one: up to
    the last token that begins a word or is an added one, and whose beginning can be seen."""
    index = bisect_right(spans, reach, key=lambda span: span[0]) - 1
    while index >= 0:
        start, end = spans[index]
        if (start + 2 <= reach or end <= reach) and prompt.begins(prompt.tokens[index]):
            return index
        index -= 1
    return 0


def counts(links: Sequence[Link]) -> list[int]:
    """Of how many messages the ends must be known for the reach of these links."""
    return sorted({_ended(link) for link in links} - {0})


def _ended(link: Link) -> int:
    return link.message + (link.cut == WHOLE)


def chat_reach(
    text: str,
    messages: Sequence[bytes],
    contents: Sequence[str],
    ends: Mapping[int, int],
) -> Callable[[Link], int]:
    """`contents`: what each message says; `ends[n]`: how far the text agrees with the prompt of the first n messages
    alone. Where that is not known, a link reaches nowhere."""

    def reach(link: Link) -> int:
        ended = _ended(link)
        end = ends.get(ended, 0)
        if link.cut == WHOLE or (ended and not end):
            return end
        said = contents[link.message][: said_by(messages[link.message][: link.cut], contents[link.message])]
        start = text.find(said, end) if said else -1
        return start + len(said) if start >= 0 else 0

    return reach


def text_reach(text: str, prompt: bytes) -> Callable[[Link], int]:
    """Of a completion: the prompt is a JSON string."""

    def reach(link: Link) -> int:
        return len(text) if link.cut == WHOLE else _characters(prompt[1 : link.cut], text)

    return reach


def said_by(part: bytes, content: str) -> int:
    """Characters of `content` that the first bytes of a message's JSON hold, where it is written as one string."""
    before, key, rest = part.partition(b'"content"')
    value = rest.lstrip(b" \t\r\n:")
    if not key or b"{" in before[1:] or value[:1] != b'"':
        return 0
    return _characters(value[1:], content)


def _characters(part: bytes, content: str) -> int:
    """Of the beginning of a JSON string without its quote; its last character may be there in part."""
    for short in range(min(13, len(part) + 1)):
        try:
            said = msgspec.json.decode(b'"' + part[: len(part) - short] + b'"', type=str)
        except (msgspec.DecodeError, UnicodeDecodeError):
            continue
        return len(said) if content.startswith(said) else 0
    return 0
