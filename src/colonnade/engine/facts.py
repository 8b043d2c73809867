"""What a loaded engine tells of itself: for /v1/models and ps."""

from __future__ import annotations

import time
from collections.abc import Callable

from colonnade.engine.kernels.ops import Kernels
from colonnade.engine.resident import Bound, device_of

Progress = Callable[[str], None]


def facts_of(kernels: Kernels, bound: Bound, pages: int, context: int) -> dict[str, str | int | float | bool]:
    return {
        "kernels": kernels.name,
        "batch_invariant": kernels.batch_invariant,
        "device": device_of(kernels),
        "threads": kernels.threads,
        "dtype": "float32",
        "weight_dtype": bound.weight_dtype,
        "quantisation": bound.quantisation,
        "pages": pages,
        "max_context": context,
        "kv_bytes_per_token": bound.token_bytes,
    }


class Clock:
    """Seconds by phase, for the facts."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._marks: list[tuple[str, float]] = []

    def enter(self, phase: str) -> None:
        self._marks.append((phase, time.monotonic()))
        self._progress(phase)

    def seconds(self) -> dict[str, str | int | float | bool]:
        """`seconds_PHASE` of each phase entered; the last one ends now."""
        ends = [begun for _, begun in self._marks[1:]] + [time.monotonic()]
        return {
            f"seconds_{phase}": round(end - begun, 4) for (phase, begun), end in zip(self._marks, ends, strict=True)
        }
