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


def free_memory() -> int:
    """Bytes that this process may still take: the machine's, or what its control group leaves."""
    available = _field("/proc/meminfo", "MemAvailable:") or 4 << 30
    limit, used = (_number(f"/sys/fs/cgroup/memory.{name}") for name in ("max", "current"))
    if limit is None or used is None:
        return available
    return min(available, max(0, limit - used))


def _field(path: str, name: str) -> int | None:
    try:
        lines = Path(path).read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    values = [line.split()[1] for line in lines if line.startswith(name)]
    return int(values[0]) << 10 if values else None


def _number(path: str) -> int | None:
    try:
        text = Path(path).read_text(encoding="ascii").strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None
