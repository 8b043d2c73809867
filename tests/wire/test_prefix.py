"""What a request begins with, in hashes."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from colonnade.wire.prefix import BLOCK, MOST, WHOLE, chain, links, read

parts = st.lists(st.binary(max_size=3 * BLOCK), max_size=5)


def body(**fields: Any) -> bytes:
    return msgspec.json.encode({"model": "m", **fields})


@given(parts, parts)
def test_equal_beginnings_have_equal_links(left: list[bytes], more: list[bytes]) -> None:
    first, second = chain("t", "m", b"", left), chain("t", "m", b"", left + more)
    assert second[: len(first)] == first
    assert len({link.digest for link in second}) == len(second)
    assert [link.size for link in second] == sorted(link.size for link in second)
    assert (second[-1].size if second else 0) == sum(map(len, left + more))


def test_what_keeps_links_apart() -> None:
    said = [b'{"role":"user","content":"' + b"a" * 2000 + b'"}']
    seen = {
        chain(*seed, said)[-1].digest
        for seed in [("t", "m", b""), ("u", "m", b""), ("t", "n", b""), ("t", "m", b"[1]"), ("tm", "", b"")]
    }
    assert len(seen) == 5


def test_long_messages_are_cut() -> None:
    found = chain("t", "m", b"", [b"a" * (2 * BLOCK + 1), b"b" * BLOCK])
    assert [(link.message, link.cut, link.size) for link in found] == [
        (0, BLOCK, BLOCK),
        (0, 2 * BLOCK, 2 * BLOCK),
        (0, WHOLE, 2 * BLOCK + 1),
        (1, WHOLE, 3 * BLOCK + 1),
    ]
    assert len(chain("t", "m", b"", [b"a" * (MOST + 9) * BLOCK, b"b"])) == MOST


def test_bodies() -> None:
    hello = {"role": "user", "content": "hello"}
    asked = read(body(messages=[hello, hello], temperature=0.5), "t")
    assert asked.parts == [msgspec.json.encode(hello)] * 2
    assert asked.links == links(body(temperature=1, messages=[hello, hello]), "t")
    assert links(body(messages=[hello], tools=[1], tool_choice="none"), "t") == links(body(messages=[hello]), "t")
    assert links(body(messages=[hello], tools=[1]), "t") != links(body(messages=[hello]), "t")
    assert read(body(prompt="abc"), "t").parts == [b'"abc"']
    assert links(body(), "t") == links(b"[", "t") == links(body(messages=5), "t") == []


def test_sessions() -> None:
    hello = {"role": "user", "content": "hello"}
    one, two = (read(body(messages=[hello] * count), "t").session for count in (2, 3))
    assert one == two != b""
    assert read(body(messages=[hello], user="u"), "t").session == b"t/u"
    assert read(body(messages=[hello], user="u", prompt_cache_key="k"), "t").session == b"t/k"
    assert read(body(), "t").session == b""
