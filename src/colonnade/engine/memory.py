"""How many tokens' keys and values fit: from the settings, or from the memory that is free."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from colonnade.wire.errors import BadSetting

AUTO_TOKENS = 65_536
_SHARE = 4
"""Without a setting, the cache takes at most one part in so many of the free memory."""


class CacheSettings(Protocol):
    @property
    def kv_memory(self) -> int | None: ...
    @property
    def kv_tokens(self) -> int | None: ...
    @property
    def max_context(self) -> int | None: ...


def cache_size(settings: CacheSettings, token_bytes: int, model_context: int, free: int) -> tuple[int, int]:
    """(pages, longest context). Raises BadSetting for a cache that does not fit, or a context that the cache or the
    model cannot hold."""
    context = settings.max_context or model_context
    if context > model_context:
        raise BadSetting(
            f"max_context is {context}, the model was trained for {model_context}",
            hint=f"set max_context to at most {model_context}, or auto",
        )
    pages = _pages(settings, token_bytes, context, free)
    if pages * token_bytes > free:
        raise BadSetting(
            f"a cache of {pages} tokens takes {pages * token_bytes >> 20} MiB, {free >> 20} MiB are free",
            hint="lower kv_tokens or kv_memory, or set them to auto",
        )
    if settings.max_context is not None and pages < context:
        raise BadSetting(
            f"max_context is {context}, the cache holds {pages} tokens", hint="raise kv_tokens, or lower max_context"
        )
    if pages < 2:
        raise BadSetting(f"the cache holds {pages} tokens", hint="raise kv_memory, or free memory on this machine")
    return pages, min(context, pages)


def _pages(settings: CacheSettings, token_bytes: int, context: int, free: int) -> int:
    if settings.kv_tokens is not None:
        return settings.kv_tokens
    if settings.kv_memory is not None:
        return settings.kv_memory // token_bytes
    return min(max(AUTO_TOKENS, 2 * context), free // _SHARE // token_bytes)


def free_memory(root: Path = Path("/")) -> int:
    """Bytes that this process may still take: the machine's, or what its control groups leave, whichever is less."""
    available = _field(root / "proc/meminfo", "MemAvailable:") or 4 << 30
    return min([available, *(_left(folder) for folder in _groups(root))])


def _groups(root: Path) -> list[Path]:
    """The folders of the control groups that this process is in, each with all above it: any of them may limit it.

    Lines of /proc/self/cgroup are `0::/path` (version 2) or `n:controllers:/path`; version 1 counts memory apart.
    """
    found: list[Path] = []
    for line in _lines(root / "proc/self/cgroup"):
        _, controllers, path = line.split(":", 2)
        if controllers not in ("", "memory"):
            continue
        base = root / "sys/fs/cgroup" / controllers
        inner = base / path.strip("/")
        found += [folder for folder in (inner, *inner.parents) if folder.is_relative_to(base) and ".." not in path]
    return found or [root / "sys/fs/cgroup"]


def _left(folder: Path) -> int:
    """What one group leaves; file pages that are not in use are given back under pressure, so they count as free."""
    for limit_name, used_name, idle in (
        ("memory.max", "memory.current", "inactive_file"),
        ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    ):
        limit, used = _number(folder / limit_name), _number(folder / used_name)
        if limit is not None and used is not None:
            held = used - (_field(folder / "memory.stat", idle) or 0)
            return max(0, limit - held)
    return 1 << 62


def _field(path: Path, name: str) -> int | None:
    """A number behind a name, in bytes: /proc/meminfo counts in kB, and says so."""
    for line in _lines(path):
        words = line.split()
        if words[:1] == [name]:
            return int(words[1]) << (10 if words[2:] == ["kB"] else 0)
    return None


def _number(path: Path) -> int | None:
    text = "".join(_lines(path)).strip()
    return int(text) if text.isdigit() else None


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="ascii").splitlines()
    except OSError:
        return []
