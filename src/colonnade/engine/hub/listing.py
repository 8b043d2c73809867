"""Which of a repository's files the engine reads. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from colonnade.wire.errors import BadModel

CONFIG = "config.json"
TOKENIZER = "tokenizer.json"
WHOLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
DESCRIBED = (CONFIG, "generation_config.json", TOKENIZER, "tokenizer_config.json", "chat_template.jinja", "README.md")
"""All but the weights; the model card is read for its licence."""


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """`digest`: SHA-256 of the content (64 digits), or the SHA-1 of git's blob (40); empty where the hub is silent."""

    name: str
    size: int
    digest: str = ""


@dataclass(frozen=True)
class Listing:
    """A repository at one commit."""

    commit: str
    files: Mapping[str, RemoteFile]

    @classmethod
    def of(cls, commit: str, files: Iterable[RemoteFile]) -> Listing:
        return cls(commit, {file.name: file for file in files})

    def described(self, repo: str) -> list[RemoteFile]:
        """The small files, the index of shards among them. Raises BadModel where the engine could not do with them."""
        for name in (CONFIG, TOKENIZER):
            if name not in self.files:
                raise BadModel(f"{repo} has no {name}", hint=f"accepted: {CONFIG}, {TOKENIZER} and *.safetensors")
        if WHOLE not in self.files and INDEX not in self.files:
            kept = sorted(name for name in self.files if name.endswith((".bin", ".gguf", ".pt", ".pth")))
            other = f" ({', '.join(kept[:3])} is not read)" if kept else ""
            raise BadModel(f"{repo} holds no weights{other}", hint=f"accepted: {WHOLE}, or {INDEX} with its shards")
        names = DESCRIBED if WHOLE in self.files else (*DESCRIBED, INDEX)
        return [self.files[name] for name in names if name in self.files]

    def weights(self, repo: str, index: Mapping[str, Any]) -> list[RemoteFile]:
        """The whole file, or the shards that `index` names. Raises BadModel for one that is not there."""
        if WHOLE in self.files:
            return [self.files[WHOLE]]
        shards: dict[str, Any] = index["weight_map"] if isinstance(index.get("weight_map"), dict) else {}
        names = sorted({str(name) for name in shards.values()})
        missing = [name for name in names if name not in self.files or "/" in name]
        if missing or not names:
            what = f"missing shard {missing[0]}" if missing else f"{INDEX}: weight_map is missing"
            raise BadModel(
                f"{repo}: {what}", hint="the repository is not whole; try another revision: org/name@revision"
            )
        return [self.files[name] for name in names]
