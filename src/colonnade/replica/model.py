"""What the HTTP face knows of the model it serves: its folder, its tokenizer, its chat template."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from colonnade.engine.call_grammar import Calls
from colonnade.engine.described import check_described
from colonnade.engine.folder import ModelFolder
from colonnade.replica.families import FAMILIES, HERMES, Family, reasons, recognise
from colonnade.replica.speech import Listening
from colonnade.replica.template import ChatTemplate
from colonnade.replica.tokenizer import Vocabulary
from colonnade.wire.errors import InvalidRequest
from colonnade.wire.messages import Grammar

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
    family: Family | None
    """How it writes calls; None: they are not looked for."""
    reasons: bool

    @classmethod
    def open(
        cls, path_or_name: str, served_name: str = "", tool_parser: str = "auto", reasoning_parser: str = "auto"
    ) -> ServedModel:
        """Raises BadModel."""
        folder = ModelFolder.open(path_or_name)
        check_described(folder)
        said = folder.chat_template or ""
        named = recognise(said, folder.architecture) if tool_parser == "auto" else tool_parser
        family = FAMILIES.get(named)
        tokens = {"bos_token": folder.bos_token, "eos_token": folder.eos_token}
        template = None if folder.chat_template is None else ChatTemplate(folder.chat_template, tokens)
        return cls(
            name=served_name or folder.name,
            folder=folder,
            vocabulary=Vocabulary(folder.tokenizer_path, () if family is None else family.markers),
            template=template,
            defaults=_defaults(folder.generation),
            license=_license(folder.path),
            family=family,
            reasons=reasons(said) if reasoning_parser == "auto" else reasoning_parser == "think",
        )

    def listening(self, prompt: str, tools: bool | None, grammar: Grammar | None = None) -> Listening | None:
        """What is looked for in the answer to a chat: calls, where `tools` says whether several are allowed, and
        reasoning, where the model gives some and the answer is of no form as a whole. None: text is text."""
        called = None if grammar is None or grammar.kind != "calls" else msgspec.json.decode(grammar.text, type=Calls)
        family = HERMES if called is not None else self.family  # a grammar has calls written in that form
        tools = None if family is None else tools
        reasoning = self.reasons and (grammar is None or (called is not None and called.text))
        if tools is None and not reasoning:
            return None
        family = family or HERMES
        return Listening(family, tools, reasoning, reasoning and prompt.rstrip().endswith(family.reasoning[0]))

    def check_name(self, name: str) -> None:
        """Raises InvalidRequest for a model that is not served here."""
        if name != self.name:
            raise InvalidRequest(
                f"model: {name!r} is not served here; {self.name!r} is",
                param="model",
                code="model_not_found",
                hint="GET /v1/models lists what is served",
            )

    def check_template(self) -> None:
        """Raises InvalidRequest for a model without one."""
        if self.template is None:
            raise InvalidRequest(
                f"{self.name} has no chat template",
                param="messages",
                code="no_chat_template",
                hint="use /v1/completions",
            )


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
