from __future__ import annotations

import pytest

from colonnade.engine.oracle import OracleMismatch, OracleWorker, continuation
from colonnade.engine.step import Admit, Chunk, Step
from colonnade.wire.messages import Sampling

PROMPT = (3, 1, 4, 1, 5)


def admit(slot: int, pages: tuple[int, ...] = (), tokens: tuple[int, ...] = PROMPT) -> Admit:
    return Admit(slot, tokens, len(tokens), pages, Sampling(seed=7, max_tokens=3), 0)


def filled() -> OracleWorker:
    """Slot 0 has computed the prompt into pages 0 to 4."""
    worker = OracleWorker(slots=2, pages=16, vocab_size=50)
    worker.run(Step(1, (admit(0),), (Chunk(0, 0, (0, 1, 2, 3, 4), True),)))
    return worker


def test_draws_what_the_history_says_in_any_chunks() -> None:
    whole, finish = continuation(PROMPT, Sampling(seed=7, max_tokens=3), 0, vocab_size=50, context=99)
    worker = OracleWorker(slots=2, pages=16, vocab_size=50)
    assert worker.tokens(0) == []
    assert worker.run(Step(1, (admit(0),), (Chunk(0, 0, (9, 4), False),))).drawn == ()
    drawn = [worker.run(Step(2, (), (Chunk(0, 2, (1, 2, 3), True),))).drawn[0].token]
    drawn += [worker.run(Step(3 + i, (), (Chunk(0, 5 + i, (5 + i,), True),))).drawn[0].token for i in range(2)]
    assert (drawn, finish) == (whole, "length")
    assert worker.tokens(0) == [*PROMPT, *whole]


def test_reads_shared_pages_through_the_page_table() -> None:
    worker = filled()
    result = worker.run(Step(2, (admit(1, (0, 1, 2, 3)),), (Chunk(1, 4, (8,), True),)))
    assert result.drawn[0].token == worker.tokens(0)[5]


def test_a_page_of_another_history_is_named() -> None:
    worker = filled()
    with pytest.raises(OracleMismatch, match="slot 1, position 2, page 3"):
        worker.run(Step(2, (admit(1, (0, 1, 3, 2)),), (Chunk(1, 4, (8,), True),)))


def test_a_page_that_was_written_over_is_named() -> None:
    worker = filled()
    worker.run(Step(2, (admit(1, tokens=(9,)),), (Chunk(1, 0, (2,), True),)))
    with pytest.raises(OracleMismatch, match="slot 0, position 2, page 2"):
        worker.run(Step(3, (), (Chunk(0, 5, (5,), True),)))


def test_a_page_written_by_two_is_named() -> None:
    worker = OracleWorker(slots=2, pages=16, vocab_size=50)
    step = Step(1, (admit(0, tokens=(1,)), admit(1, tokens=(2,))), (Chunk(0, 0, (3,), True), Chunk(1, 0, (3,), True)))
    with pytest.raises(OracleMismatch, match="written twice"):
        worker.run(step)


@pytest.mark.parametrize("chunk", [Chunk(0, 6, (5,), True), Chunk(0, 4, (5,), True), Chunk(1, 0, (5,), True)])
def test_a_chunk_that_does_not_follow_is_named(chunk: Chunk) -> None:
    with pytest.raises(OracleMismatch, match="a chunk starts at"):
        filled().run(Step(2, (), (chunk,)))


def test_a_draw_before_the_end_is_named() -> None:
    worker = OracleWorker(slots=1, pages=16, vocab_size=50)
    with pytest.raises(OracleMismatch, match="a draw after 2 of 5 tokens"):
        worker.run(Step(1, (admit(0),), (Chunk(0, 0, (0, 1), True),)))
