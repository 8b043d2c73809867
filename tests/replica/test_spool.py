from hypothesis import given
from hypothesis import strategies as st

from colonnade.replica.spool import Spool
from colonnade.replica.writer import Written


def fill(spool: Spool, count: int, size: int = 10) -> list[bool]:
    return [spool.append(Written(b"%d" % (n % 10) * size, f"e/{n}")) for n in range(count)]


def test_bytes_come_out_as_they_went_in():
    spool = Spool(None, keep=False)
    fill(spool, 3)
    assert spool.take(0) == b"0" * 10 + b"1" * 10 + b"2" * 10
    spool.deliver(20)
    assert spool.start == 20
    assert spool.take(20) == b"2" * 10
    assert spool.take(30) == b""


def test_a_reader_that_falls_behind_is_noticed():
    spool = Spool(25, keep=False)
    assert fill(spool, 3) == [True, True, False]


def test_delivered_bytes_do_not_count():
    spool = Spool(25, keep=False)
    for n in range(100):
        assert spool.append(Written(b"x" * 10))
        spool.deliver((n + 1) * 10)


def test_events_are_found_while_they_are_kept():
    spool = Spool(45, keep=True)
    for n in range(10):
        spool.append(Written(b"x" * 10, f"e/{n}"))
        spool.deliver((n + 1) * 10)
    assert spool.find("e/9") == 100
    assert spool.find("e/5") == 60
    assert spool.find("e/4") is None
    assert spool.find("e/77") is None


def test_of_two_events_with_one_id_the_first():
    spool = Spool(None, keep=True)
    spool.append(Written(b"finish", "e/1f"))
    spool.append(Written(b"usage", "e/1f"))
    offset = spool.find("e/1f")
    assert offset is not None
    assert spool.take(offset) == b"usage"


def test_a_stream_that_cannot_be_resumed_keeps_no_marks():
    spool = Spool(None, keep=False)
    fill(spool, 1)
    assert spool.find("e/0") is None


def test_a_cut_drops_what_was_not_delivered():
    spool = Spool(25, keep=True)
    fill(spool, 3)
    spool.deliver(10)
    spool.cut([Written(b"error")])
    assert spool.take(10) == b"error"
    assert spool.ended
    assert spool.find("e/0") is None


def test_a_cut_before_anything_was_delivered():
    spool = Spool(5, keep=False)
    fill(spool, 1)
    spool.cut([Written(b"error")])
    assert spool.take(0) == b"error"


def test_each_change_wakes_the_reader():
    spool, woken = Spool(None, keep=False), []
    spool.wake = lambda: woken.append(1)
    fill(spool, 2)
    spool.close()
    assert len(woken) == 3


@given(st.lists(st.tuples(st.integers(1, 9), st.booleans()), max_size=40), st.booleans(), st.integers(9, 60))
def test_a_reader_sees_every_byte_once(steps: list[tuple[int, bool]], keep: bool, limit: int):
    spool, written, read = Spool(limit, keep=keep), b"", b""
    for n, (size, reads) in enumerate(steps):
        data = bytes([65 + n % 26]) * size
        written += data
        if not spool.append(Written(data, f"e/{n}")) or reads:
            read += spool.take(len(read))
            spool.deliver(len(read))
        assert spool.end - spool.start <= limit + 9
    read += spool.take(len(read))
    assert read == written
