"""What the HTTP face knows of the model it serves: its folder, its tokenizer, its chat template."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from colonnade.engine.folder import ModelFolder
from colonnade.replica.template import ChatTemplate
from colonnade.replica.tokenizer import Vocabulary
from colonnade.wire.errors import InvalidRequest

_DEFAULTS = ("temperature", "top_p", "top_k", "min_p", "repetition_penalty")


@dataclass(frozen=True, slots=True)
class ServedModel:
    """`name` is what requests ask for; `defaults` are the sampling values of generation_config.json."""

    name: str
    folder: ModelFolder
    vocabulary: Vocabulary
    template: ChatTemplate | None
    defaults: Mapping[str, float]
    license: str

    @classmethod
    def open(cls, path_or_name: str, served_name: str = "") -> ServedModel:
        """Raises BadModel."""
        folder = ModelFolder.open(path_or_name)
        tokens = {"bos_token": folder.bos_token, "eos_token": folder.eos_token}
        template = None if folder.chat_template is None else ChatTemplate(folder.chat_template, tokens)
        return cls(
            name=served_name or folder.name,
            folder=folder,
            vocabulary=Vocabulary(folder.tokenizer_path),
            template=template,
            defaults=_defaults(folder.generation),
            license=_license(folder.path),
        )

    def check_name(self, name: str) -> None:
        """Raises InvalidRequest for a model that is not served here."""
        if name != self.name:
            raise InvalidRequest(
                f"model: {name!r} is not served here; {self.name!r} is",
                param="model",
                code="model_not_found",
                hint="GET /v1/models lists what is served",
            )

    def chat_template(self) -> ChatTemplate:
        """Raises InvalidRequest for a model without one."""
        if self.template is None:
            raise InvalidRequest(
                f"{self.name} has no chat template",
                param="messages",
                code="no_chat_template",
                hint="use /v1/completions",
            )
        return self.template


def _defaults(generation: Mapping[str, Any]) -> dict[str, float]:
    """What a request that is silent gets, as the model's makers set it. `do_sample: false` means greedy."""
    found = {name: float(generation[name]) for name in _DEFAULTS if type(generation.get(name)) in (int, float)}
    return found | {"temperature": 0.0} if generation.get("do_sample") is False else found


def _license(path: Path) -> str:
    """The one that the model card's front matter names."""
    card = path / "README.md"
    text = card.read_text(encoding="utf-8", errors="replace") if card.is_file() else ""
    front = re.match(r"---\n(.*?)\n---", text, re.DOTALL)
    found = re.search(r"^license:\s*(\S+)", front[1], re.MULTILINE) if front else None
    return found[1] if found else "unknown"
