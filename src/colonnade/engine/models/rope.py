"""Rotary embedding: the angle of each position and pair of coordinates (Su et al., arXiv 2104.09864).

Angles are computed in float32, as transformers does, because a difference in a frequency grows with the position.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from colonnade.engine.kernels.ops import Floats
from colonnade.wire.errors import BadModel

KINDS = ("default", "linear", "llama3")


def tables(config: Mapping[str, Any], head_dim: int, positions: int) -> tuple[Floats, Floats]:
    """Cosines and sines [positions, head_dim / 2]."""
    angles = np.arange(positions, dtype=np.float32)[:, None] * frequencies(config, head_dim)[None, :]
    wide = angles.astype(np.float64)
    return np.cos(wide).astype(np.float32), np.sin(wide).astype(np.float32)


def frequencies(config: Mapping[str, Any], head_dim: int) -> Floats:
    """Radians a position, for each pair of coordinates. Raises BadModel for a scaling that is not in KINDS."""
    rope = parameters(config)
    kind = rope.get("rope_type", rope.get("type", "default"))
    base = float(rope.get("rope_theta", 10000.0))
    exponents = (np.arange(0, head_dim, 2, dtype=np.float32) / np.float32(head_dim)).astype(np.float64)
    plain = (np.float32(1.0) / (base**exponents).astype(np.float32)).astype(np.float32)
    if kind == "default":
        return plain
    if kind == "linear":
        return (plain / np.float32(rope["factor"])).astype(np.float32)
    if kind == "llama3":
        return _llama3(plain, rope)
    raise BadModel(f"config.json: rope scaling {kind!r} is not known", hint=f"accepted: {', '.join(KINDS)}")


def parameters(config: Mapping[str, Any]) -> dict[str, Any]:
    """One dictionary from either spelling: `rope_parameters`, or `rope_theta` beside `rope_scaling`."""
    merged = dict(config.get("rope_scaling") or {}) | dict(config.get("rope_parameters") or {})
    if "rope_theta" not in merged and config.get("rope_theta") is not None:
        merged["rope_theta"] = config["rope_theta"]
    return merged


def _llama3(plain: Floats, rope: Mapping[str, Any]) -> Floats:
    """Llama 3.1's stretch: long waves are divided by `factor`, short ones kept, those between are mixed."""
    factor, low, high = (float(rope[key]) for key in ("factor", "low_freq_factor", "high_freq_factor"))
    trained = float(rope["original_max_position_embeddings"])
    waves = np.float32(2 * math.pi) / plain
    stretched = np.where(waves > trained / low, plain / np.float32(factor), plain).astype(np.float32)
    share = ((np.float32(trained) / waves - np.float32(low)) / np.float32(high - low)).astype(np.float32)
    mixed = (1 - share) * stretched / np.float32(factor) + share * stretched
    between = (waves >= trained / high) & (waves <= trained / low)
    return np.where(between, mixed, stretched).astype(np.float32)
