"""Whether a model fits on a device, and what would: sizes and free memory in, sentences and figures out.

The cache is sized by the rule that the engine itself follows once the weights are in (`engine.memory.cache_size`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from colonnade.engine.footprint import OVERHEAD, Footprint
from colonnade.engine.memory import CacheSettings, cache_size
from colonnade.wire.errors import BadSetting
from colonnade.wire.units import rounded_bytes

Verdict = Literal["ok", "warn", "fail"]


@dataclass(frozen=True)
class Device:
    """`free`: bytes that a process may take."""

    name: str
    free: int


@dataclass(frozen=True)
class Fit:
    """`found` and `fix` in words; `figures` in bytes and tokens."""

    verdict: Verdict
    found: str
    fix: str
    figures: dict[str, int]


def fit(footprint: Footprint, device: Device, settings: CacheSettings, longest: int) -> Fit:
    """`longest`: the context that the model was trained for."""
    left = device.free - footprint.weights - OVERHEAD
    whole = footprint.weights + OVERHEAD + footprint.token * longest
    figures = {
        "free": device.free,
        "weights": footprint.weights,
        "overhead": OVERHEAD,
        "bytes_per_token": footprint.token,
        "most_tokens": max(0, left // footprint.token),
        "needed_for_whole_context": whole,
    }
    if left < 2 * footprint.token:
        return _too_small(footprint, device, whole, longest, figures)
    try:
        pages, context = cache_size(settings, footprint.token, longest, left)
    except BadSetting as error:
        most = figures["most_tokens"]
        fix = f"{error.hint}; beside the weights {most} tokens fit: --kv-tokens {most}"
        return Fit("fail", f"{_beside(footprint, device)}: {error.message}", fix, figures)
    figures |= {"tokens": pages, "context": context, "cache": pages * footprint.token}
    found = f"{_beside(footprint, device)}: a cache of {pages} tokens ({rounded_bytes(pages * footprint.token)})"
    wanted = settings.max_context or longest
    if context >= wanted:
        return Fit("ok", f"{found} holds the context of {context}", "", figures)
    return Fit("warn", f"{found} cuts the context to {context} of {wanted}", _longer(device, whole, longest), figures)


def _too_small(footprint: Footprint, device: Device, whole: int, longest: int, figures: dict[str, int]) -> Fit:
    needed = footprint.weights + OVERHEAD
    found = f"the weights take {rounded_bytes(footprint.weights)}, with all else {rounded_bytes(needed)}; "
    found += f"{rounded_bytes(device.free)} are free"
    fix = (
        f"{rounded_bytes(needed - device.free)} more, and {rounded_bytes(footprint.token)} for each token of context: "
    )
    fix += f"{rounded_bytes(whole)} in all for the context of {longest}; or a smaller model"
    return Fit("fail", found, fix, figures)


def _longer(device: Device, whole: int, longest: int) -> str:
    if whole <= device.free:
        return f"--kv-tokens {longest} holds it: {rounded_bytes(whole)} in all (auto takes a quarter of what is left)"
    lacking = rounded_bytes(whole - device.free)
    return f"{lacking} more memory for a context of {longest}, or say --max-context for a shorter one"


def _beside(footprint: Footprint, device: Device) -> str:
    return f"{rounded_bytes(device.free)} free, weights {rounded_bytes(footprint.weights)}"
