"""How many tokens the cache holds: settings win, free memory bounds, contradictions are refused."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from colonnade.engine.memory import AUTO_TOKENS, cache_size, free_memory
from colonnade.wire.errors import BadSetting

GIB = 1 << 30


@dataclass(frozen=True)
class Cache:
    kv_memory: int | None = None
    kv_tokens: int | None = None
    max_context: int | None = None


@pytest.mark.parametrize(
    ("settings", "token_bytes", "free", "expected"),
    [
        (Cache(), 2048, 16 * GIB, (AUTO_TOKENS, 8192)),
        (Cache(), 1 << 20, 16 * GIB, (4096, 4096)),
        (Cache(max_context=100), 2048, 16 * GIB, (AUTO_TOKENS, 100)),
        (Cache(kv_tokens=50), 2048, 16 * GIB, (50, 50)),
        (Cache(kv_memory=GIB), 2048, 2 * GIB, (GIB // 2048, 8192)),
        (Cache(kv_memory=GIB, kv_tokens=9000), 2048, 2 * GIB, (9000, 8192)),
    ],
)
def test_sizes(settings: Cache, token_bytes: int, free: int, expected: tuple[int, int]) -> None:
    assert cache_size(settings, token_bytes, 8192, free) == expected


def test_a_long_context_gets_a_larger_cache() -> None:
    assert cache_size(Cache(), 64, 131_072, 16 * GIB) == (262_144, 131_072)


@pytest.mark.parametrize(
    ("settings", "free", "message"),
    [
        (Cache(max_context=8193), 16 * GIB, "trained for 8192"),
        (Cache(kv_tokens=1 << 20), GIB, "2048 MiB, 1024 MiB are free"),
        (Cache(kv_tokens=100, max_context=101), GIB, "the cache holds 100"),
        (Cache(), 4096, "holds 0 tokens"),
    ],
)
def test_contradictions(settings: Cache, free: int, message: str) -> None:
    with pytest.raises(BadSetting, match=message):
        cache_size(settings, 2048, 8192, free)


def test_free_memory_is_measured() -> None:
    assert 1 << 20 < free_memory() < 1 << 50
