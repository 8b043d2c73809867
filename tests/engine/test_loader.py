"""safetensors: one file or shards, half precision widened exactly, everything checked before it is read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from colonnade.engine.blockwise import widened
from colonnade.engine.loader import open_weights
from colonnade.wire.errors import BadModel

TENSORS = {"a": torch.randn(3, 4), "b": torch.randn(5)}
SHAPES = {"a": (3, 4), "b": (5,)}


@pytest.mark.parametrize("kind", [torch.float32, torch.float16, torch.bfloat16])
def test_values_are_those_of_torch(tmp_path: Path, kind: torch.dtype) -> None:
    stored = {name: tensor.to(kind) for name, tensor in TENSORS.items()}
    save_file(stored, tmp_path / "w.safetensors")
    weights = open_weights([tmp_path / "w.safetensors"], SHAPES)
    assert list(weights) == ["a", "b"]
    assert len(weights) == 2
    for name, tensor in stored.items():
        values = widened(weights[name])
        assert values.dtype == np.float32
        assert np.array_equal(values, tensor.float().numpy())


def test_shards(tmp_path: Path) -> None:
    for name, tensor in TENSORS.items():
        save_file({name: tensor}, tmp_path / f"{name}.safetensors")
    weights = open_weights([tmp_path / "a.safetensors", tmp_path / "b.safetensors"], SHAPES)
    assert np.array_equal(weights["b"], TENSORS["b"].numpy())


def test_ignored_tensors_are_not_read(tmp_path: Path) -> None:
    save_file(TENSORS | {"x.inv_freq": torch.zeros(1)}, tmp_path / "w.safetensors")
    assert set(open_weights([tmp_path / "w.safetensors"], SHAPES, ["inv_freq"])) == {"a", "b"}


@pytest.mark.parametrize(
    ("expected", "message"),
    [
        (SHAPES | {"c": (1,)}, "1 tensors are missing, the first is c"),
        ({"a": (3, 4)}, "not part of this architecture, the first is b"),
        (SHAPES | {"a": (4, 3)}, r"a has shape \[3, 4\], config.json asks for \[4, 3\]"),
        ({"a": (3, 4), "c": (5,)}, "the first is c; b is there and not expected"),
    ],
)
def test_other_models_are_refused(tmp_path: Path, expected: dict[str, tuple[int, ...]], message: str) -> None:
    save_file(TENSORS, tmp_path / "w.safetensors")
    with pytest.raises(BadModel, match=message):
        open_weights([tmp_path / "w.safetensors"], expected)


def test_a_type_that_cannot_be_widened_is_refused(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(2, dtype=torch.int8)}, tmp_path / "w.safetensors")
    with pytest.raises(BadModel, match="a has type I8") as caught:
        open_weights([tmp_path / "w.safetensors"], {"a": (2,)})
    assert "BF16" in caught.value.hint


def header(value: Any) -> bytes:
    text = value if isinstance(value, bytes) else json.dumps(value).encode()
    return len(text).to_bytes(8, "little") + text


GOOD = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff" * 20,
        header(b"{not json"),
        header([1]),
        header({"a": {"dtype": "F32"}}),
        header({"a": 3}),
        header({"a": GOOD}) + b"1234567",
        header({"a": GOOD | {"shape": [3]}}) + b"12345678",
        header({"a": GOOD | {"data_offsets": [-8, 0]}}) + b"12345678",
        header({"a": GOOD | {"data_offsets": [0]}}) + b"12345678",
    ],
)
def test_broken_files_are_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "w.safetensors").write_bytes(content)
    with pytest.raises(BadModel, match=r"w\.safetensors is not a whole safetensors file"):
        open_weights([tmp_path / "w.safetensors"], {"a": (2,)})


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadModel, match=r"w\.safetensors"):
        open_weights([tmp_path / "w.safetensors"], {})
