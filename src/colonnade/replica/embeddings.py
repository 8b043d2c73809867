"""/v1/embeddings: texts or token ids to vectors, in OpenAI's shapes. Pure.

A vector is the model's last hidden state, normed as it stands before the head: of the last token, or the mean over all;
then cut to `dimensions`, and of length 1.
"""

from __future__ import annotations

import sys
from array import array
from base64 import b64encode
from collections.abc import Sequence
from math import fsum, sqrt
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from colonnade.replica.choice import Piece
from colonnade.replica.shape import Label, Unstreamed, Usage
from colonnade.wire.errors import InvalidRequest

MAX_INPUTS = 256


class EmbeddingRequest(msgspec.Struct, kw_only=True):
    """`pooling` is not of OpenAI's."""

    input: Any
    model: str
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: Annotated[int, Meta(ge=1, le=2**31 - 1)] | None = None
    pooling: Literal["last", "mean"] | None = None
    priority: Annotated[int, Meta(ge=-100, le=100)] | None = None
    user: str | None = None


def check_dimensions(request: EmbeddingRequest, width: int) -> None:
    """Raises InvalidRequest for more than there are."""
    if (request.dimensions or 0) > width:
        raise InvalidRequest(
            f"dimensions: {request.dimensions}, and the model's vectors have {width}",
            param="dimensions",
            hint="leave it out, or ask for fewer: a vector is cut and made of length 1 again",
        )


class EmbeddingShape(Unstreamed):
    def __init__(self, label: Label, dimensions: int | None, *, base64: bool) -> None:
        self._label = label
        self._dimensions = dimensions
        self._base64 = base64

    def whole(self, pieces: Sequence[Piece], usage: Usage) -> dict[str, Any]:
        vectors = [unit(piece.vector, self._dimensions) for piece in pieces]
        return {
            "object": "list",
            "model": self._label.model,
            "data": [
                {"object": "embedding", "index": index, "embedding": self._written(vector)}
                for index, vector in enumerate(vectors)
            ],
            "usage": {"prompt_tokens": usage.prompt, "total_tokens": usage.prompt},
        }

    def _written(self, vector: array[float]) -> list[float] | str:
        return b64encode(_little(vector).tobytes()).decode() if self._base64 else vector.tolist()


def unit(raw: bytes, dimensions: int | None = None) -> array[float]:
    """Of length 1, from float32 in little-endian order; of zeros alone, zeros."""
    numbers = array("f")
    numbers.frombytes(raw)
    numbers = _little(numbers)[:dimensions]
    length = sqrt(fsum(each * each for each in numbers))
    return array("f", (each / length for each in numbers)) if length else numbers


def _little(numbers: array[float]) -> array[float]:
    """Between this machine's order of bytes and the little-endian one."""
    if sys.byteorder == "big":
        numbers = numbers[:]
        numbers.byteswap()
    return numbers
