"""Other engines' metrics, in the formats that they publish, as our load."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colonnade.replica.foreign.loads import READERS, Seen, sglang, trtllm, vllm
from colonnade.replica.foreign.samples import Samples
from colonnade.wire.messages import Load

FORMATS = Path(__file__).parent / "foreign_formats"


def seen(name: str) -> Seen | None:
    return READERS[name](next(FORMATS.glob(f"{name}_metrics.*")).read_text())


def test_vllm() -> None:
    assert seen("vllm") == Seen(Load(5, 4, 4000, 4000, 0, 16000), 1200 + 340 + 60)


def test_vllm_of_old() -> None:
    old = "vllm:num_requests_running 1\nvllm:gpu_cache_usage_perc 0.5\n"
    assert vllm(old) == Seen(Load(1, 0, 0, 0, 0, 0), None)


def test_sglang() -> None:
    assert seen("sglang") == Seen(Load(6, 5, 2800, 2800, 0, 10000), 8128902 + 7557572)
    assert sglang("sglang:num_running_reqs 1\nsglang:max_total_num_tokens 99\n") == Seen(Load(1, 0, 0, 0, 0, 99), None)
    assert sglang("sglang:num_running_reqs 0\nsglang:token_usage 0.0\n") == Seen(Load(), None)


def test_trtllm() -> None:
    assert seen("trtllm") == Seen(Load(4, 2, 384, 384, 0, 3200), 41)
    assert trtllm("[]") is None
    assert trtllm("# HELP other text") is None
    assert trtllm('[{"iter": 7}]') == Seen(Load(), 7)


def test_llamacpp() -> None:
    found = seen("llamacpp")
    assert found is not None
    assert (found.load.running, found.load.waiting) == (0, 0)
    assert found.work
    older = "llamacpp:requests_processing 2\nllamacpp:kv_cache_usage_ratio 0.5\nllamacpp:kv_cache_tokens 50\n"
    assert READERS["llamacpp"](older) == Seen(Load(2, 0, 50, 50, 0, 100), None)


@pytest.mark.parametrize("name", READERS)
def test_pages_of_others_say_nothing(name: str) -> None:
    for text in ("", "up 1\n", "<html></html>", "{}"):
        assert READERS[name](text) is None


def test_samples() -> None:
    page = Samples(
        '# TYPE a gauge\na{x="1",y="q\\"}"} 2 1700000000\na 3.0\nb NaN\nc +Inf\nd none\n odd line\ne{model="m"} 1e3\n'
    )
    assert page.total("a") == 5
    assert page.most("none", "a") == 3.0
    assert [page.total(name) for name in "bcd"] == [None, None, None]
    assert page.most("b") is None
    assert page.total("e") == 1000
    assert (page.label("a", "y"), page.label("e", "none"), page.label("none", "x")) == ('q\\"}', "", "")


@given(st.text())
def test_any_text_is_a_page(text: str) -> None:
    assert all(isinstance(read(text), Seen | None) for read in READERS.values())
    assert Samples(text).total("none") is None
