"""Model folders: what is read, and what is refused with the file and what would be accepted."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from colonnade.engine.folder import ModelFolder, shipped_names
from colonnade.wire.errors import BadModel

CONFIG: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "max_position_embeddings": 128,
    "vocab_size": 10,
    "eos_token_id": 2,
}


def write(path: Path, value: Any) -> None:
    path.write_text(value if isinstance(value, str) else json.dumps(value), encoding="utf-8")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "a-model"
    path.mkdir()
    write(path / "config.json", CONFIG)
    write(path / "tokenizer.json", {})
    write(path / "model.safetensors", "")
    return path


def test_a_plain_folder(folder: Path) -> None:
    opened = ModelFolder.open(str(folder))
    assert (opened.name, opened.max_context, opened.vocab_size) == ("a-model", 128, 10)
    assert (opened.architecture, opened.eos_token_ids) == ("LlamaForCausalLM", (2,))
    assert opened.weight_files == (folder / "model.safetensors",)
    assert opened.tokenizer_path == folder / "tokenizer.json"
    assert opened.chat_template is None
    assert (opened.bos_token, opened.eos_token, opened.generation) == ("", "", {})


def test_generation_config_wins_over_config(folder: Path) -> None:
    write(folder / "generation_config.json", {"eos_token_id": [3, 4], "temperature": 0.5})
    opened = ModelFolder.open(folder)
    assert opened.eos_token_ids == (3, 4)
    assert opened.generation["temperature"] == 0.5


def test_a_model_without_an_end(folder: Path) -> None:
    write(folder / "config.json", CONFIG | {"eos_token_id": None})
    assert ModelFolder.open(folder).eos_token_ids == ()


@pytest.mark.parametrize(
    ("entry", "template"),
    [
        ("{{ x }}", "{{ x }}"),
        ([{"name": "tools", "template": "t"}, {"name": "default", "template": "d"}], "d"),
        (None, None),
    ],
)
def test_chat_template_in_the_tokenizer_config(folder: Path, entry: Any, template: str | None) -> None:
    write(
        folder / "tokenizer_config.json", {"chat_template": entry, "bos_token": "<s>", "eos_token": {"content": "</s>"}}
    )
    opened = ModelFolder.open(folder)
    assert opened.chat_template == template
    assert (opened.bos_token, opened.eos_token) == ("<s>", "</s>")


def test_chat_template_file_wins(folder: Path) -> None:
    write(folder / "tokenizer_config.json", {"chat_template": "old"})
    write(folder / "chat_template.jinja", "new")
    assert ModelFolder.open(folder).chat_template == "new"


def test_shards(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    write(folder / "model.safetensors.index.json", {"weight_map": {"a": "two.safetensors", "b": "one.safetensors"}})
    write(folder / "one.safetensors", "")
    write(folder / "two.safetensors", "")
    assert [file.name for file in ModelFolder.open(folder).weight_files] == ["one.safetensors", "two.safetensors"]


def test_shipped_models_open_by_name() -> None:
    for name in shipped_names():
        assert ModelFolder.open(name).name == name


def _no_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    write(folder / "pytorch_model.bin", "")


def _index(value: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        (folder / "model.safetensors").unlink()
        write(folder / "model.safetensors.index.json", value)

    return change


def _config(**changes: Any) -> Callable[[Path], None]:
    return lambda folder: write(folder / "config.json", CONFIG | changes)


def _no_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()
    write(folder / "tokenizer.model", "")


BAD: dict[str, tuple[Callable[[Path], Any], str, str]] = {
    "no config": (lambda folder: (folder / "config.json").unlink(), "config.json is missing", "config.json"),
    "config cut off": (lambda folder: write(folder / "config.json", "{"), "cannot be read as JSON", "copy"),
    "config of another kind": (lambda folder: write(folder / "config.json", "[]"), "holds a list", "copy"),
    "no architecture": (_config(architectures=[]), "architectures is missing", "LlamaForCausalLM"),
    "unknown architecture": (_config(architectures=["MambaForCausalLM"]), "'MambaForCausalLM'", "LlamaForCausalLM"),
    "no context": (_config(max_position_embeddings=None), "max_position_embeddings is None", "whole number"),
    "no vocabulary": (_config(vocab_size=True), "vocab_size is True", "whole number"),
    "no weights": (_no_weights, "pytorch_model.bin is not read", "model.safetensors"),
    "missing shard": (_index({"weight_map": {"a": "one.safetensors"}}), "missing shard one.safetensors", "download"),
    "shard elsewhere": (_index({"weight_map": {"a": "../a-model/config.json"}}), "missing shard", "download"),
    "empty index": (_index({}), "weight_map is missing", "copy"),
    "no tokenizer": (_no_tokenizer, "tokenizer.model is not read", "AutoTokenizer"),
}


@pytest.mark.parametrize("case", list(BAD))
def test_bad_folders_say_what_is_wrong(folder: Path, case: str) -> None:
    change, message, hint = BAD[case]
    change(folder)
    with pytest.raises(BadModel) as caught:
        ModelFolder.open(folder)
    assert message in caught.value.message
    assert "a-model" in caught.value.message
    assert hint in caught.value.hint


def test_an_unknown_name_lists_what_is_there() -> None:
    with pytest.raises(BadModel, match="no model 'gpt-5'") as caught:
        ModelFolder.open("gpt-5")
    assert all(name in caught.value.hint for name in shipped_names())
    assert caught.value.reason == "model_not_found"


def test_a_file_is_no_folder(folder: Path) -> None:
    with pytest.raises(BadModel, match="is a file"):
        ModelFolder.open(folder / "config.json")
