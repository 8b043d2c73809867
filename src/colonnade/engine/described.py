"""What a model's folder says about the model, checked before its weights are there or read. No torch.

Three files must be of one model: config.json, tokenizer.json and generation_config.json.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from colonnade.engine.folder import ModelFolder
from colonnade.engine.models.registry import model_class
from colonnade.wire.errors import BadModel


def check_described(folder: ModelFolder) -> Any:
    """The model, without weights. Raises BadModel, which names the file, the value and what would be accepted."""
    model = model_class(folder.architecture)(folder.config)
    check_ends(folder)
    check_tokenizer(folder.tokenizer_path, folder.vocab_size)
    return model


def check_ends(folder: ModelFolder) -> None:
    """Tokens that end an answer must be tokens of the model."""
    strange = [token for token in folder.eos_token_ids if not 0 <= token < folder.vocab_size]
    if strange:
        source = "generation_config.json" if "eos_token_id" in folder.generation else "config.json"
        raise BadModel(
            f"{folder.path / source}: eos_token_id {strange[0]} is outside the vocabulary of {folder.vocab_size}",
            hint=f"accepted: 0 to {folder.vocab_size - 1}; tokenizer_config.json and config.json must be of one model",
        )


def check_tokenizer(path: Path, vocab_size: int) -> None:
    """The embedding must have a row for every token; it may have more."""
    token, number = max(_entries(path), key=lambda entry: entry[1], default=("", -1))
    if number >= vocab_size:
        raise BadModel(
            f"{path}: token {token!r} has the number {number}, the embedding has {vocab_size} rows (vocab_size)",
            hint=f"accepted: numbers up to {vocab_size - 1}; tokenizer.json and config.json must be of one model",
        )


def _entries(path: Path) -> Iterator[tuple[str, int]]:
    """Every token with its number: of the model (a table, or a list in order), and those that were added."""
    try:
        content = json.loads(path.read_bytes())
        vocabulary = (content.get("model") or {}).get("vocab") or {}
        if isinstance(vocabulary, dict):
            yield from ((str(token), int(number)) for token, number in vocabulary.items())
        else:
            yield from ((str(entry[0]), number) for number, entry in enumerate(vocabulary))
        yield from ((str(entry["content"]), int(entry["id"])) for entry in content.get("added_tokens") or ())
    except (OSError, ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
        raise BadModel(f"{path} is not a tokenizer: {error!r}", hint="copy the file again from its source") from error
