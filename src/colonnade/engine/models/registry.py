"""Which architectures can be served, by the name that config.json gives them. No torch; modules are loaded on use."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

ARCHITECTURES = {
    "LlamaForCausalLM": "colonnade.engine.models.llama:Llama",
}


def model_class(architecture: str) -> Any:
    """The class behind a name that ModelFolder.open accepted: `cls(config)`, see models/model.py."""
    module, name = ARCHITECTURES[architecture].split(":")
    return getattr(import_module(module), name)


def bad_config(config: Mapping[str, Any], key: str, accepted: str) -> str:
    """The sentence for a config entry that cannot be served."""
    return f"config.json: {key} is {config.get(key)!r}; accepted: {accepted}"
