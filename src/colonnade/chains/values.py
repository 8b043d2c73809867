"""Values as they travel: a MessagePack body, and beside it the raw memory of arrays and blobs.

The first part is the body. An array stands in it as extension 1 (its part's number, element type, shape), a blob of
4 KiB or more that is a whole argument, answer or item as extension 2 (its part's number). Both are sent from where they
lie; an array is read where it was received, and is the reader's own.
"""

from __future__ import annotations

import base64
from typing import Any, TypeGuard, cast

import msgspec
import numpy as np
import pydantic

from colonnade.chains.frames import Buffer, Parts
from colonnade.chains.kinds import dtype_of, is_array, is_model
from colonnade.wire.errors import InvalidRequest

ARRAY, BLOB = 1, 2
BLOB_FROM = 4096


class Blob:
    """Bytes that travel beside the body."""

    __slots__ = ("data",)

    def __init__(self, data: Buffer) -> None:
        self.data = data


class Codec:
    """Of one type. Not for several threads."""

    def __init__(self, kind: Any) -> None:
        """Raises TypeError for a type that MessagePack has no reading of."""
        self._parts: list[Buffer] = []
        self._arrived: Parts = ()
        self._blob = kind is bytes
        self._encoder = msgspec.msgpack.Encoder(enc_hook=self._outward)
        self._decoder = msgspec.msgpack.Decoder(
            Blob if self._blob else kind, dec_hook=_inward, ext_hook=self._extension
        )

    def encode(self, value: Any) -> list[Buffer]:
        """Raises InvalidRequest for what cannot travel."""
        parts: list[Buffer] = [b""]
        self._parts = parts
        if self._blob and is_bytes(value):
            value = Blob(value)
        try:
            parts[0] = self._encoder.encode(value)
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            raise InvalidRequest(f"a value cannot travel between steps: {error}", code="invalid_value") from error
        return parts

    def decode(self, parts: Parts) -> Any:
        """Raises msgspec.ValidationError or DecodeError."""
        if not parts:
            raise msgspec.DecodeError("there is no value")
        self._arrived = parts
        value = self._decoder.decode(parts[0])
        return bytes(value.data) if self._blob else value

    def _outward(self, value: Any) -> Any:
        if isinstance(value, np.ndarray):
            return self._array(cast("np.ndarray[Any, Any]", value))
        if isinstance(value, Blob) and len(value.data) >= BLOB_FROM:
            self._parts.append(memoryview(value.data).cast("B"))
            return msgspec.msgpack.Ext(BLOB, msgspec.msgpack.encode(len(self._parts) - 1))
        return outward(value)

    def _array(self, array: np.ndarray[Any, Any]) -> msgspec.msgpack.Ext:
        if array.dtype.hasobject:
            raise TypeError("an array of objects")
        held = np.ascontiguousarray(array)
        self._parts.append(memoryview(cast(Any, held.reshape(-1).view(np.uint8))) if held.size else b"")
        said = (len(self._parts) - 1, array.dtype.str, array.shape)
        return msgspec.msgpack.Ext(ARRAY, msgspec.msgpack.encode(said))

    def _extension(self, code: int, data: memoryview) -> Any:
        if code == BLOB:
            return self._part(msgspec.msgpack.decode(data, type=int))
        if code != ARRAY:
            raise ValueError(f"extension {code} is none of ours")
        number, dtype, shape = msgspec.msgpack.decode(data, type=tuple[int, str, tuple[int, ...]])
        found = np.dtype(dtype)
        if found.hasobject:
            raise ValueError("an array of objects")
        return np.frombuffer(self._part(number), found).reshape(shape)

    def _part(self, number: int) -> Buffer:
        if not 0 < number < len(self._arrived):
            raise ValueError(f"there is no part {number}")
        return self._arrived[number]


def outward(value: Any) -> Any:
    """What MessagePack and JSON do not know, as something that they do. Raises TypeError."""
    if isinstance(value, pydantic.BaseModel):
        return value.model_dump(by_alias=True)
    if isinstance(value, np.generic):
        return cast(Any, value).item()
    if isinstance(value, complex):
        return (value.real, value.imag)
    if isinstance(value, np.ndarray):
        return cast(Any, value).tolist()
    if isinstance(value, Blob):
        return bytes(value.data)
    raise TypeError(f"a {type(value).__name__}")


def _inward(kind: Any, value: Any) -> Any:
    if kind is Blob:
        return Blob(_bytes(value))
    if is_model(kind):
        return kind.model_validate(value)
    if kind is complex:
        real, imaginary = value
        return complex(real, imaginary)
    if is_array(kind):
        return _checked(np.asarray(value), dtype_of(kind), isinstance(value, np.ndarray))
    raise TypeError(f"a {kind} cannot be read")


def is_bytes(value: Any) -> TypeGuard[Buffer]:
    return isinstance(value, (bytes, bytearray, memoryview))


def _bytes(value: Any) -> Buffer:
    if is_bytes(value):
        return value
    if isinstance(value, str):  # JSON has no bytes
        return base64.b64decode(value, validate=True)
    raise ValueError(f"bytes are wanted, not {type(value).__name__}")


def _checked(array: np.ndarray[Any, Any], wanted: np.dtype[Any] | None, exact: bool) -> np.ndarray[Any, Any]:
    """`exact`: it came as an array; numbers in JSON take the element type that is wanted."""
    if wanted is None or array.dtype == wanted:
        return array
    if exact:
        raise ValueError(f"an array of {array.dtype}, wanted is {wanted}")
    return array.astype(wanted)


def blobbed(parts: Parts) -> list[Buffer]:
    """As the other side would receive them: memory of its own."""
    return [parts[0], *(bytearray(each) for each in parts[1:])]


def settled(parts: Parts) -> Parts:
    """Safe from what a step does to its arrays once it has given them away: they are sent when it is their turn."""
    if len(parts) < 2:
        return parts
    return [bytes(each) if isinstance(each, memoryview) and not each.readonly else each for each in parts]


def inward(kind: Any, value: Any) -> Any:
    """Of JSON."""
    return _inward(kind, value)
