"""Rotary embedding: the angle of each position and pair of coordinates (Su et al., arXiv 2104.09864).

Frequencies are computed in float32, as transformers does, because a difference in one grows with the position.

A position's angle is the same in every request, or the prefix cache could not be shared. Two scalings of transformers
choose by the length of the sequence; here that choice is made once, at load:

- `dynamic` stretches beyond max_position_embeddings, where nothing is served: within, it is the plain embedding;
- `longrope` takes its long factors where the served context exceeds the original one, and else its short ones.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from colonnade.engine.kernels.ops import Floats
from colonnade.wire.errors import BadModel

KINDS = ("default", "linear", "dynamic", "llama3", "yarn", "longrope")


def tables(
    config: Mapping[str, Any], dim: int, positions: int, amplitude: float | None = None
) -> tuple[Floats, Floats]:
    """Cosines and sines [positions, dim / 2], times `amplitude`: by default what the scaling asks for."""
    angles = np.arange(positions, dtype=np.float32)[:, None] * frequencies(config, dim, positions)[None, :]
    wide = angles.astype(np.float64)
    size = np.float32(_amplitude(config) if amplitude is None else amplitude)
    return np.cos(wide).astype(np.float32) * size, np.sin(wide).astype(np.float32) * size


def frequencies(config: Mapping[str, Any], dim: int, positions: int = 1) -> Floats:
    """Radians a position, for each pair of coordinates. Raises BadModel for a scaling that is not in KINDS."""
    rope = parameters(config)
    exponents = (np.arange(0, dim, 2, dtype=np.float32) / np.float32(dim)).astype(np.float64)
    waves = (number(rope, "rope_theta", 10000.0) ** exponents).astype(np.float32)
    plain = (np.float32(1.0) / waves).astype(np.float32)
    match kind(config):
        case "linear":
            return (plain / np.float32(number(rope, "factor"))).astype(np.float32)
        case "llama3":
            return _llama3(plain, rope)
        case "yarn":
            return _yarn(waves, rope, dim)
        case "longrope":
            return _longrope(waves, rope, positions)
        case _:
            return plain


def kind(config: Mapping[str, Any]) -> str:
    """One of KINDS. Raises BadModel for what the tables cannot say."""
    rope = parameters(config)
    nested = [key for key, value in rope.items() if isinstance(value, dict)]
    if nested:
        raise BadModel(f"config.json: rope_parameters by layer type ({nested[0]})", hint="accepted: one for all layers")
    if float(rope.get("partial_rotary_factor") or config.get("partial_rotary_factor") or 1.0) != 1.0:
        raise BadModel(
            "config.json: partial_rotary_factor is set", hint="accepted: 1.0, that every dimension of a head is turned"
        )
    name = rope.get("rope_type", rope.get("type", "default"))
    if name not in KINDS:
        raise BadModel(f"config.json: rope scaling {name!r} is not known", hint=f"accepted: {', '.join(KINDS)}")
    return name


def parameters(config: Mapping[str, Any]) -> dict[str, Any]:
    """One dictionary from either spelling: `rope_parameters`, or `rope_theta` beside `rope_scaling`."""
    merged = dict(config.get("rope_scaling") or {}) | dict(config.get("rope_parameters") or {})
    if "rope_theta" not in merged and config.get("rope_theta") is not None:
        merged["rope_theta"] = config["rope_theta"]
    outside = config.get("original_max_position_embeddings")
    inside = merged.get("original_max_position_embeddings")
    original = outside or inside or config.get("max_position_embeddings")
    return (
        merged
        if original is None
        else merged | {"original_max_position_embeddings": original} | _stretch(config, merged, original)
    )


def _stretch(config: Mapping[str, Any], rope: Mapping[str, Any], original: float) -> dict[str, Any]:
    """The factor, where it is left to be the ratio of the contexts."""
    served, name = config.get("max_position_embeddings"), rope.get("rope_type", rope.get("type"))
    if served is None or rope.get("factor") is not None or name not in ("yarn", "longrope"):
        return {}
    return {"factor": served / original}


def yarn_scale(factor: float, weight: float = 1.0) -> float:
    """YaRN's correction of attention's entropy for a context stretched by `factor` (arXiv 2309.00071, section 3.4)."""
    return 1.0 if factor <= 1 else 0.1 * weight * math.log(factor) + 1.0


def _amplitude(config: Mapping[str, Any]) -> float:
    """What cosines and sines are multiplied with, so that scores are multiplied with its square."""
    rope, name = parameters(config), kind(config)
    if name not in ("yarn", "longrope"):
        return 1.0
    if rope.get("attention_factor") is not None:
        return number(rope, "attention_factor")
    factor = number(rope, "factor")
    if name == "longrope":
        original = number(rope, "original_max_position_embeddings")
        return 1.0 if factor <= 1 else math.sqrt(1 + math.log(factor) / math.log(original))
    if rope.get("mscale") and rope.get("mscale_all_dim"):
        return yarn_scale(factor, number(rope, "mscale")) / yarn_scale(factor, number(rope, "mscale_all_dim"))
    return yarn_scale(factor)


def number(rope: Mapping[str, Any], key: str, default: float | None = None) -> float:
    """An entry of the rope scaling; raises BadModel unless it is a number above 0."""
    value = rope.get(key, default)
    if not isinstance(value, int | float) or isinstance(value, bool) or value <= 0:
        raise BadModel(f"config.json: {key} of the rope scaling is {value!r}", hint="accepted: a number above 0")
    return float(value)


def _llama3(plain: Floats, rope: Mapping[str, Any]) -> Floats:
    """Llama 3.1's stretch: long waves are divided by `factor`, short ones kept, those between are mixed."""
    factor, low, high = (number(rope, key) for key in ("factor", "low_freq_factor", "high_freq_factor"))
    trained = number(rope, "original_max_position_embeddings")
    waves = np.float32(2 * math.pi) / plain
    stretched = np.where(waves > trained / low, plain / np.float32(factor), plain).astype(np.float32)
    share = ((np.float32(trained) / waves - np.float32(low)) / np.float32(high - low)).astype(np.float32)
    mixed = (1 - share) * stretched / np.float32(factor) + share * stretched
    between = (waves >= trained / high) & (waves <= trained / low)
    return np.where(between, mixed, stretched).astype(np.float32)


