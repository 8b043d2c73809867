"""Which architectures can be served, by the name that config.json gives them. No torch; modules are loaded on use.

A model of one's own is an entry point in the group `colonnade.models` of any installed package, named like the
architecture, that leads to a class with the methods of `models.decoder.Decoder`; see docs/models.md.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from colonnade.wire.errors import BadModel

GROUP = "colonnade.models"
ARCHITECTURES = {
    "LlamaForCausalLM": "colonnade.engine.models.llama:Llama",
    "MistralForCausalLM": "colonnade.engine.models.mistral:Mistral",
    "Qwen2ForCausalLM": "colonnade.engine.models.qwen2:Qwen2",
    "Qwen3ForCausalLM": "colonnade.engine.models.qwen3:Qwen3",
    "MixtralForCausalLM": "colonnade.engine.models.mixtral:Mixtral",
    "Qwen3MoeForCausalLM": "colonnade.engine.models.qwen3_moe:Qwen3Moe",
    "DeepseekV2ForCausalLM": "colonnade.engine.models.deepseek_v2:DeepseekV2",
    "DeepseekV3ForCausalLM": "colonnade.engine.models.deepseek_v3:DeepseekV3",
}
"""Those of this package. They cannot be replaced from outside: an answer's model is what its name says."""


def architectures() -> list[str]:
    """All names that `model_class` knows."""
    return sorted({*ARCHITECTURES, *(entry.name for entry in entry_points(group=GROUP))})


def model_class(architecture: str) -> Any:
    """The class behind a name that ModelFolder.open accepted: `cls(config)`. Raises BadModel if it cannot be loaded."""
    entry = _entry(architecture)
    try:
        return getattr(import_module(entry.module), entry.attr)
    except Exception as error:  # What another package's import may raise is not ours to know.
        raise BadModel(
            f"the model class {entry.value} for {architecture} cannot be loaded: {error}",
            hint=f"repair or uninstall the package that registers it under {GROUP}",
        ) from error


def _entry(architecture: str) -> EntryPoint:
    if architecture in ARCHITECTURES:
        return EntryPoint(architecture, ARCHITECTURES[architecture], GROUP)
    found = {entry.value: entry for entry in entry_points(group=GROUP, name=architecture)}
    if len(found) == 1:
        return next(iter(found.values()))
    raise BadModel(
        f"{len(found)} models are registered as {architecture}: {', '.join(sorted(found))}",
        hint=f"accepted: one entry point of that name in the group {GROUP}",
    )
