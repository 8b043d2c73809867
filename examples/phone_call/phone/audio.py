"""Sound on the wire: mono, 16-bit, 16 kHz, in frames of 20 ms."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

RATE = 16_000
SAMPLES = RATE // 50
FRAME = 2 * SAMPLES
"""Bytes of a frame."""
SECONDS = SAMPLES / RATE

Samples = NDArray[np.int16]


def samples_of(data: bytes) -> Samples:
    return np.frombuffer(data, np.int16)


def loudness(frame: bytes) -> float:
    """Root mean square, of samples of 16 bits."""
    samples_N = samples_of(frame).astype(np.float32)
    return float(np.sqrt(np.mean(samples_N * samples_N))) if samples_N.size else 0.0


def resampled(samples_N: Samples, rate: int) -> Samples:
    """To RATE, by straight lines between samples: good enough for speech that was made at 22 kHz."""
    count = int(len(samples_N) * RATE / rate)
    at_M = np.arange(count) * (rate / RATE)
    return np.interp(at_M, np.arange(len(samples_N)), samples_N).astype(np.int16)


def trimmed(samples_N: Samples, level: int = 60) -> Samples:
    """Without the silence at both ends."""
    loud = np.flatnonzero(np.abs(samples_N.astype(np.int32)) > level)
    return samples_N[loud[0] : loud[-1] + 1] if loud.size else samples_N[:0]


def frames(samples_N: Samples) -> list[bytes]:
    """The last one is filled up with silence."""
    padded_N = np.pad(samples_N, (0, -len(samples_N) % SAMPLES))
    return [each.tobytes() for each in padded_N.reshape(-1, SAMPLES)]