def _yarn(waves: Floats, rope: Mapping[str, Any], dim: int) -> Floats:
    """YaRN (Peng et al., arXiv 2309.00071): dimensions that turn often are kept, those that turn seldom stretched."""
    factor, base = number(rope, "factor"), number(rope, "rope_theta", 10000.0)
    trained = number(rope, "original_max_position_embeddings")

    def dimension(turns: float) -> float:
        return dim * math.log(trained / (turns * 2 * math.pi)) / (2 * math.log(base))

    low, high = dimension(float(rope.get("beta_fast") or 32)), dimension(float(rope.get("beta_slow") or 1))
    if rope.get("truncate", True):
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, dim - 1)
    high += 0.001 if low == high else 0.0
    ramp = (np.arange(dim // 2, dtype=np.float32) - np.float32(low)) / np.float32(high - low)
    kept = np.float32(1.0) - np.clip(ramp, 0, 1).astype(np.float32)
    plain, stretched = np.float32(1.0) / waves, np.float32(1.0) / (np.float32(factor) * waves)
    return (stretched * (np.float32(1.0) - kept) + plain * kept).astype(np.float32)


def _longrope(waves: Floats, rope: Mapping[str, Any], positions: int) -> Floats:
    """LongRoPE (Ding et al., arXiv 2402.13753): a factor for each pair of coordinates."""
    key = "long_factor" if positions > number(rope, "original_max_position_embeddings") else "short_factor"
    factors = np.asarray(rope.get(key) or [], dtype=np.float32)
    if factors.shape != waves.shape:
        raise BadModel(
            f"config.json: {key} of the rope scaling has {factors.size} numbers", hint=f"accepted: {waves.size}"
        )
    return (np.float32(1.0) / (factors * waves)).astype(np.float32)
