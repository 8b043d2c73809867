"""A model before it is loaded: what its files say, headers of the weights included. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from colonnade.engine.described import check_described
from colonnade.engine.folder import ModelFolder
from colonnade.engine.footprint import Footprint
from colonnade.engine.loader import Place, headers, select


class Rounding(Protocol):
    """What of the engine's settings counts."""

    @property
    def quantize(self) -> str: ...
    @property
    def kv_dtype(self) -> str: ...


@dataclass(frozen=True)
class Prospect:
    """`kinds`: how each tensor is stored; `stored`: bytes of all files of weights."""

    folder: ModelFolder
    model: Any
    kinds: Mapping[str, str]
    stored: int

    @classmethod
    def of(cls, folder: ModelFolder) -> Prospect:
        """Raises BadModel for everything that a load would refuse."""
        stored = sum(file.stat().st_size for file in folder.weight_files)
        return cls.described(folder, headers(folder.weight_files), stored)

    @classmethod
    def described(cls, folder: ModelFolder, places: Mapping[str, Place], stored: int) -> Prospect:
        """From headers that came from elsewhere."""
        model = check_described(folder)
        kinds = {name: place.kind for name, place in select(places, model, folder.path).items()}
        return cls(folder, model, kinds, stored)

    def footprint(self, settings: Rounding, *, native: bool) -> Footprint:
        """`native`: which kernels."""
        return Footprint.of(
            self.model, self.kinds, native=native, quantize=settings.quantize, kv_dtype=settings.kv_dtype
        )
