"""Weights from safetensors files, checked whole before the first tensor is read. No torch.

A matrix that is stored in 8-bit floats comes with its scales as `BlockFloats`, see `engine/blockwise.py`; one in 16-bit
floats comes as it is stored, as `ShortFloats`.

The format (github.com/huggingface/safetensors): 8 bytes, the header's length as a little-endian integer; the header,
JSON, `{name: {dtype, shape, data_offsets: [begin, end]}}`; the data, offsets counted from the header's end.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from colonnade.engine.blockwise import SCALE, BlockFloats, blocks_of, exponents
from colonnade.engine.shortfloats import ShortFloats
from colonnade.wire.errors import BadModel

Shape = tuple[int, ...]
Floats = NDArray[np.float32]
Weight = Floats | BlockFloats | ShortFloats

_WIDENED: dict[str, type[np.generic]] = {"F32": np.float32, "F16": np.float16, "BF16": np.uint16}
_BYTES: dict[str, type[np.generic]] = {"F8_E4M3": np.uint8, "F8_E8M0": np.uint8}
"""In quantised models: the weights, and a form of their scales."""
_STORED = _WIDENED | _BYTES
_HEADER_LIMIT = 100 << 20
LFS_POINTER = b"version "
"""How a file begins that a clone without Git LFS leaves in the place of a large one."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a tensor's bytes are."""

    file: Path
    kind: str
    shape: Shape
    begin: int
    end: int


class Weights(Mapping[str, Weight]):
    """Tensors by name. Each look-up reads the tensor from its (mapped) file; vectors become float32."""

    def __init__(self, places: Mapping[str, Place]) -> None:
        self._places = places
        self._maps = {file: np.memmap(file, np.uint8, "r") for file in {place.file for place in places.values()}}

    def __getitem__(self, name: str) -> Any:
        place = self._places[name]
        if place.kind == "F8_E4M3":
            return BlockFloats(self._raw(place), self[name + SCALE])
        if place.kind in ("BF16", "F16") and len(place.shape) == 2:
            return ShortFloats(self._raw(place).view(np.uint16), place.kind == "BF16")
        return _widen(self._raw(place), place.kind)

    def _raw(self, place: Place) -> NDArray[Any]:
        stored = np.asarray(self._maps[place.file][place.begin : place.end])
        return stored.view(_STORED[place.kind]).reshape(place.shape)

    @property
    def quantised(self) -> bool:
        """Whether any is stored in 8 bits."""
        return any(place.kind == "F8_E4M3" for place in self._places.values())

    @property
    def brief(self) -> bool:
        """Whether any matrix is stored in bfloat16."""
        return any(place.kind == "BF16" and len(place.shape) == 2 for place in self._places.values())

    @property
    def kinds(self) -> dict[str, str]:
        """How each is stored."""
        return {name: place.kind for name, place in self._places.items()}

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


def open_weights(
    files: Sequence[Path],
    expected: Mapping[str, Shape],
    ignored: Sequence[str] = (),
    optional: Mapping[str, Shape] = MappingProxyType({}),
    quantised: bool = False,
) -> Weights:
    """The tensors that `expected` names and those of `optional` that are there, in their shapes.

    A tensor that is missing, surplus, of another shape or of a type that cannot be widened exactly raises BadModel.
    Names that end with one of `ignored` may be there and are not read. Where the model is `quantised`, matrices may be
    in 8-bit floats, and then their scales must be there.
    """
    return Weights(_select(headers(files), files[0].parent, expected, ignored, optional, quantised))


def headers(files: Sequence[Path]) -> dict[str, Place]:
    """Where every tensor is. Raises BadModel for a file that is not whole."""
    places: dict[str, Place] = {}
    for file in files:
        places.update(_header(file))
    return places


def select(places: Mapping[str, Place], model: Any, folder: Path) -> dict[str, Place]:
    """As `open_weights`, from headers alone: the tensors that the model takes, or BadModel."""
    return _select(places, folder, model.expected(), model.ignored, model.optional(), model.quantised)


