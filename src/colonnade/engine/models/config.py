"""A config.json, read with sentences for what cannot be served."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from colonnade.wire.errors import BadModel


class Config:
    """Typed entries. A key that is absent or null has its default; an error names key, value and what is accepted."""

    def __init__(self, entries: Mapping[str, Any]) -> None:
        self.entries = entries

    def __contains__(self, key: str) -> bool:
        return self.entries.get(key) is not None

    def count(self, key: str, default: int | None = None) -> int:
        value = self._value(key, default)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise self.refusal(key, "a whole number above 0")
        return value

    def whole(self, key: str, default: int | None = None) -> int:
        value = self._value(key, default)
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            raise self.refusal(key, "a whole number, or 0")
        return value

    def number(self, key: str, default: float | None = None) -> float:
        value = self._value(key, default)
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise self.refusal(key, "a number")
        return float(value)

    def flag(self, key: str, default: bool = False) -> bool:
        value = self._value(key, default)
        if not isinstance(value, bool):
            raise self.refusal(key, "true or false")
        return value

    def choice(self, key: str, accepted: tuple[str, ...], default: str) -> str:
        value = self._value(key, default)
        if value not in accepted:
            raise self.refusal(key, ", ".join(accepted))
        return str(value)

    def refusal(self, key: str, accepted: str) -> BadModel:
        return BadModel(f"config.json: {key} is {self.entries.get(key)!r}", hint=f"accepted: {accepted}")

    def _value(self, key: str, default: Any) -> Any:
        value = self.entries.get(key)
        return default if value is None else value


def sliding_window(config: Config, layer: int) -> int:
    """Qwen's rule: `use_sliding_window`, then `layer_types`, or all layers from `max_window_layers` on; 0 for none."""
    if not config.flag("use_sliding_window") or "sliding_window" not in config:
        return 0
    kinds = config.entries.get("layer_types")
    if kinds is None:
        return config.count("sliding_window") if layer >= config.number("max_window_layers", 28) else 0
    known = ("full_attention", "sliding_attention")
    if not isinstance(kinds, list) or layer >= len(kinds) or kinds[layer] not in known:
        raise config.refusal("layer_types", f"one of {', '.join(known)} for each layer")
    return config.count("sliding_window") if kinds[layer] == "sliding_attention" else 0
