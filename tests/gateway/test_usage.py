"""What an answer cost, as it says."""

from __future__ import annotations

import pytest

from colonnade.gateway.resume import Passage
from colonnade.gateway.usage import Usage, in_body


@pytest.mark.parametrize(
    ("body", "used"),
    [
        (b'{"usage":{"prompt_tokens":3,"completion_tokens":6,"total_tokens":9}}', Usage(3, 6)),
        (b'{"type":"message","usage":{"input_tokens":3,"output_tokens":6}}', Usage(3, 6)),
        (b'{"usage":{"prompt_tokens":5,"total_tokens":5}}', Usage(5, 0)),
        (b'{"meta_info":{"prompt_tokens":3,"completion_tokens":6}}', Usage(3, 6)),
        (b' [{"meta_info":{"prompt_tokens":3,"completion_tokens":6}},{"meta_info":{"prompt_tokens":1}}]', Usage(4, 6)),
        (b'{"usage":null}', None),
        (b'{"usage":7}', None),
        (b'{"meta_info":"usage"', None),
        (b"\xff\x00 not JSON", None),
        (b'{"text":"hello"}', None),
    ],
)
def test_of_a_whole_answer(body: bytes, used: Usage | None) -> None:
    assert in_body(body) == used


BEGIN = b": usage prompt=30 cached=4 completion=0\n: tokens 0 7 8\nid: e/2\ndata: {}\n\n"
END = b": tokens 0 9\n: usage prompt=30 cached=4 completion=3\nid: e/3f\ndata: {}\n\ndata: [DONE]\n\n"


@pytest.mark.parametrize(
    ("blocks", "partial", "used"),
    [
        ([BEGIN, END], False, Usage(30, 3)),
        ([BEGIN], False, Usage(30, 2)),
        ([END], True, Usage(0, 1)),
        ([b"data: {}\n\n", b"data: [DONE]\n\n"], False, None),
        ([], False, None),
    ],
)
def test_of_a_stream(blocks: list[bytes], partial: bool, used: Usage | None) -> None:
    passage = Passage(partial=partial)
    for block in blocks:
        passage.take(block)
    assert passage.used() == used