def _select(
    places: Mapping[str, Place],
    folder: Path,
    expected: Mapping[str, Shape],
    ignored: Sequence[str],
    optional: Mapping[str, Shape],
    quantised: bool,
) -> dict[str, Place]:
    expected = {**expected, **{name: shape for name, shape in optional.items() if name in places}}
    kept = {name: place for name, place in places.items() if name in expected or not name.endswith(tuple(ignored))}
    scales = _scales(kept, expected) if quantised else {}
    _compare(kept, {**expected, **scales}, folder)
    for name, place in kept.items():
        _check_kind(name, place, quantised, name in scales)
    return kept


def _scales(places: Mapping[str, Place], expected: Mapping[str, Shape]) -> dict[str, Shape]:
    """The scales that belong to the matrices that are stored in 8 bits."""
    stored = [name for name in expected if name in places and places[name].kind == "F8_E4M3"]
    return {name + SCALE: blocks_of(expected[name]) for name in stored}


def _check_kind(name: str, place: Place, quantised: bool, scale: bool) -> None:
    accepted = [*_WIDENED]
    if scale:
        accepted.append("F8_E8M0")
    elif quantised and len(place.shape) == 2:
        accepted.append("F8_E4M3")
    if place.kind not in accepted:
        said = "" if quantised or place.kind not in _BYTES else ", and config.json has no quantization_config"
        raise BadModel(f"{place.file}: {name} has type {place.kind}{said}", hint=f"accepted: {', '.join(accepted)}")


def _compare(places: Mapping[str, Place], expected: Mapping[str, Shape], folder: Path) -> None:
    missing = [name for name in expected if name not in places]
    surplus = [name for name in places if name not in expected]
    if missing:
        raise BadModel(
            f"{folder}: {len(missing)} tensors are missing, the first is {missing[0]}"
            + (f"; {surplus[0]} is there and not expected" if surplus else ""),
            hint="config.json and the weights must be of one model; download both again",
        )
    if surplus:
        raise BadModel(
            f"{places[surplus[0]].file}: {len(surplus)} tensors are not part of this architecture, the first is "
            f"{surplus[0]}",
            hint="the model is of another shape than config.json says; serving it without them would be wrong",
        )
    for name, shape in expected.items():
        place = places[name]
        if place.shape != shape:
            raise BadModel(
                f"{place.file}: {name} has shape {list(place.shape)}, config.json asks for {list(shape)}",
                hint="config.json and the weights must be of one model; download both again",
            )


def _header(file: Path) -> dict[str, Place]:
    try:
        with file.open("rb") as stream:
            start = stream.read(8)
            if start == LFS_POINTER:
                raise ValueError("it is a pointer of Git LFS, and the content is elsewhere; `git lfs pull` fetches it")
            length = int.from_bytes(start, "little")
            if length > min(_HEADER_LIMIT, file.stat().st_size):
                raise ValueError(f"its header claims {length} bytes")
            header = json.loads(stream.read(length))
        header.pop("__metadata__", None)
        places = {name: _place(file, name, entry, 8 + length) for name, entry in header.items()}
        _check_apart(places)
        return places
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadModel(
            f"{file} is not a whole safetensors file: {error}", hint="copy or download the file again"
        ) from error


def _check_apart(places: Mapping[str, Place]) -> None:
    """Raises ValueError where two tensors share bytes: the format allows none."""
    end, before = 0, ""
    for name, place in sorted(places.items(), key=lambda item: (item[1].begin, item[1].end)):
        if place.begin < end:
            raise ValueError(f"{name} lies on top of {before}")
        end, before = place.end, name


def _place(file: Path, name: str, entry: Any, data: int) -> Place:
    kind, shape = str(entry["dtype"]), tuple(int(size) for size in entry["shape"])
    begin, end = (int(offset) + data for offset in entry["data_offsets"])
    if kind not in _STORED:
        raise BadModel(f"{file}: {name} has type {kind}", hint=f"accepted: {', '.join(_WIDENED)}")
    if end - begin != prod(shape) * np.dtype(_STORED[kind]).itemsize or end > file.stat().st_size or begin < data:
        raise ValueError(f"{name} does not lie within the file (it may be cut off)")
    return Place(file, kind, shape, begin, end)


def _widen(raw: NDArray[Any], kind: str) -> Floats:
    """Exact: every bfloat16 and float16 is a float32."""
    if kind == "BF16":
        return (raw.astype(np.uint32) << 16).view(np.float32)
    return exponents(raw) if kind == "F8_E8M0" else np.asarray(raw, dtype=np.float32)
