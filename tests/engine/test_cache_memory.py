"""How many tokens the cache holds: settings win, free memory bounds, contradictions are refused."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from colonnade.engine.footprint import Footprint
from colonnade.engine.memory import AUTO_TOKENS, cache_size, free_memory
from colonnade.wire.errors import BadSetting, SetupError

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


MEMINFO = "MemTotal: 9000000 kB\nMemAvailable: 1000000 kB\n"
MIB = 1 << 20


def machine(root: Path, files: dict[str, str]) -> int:
    for name, text in {"proc/meminfo": MEMINFO, **files}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return free_memory(root)


@pytest.mark.parametrize(
    ("files", "free"),
    [
        ({}, 1_000_000 << 10),
        ({"proc/meminfo": ""}, 4 << 30),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "max\n"}, 1_000_000 << 10),
        (
            {
                "proc/self/cgroup": "0::/\n",
                "sys/fs/cgroup/memory.max": f"{100 * MIB}\n",
                "sys/fs/cgroup/memory.current": f"{60 * MIB}\n",
                "sys/fs/cgroup/memory.stat": f"anon {20 * MIB}\nactive_file 0\ninactive_file {30 * MIB}\n",
            },
            70 * MIB,
        ),
        (
            {
                "proc/self/cgroup": "0::/outer/inner\n",
                "sys/fs/cgroup/outer/inner/memory.max": "max\n",
                "sys/fs/cgroup/outer/inner/memory.current": "1\n",
                "sys/fs/cgroup/outer/memory.max": f"{50 * MIB}\n",
                "sys/fs/cgroup/outer/memory.current": f"{20 * MIB}\n",
            },
            30 * MIB,
        ),
        (
            {
                "proc/self/cgroup": "4:memory:/a\n3:cpu:/a\n0::/\n",
                "sys/fs/cgroup/memory/a/memory.limit_in_bytes": f"{40 * MIB}\n",
                "sys/fs/cgroup/memory/a/memory.usage_in_bytes": f"{50 * MIB}\n",
                "sys/fs/cgroup/memory/a/memory.stat": f"total_inactive_file {5 * MIB}\n",
            },
            0,
        ),
        (
            {"sys/fs/cgroup/memory.max": f"{9 * MIB}\n", "sys/fs/cgroup/memory.current": f"{MIB}\n"},
            8 * MIB,
        ),
    ],
    ids=["no groups", "no books", "no limit", "version 2", "a group above", "version 1, used up", "unknown group"],
)
def test_the_smallest_limit_counts(tmp_path: Path, files: dict[str, str], free: int) -> None:
    assert machine(tmp_path, files) == free


def test_weights_that_do_not_fit_are_refused_with_numbers() -> None:
    footprint = Footprint(weights=3 * GIB, token=1024)
    footprint.check_weights(3 * GIB, "cpu")
    with pytest.raises(SetupError, match=f"{3 * GIB} bytes in memory .* {GIB} are free on cpu") as caught:
        footprint.check_weights(GIB, "cpu")
    assert "free 2.0 GiB" in caught.value.hint
    assert caught.value.reason == "out_of_memory"


def test_free_memory_is_measured() -> None:
    assert 1 << 20 < free_memory() < 1 << 50
