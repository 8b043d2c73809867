"""A model's folder in the Hugging Face layout: what is in it, checked before anything heavy is loaded. No torch.

folder = ModelFolder.open("colonnade-tiny")     a shipped model's name, or a path
folder.tokenizer_path, folder.chat_template, folder.eos_token_ids, folder.max_context, folder.weight_files
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from colonnade.engine.models.registry import architectures
from colonnade.wire.errors import BadModel

SHIPPED = Path(__file__).parent / "shipped"
_INDEX = "model.safetensors.index.json"
_WHOLE = "model.safetensors"


@dataclass(frozen=True)
class ModelFolder:
    """Everything about a model but its weights' bytes. All files named here exist."""

    path: Path
    name: str
    config: Mapping[str, Any]
    architecture: str
    weight_files: tuple[Path, ...]
    tokenizer_path: Path
    chat_template: str | None
    bos_token: str
    eos_token: str
    eos_token_ids: tuple[int, ...]
    max_context: int
    vocab_size: int
    generation: Mapping[str, Any]
    """generation_config.json: a model's own defaults (`temperature`, `top_p`, ...)."""

    @classmethod
    def open(cls, path_or_name: str | Path, *, name: str = "", weights: bool = True) -> ModelFolder:
        """Raises BadModel, which names the file and what would be accepted.

        `name`: by default the folder's. `weights` False: they need not be there yet, and `weight_files` is empty.
        """
        path = _locate(path_or_name)
        config = _json(path / "config.json", needed=True)
        generation = _json(path / "generation_config.json")
        tokens = _json(path / "tokenizer_config.json")
        architecture = _architecture(path, config)
        return cls(
            path=path,
            name=name or path.name,
            config=config,
            architecture=architecture,
            weight_files=_weight_files(path) if weights else (),
            tokenizer_path=_tokenizer(path),
            chat_template=_chat_template(path, tokens),
            bos_token=_text(tokens.get("bos_token")),
            eos_token=_text(tokens.get("eos_token")),
            eos_token_ids=_eos(path, generation, config),
            max_context=_count(path, config, "max_position_embeddings"),
            vocab_size=_count(path, config, "vocab_size"),
            generation=generation,
        )


def shipped_names() -> list[str]:
    """Models that came with the package."""
    if not SHIPPED.is_dir():
        return []
    return sorted(entry.name for entry in SHIPPED.iterdir() if (entry / "config.json").is_file())


def _locate(path_or_name: str | Path) -> Path:
    path = Path(path_or_name).expanduser()
    if path.is_dir():
        return path.resolve()
    names = shipped_names()
    if str(path_or_name) in names:
        return SHIPPED / str(path_or_name)
    known = ", ".join(names) or "none"
    if path.is_file():
        raise BadModel(f"{path} is a file, not a model folder", hint="name the folder that holds config.json")
    raise BadModel(
        f"no model {str(path_or_name)!r}: neither a folder nor a shipped model",
        hint=f"give a folder in the Hugging Face layout, a hub repository as org/name, or a shipped model: {known}",
        code="model_not_found",
    )


def _json(path: Path, *, needed: bool = False) -> dict[str, Any]:
    if not path.is_file():
        if needed:
            raise BadModel(
                f"{path} is missing", hint="a model folder holds config.json, tokenizer.json and *.safetensors"
            )
        return {}
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadModel(f"{path} cannot be read as JSON: {error}", hint="copy the file again from its source") from error
    if not isinstance(value, dict):
        raise BadModel(f"{path} holds a {type(value).__name__}, not a JSON object", hint="copy the file again")
    return value


def _architecture(path: Path, config: Mapping[str, Any]) -> str:
    names = config.get("architectures")
    served = architectures()
    known = ", ".join(served)
    if not isinstance(names, list) or not names:
        raise BadModel(f"{path / 'config.json'}: architectures is missing", hint=f"accepted: {known}")
    for name in names:
        if name in served:
            return str(name)
    raise BadModel(f"{path / 'config.json'}: unknown architecture {names[0]!r}", hint=f"accepted: {known}")


def _weight_files(path: Path) -> tuple[Path, ...]:
    if (path / _WHOLE).is_file():
        return (path / _WHOLE,)
    if not (path / _INDEX).is_file():
        kept = sorted(entry.name for entry in path.glob("*.bin")) + sorted(entry.name for entry in path.glob("*.gguf"))
        other = f" ({', '.join(kept[:3])} is not read)" if kept else ""
        raise BadModel(
            f"{path} holds no weights{other}", hint=f"accepted: {_WHOLE}, or {_INDEX} with the shards that it names"
        )
    shards = _json(path / _INDEX).get("weight_map")
    if not isinstance(shards, dict) or not shards:
        raise BadModel(f"{path / _INDEX}: weight_map is missing", hint="copy the file again from its source")
    files = sorted({path / str(name) for name in shards.values()})
    missing = [file.name for file in files if not file.is_file() or file.parent != path]
    if missing:
        raise BadModel(
            f"{path}: missing shard {missing[0]} ({len(missing)} of {len(files)} are missing)",
            hint=f"download the files that {_INDEX} names",
        )
    return tuple(files)


def _tokenizer(path: Path) -> Path:
    file = path / "tokenizer.json"
    if file.is_file():
        return file
    other = next((name for name in ("tokenizer.model", "vocab.json") if (path / name).is_file()), None)
    said = f" ({other} is not read)" if other else ""
    raise BadModel(
        f"{path} holds no tokenizer.json{said}",
        hint="save a fast tokenizer: AutoTokenizer.from_pretrained(SOURCE).save_pretrained(FOLDER)",
    )


def _chat_template(path: Path, tokens: Mapping[str, Any]) -> str | None:
    """The file wins over the entry of tokenizer_config.json, as in transformers."""
    file = path / "chat_template.jinja"
    if file.is_file():
        return file.read_text(encoding="utf-8")
    template = tokens.get("chat_template")
    if isinstance(template, list):
        named = {entry.get("name"): entry.get("template") for entry in template if isinstance(entry, dict)}
        template = named.get("default")
    return template if isinstance(template, str) else None


def _text(token: Any) -> str:
    """A special token is written as its text or as an object with `content`."""
    if isinstance(token, dict):
        token = token.get("content")
    return token if isinstance(token, str) else ""


def _eos(path: Path, generation: Mapping[str, Any], config: Mapping[str, Any]) -> tuple[int, ...]:
    for file, source in (("generation_config.json", generation), ("config.json", config)):
        value = source.get("eos_token_id")
        tokens = [value] if type(value) is int else value
        if not tokens:
            continue
        if not isinstance(tokens, list) or not all(type(token) is int for token in tokens):
            raise BadModel(
                f"{path / file}: eos_token_id is {value!r}", hint="accepted: a whole number, or a list of whole numbers"
            )
        return tuple(tokens)
    return ()


def _count(path: Path, config: Mapping[str, Any], key: str) -> int:
    value = config.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise BadModel(f"{path / 'config.json'}: {key} is {value!r}", hint="accepted: a whole number above 0")
    return value
