"""The two wire forms of a model's values: JSON that knows numpy, and MessagePack that knows numpy, times and decimals.

The MessagePack extensions are those of msgpack_numpy and of Truss: mappings with keys of bytes.
"""

from __future__ import annotations

import json
import uuid
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import msgspec
import numpy as np

MARKED = (b"nd", b"complex", b"__dt_datetime_iso__", b"__dt_date_iso__", b"__dt_time_iso__", b"__dt_timedelta__")


def from_binary(data: bytes) -> Any:
    """Raises ValueError for what is no MessagePack, or holds pickled objects."""
    try:
        return _restore(msgspec.msgpack.decode(data))
    except (msgspec.DecodeError, TypeError, KeyError, OverflowError) as error:
        raise ValueError(f"Invalid MessagePack payload: {error}") from error


def to_binary(value: Any) -> bytes:
    """Raises TypeError for what has no such form."""
    return msgspec.msgpack.encode(_marked(value))


def to_json(value: Any) -> bytes:
    """Raises TypeError for what has no such form."""
    return json.dumps(value, default=_plain).encode()


def _plain(value: Any) -> Any:
    match value:
        case np.integer():
            return int(value)
        case np.floating():
            return float(value)
        case np.ndarray():
            return value.tolist()
        case _:
            raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")


def _marked(value: Any) -> Any:
    """`value` in MessagePack's own types: whatever else there is becomes a mapping that says what it was."""
    match value:
        case dict():
            return {key: _marked(each) for key, each in value.items()}
        case list() | tuple():
            return [_marked(each) for each in value]
        case np.ndarray():
            return _array(value)
        case np.generic():
            return {b"nd": False, b"type": value.dtype.str, b"data": value.data.tobytes()}
        case complex():
            return {b"complex": True, b"data": repr(value)}
        case datetime():
            return {b"__dt_datetime_iso__": True, b"data": _zulu(value.isoformat())}
        case date():
            return {b"__dt_date_iso__": True, b"data": value.isoformat()}
        case time():
            if value.utcoffset() is not None:
                raise ValueError("Cannot represent timezone-aware times.")
            return {b"__dt_time_iso__": True, b"data": value.isoformat()}
        case timedelta():
            return {b"__dt_timedelta__": True, b"data": [value.days, value.seconds, value.microseconds]}
        case Decimal():
            return {b"__decimal__": True, b"data": str(value)}
        case uuid.UUID():
            return {b"__uuid__": True, b"data": str(value)}
        case None | bool() | int() | float() | str() | bytes() | bytearray() | memoryview():
            return value
        case _:
            raise TypeError(f"can not serialize {type(value).__name__!r} object")


def _zulu(text: str) -> str:
    return text[:-6] + "Z" if text.endswith("+00:00") else text


def _array(value: np.ndarray[Any, Any]) -> dict[bytes, Any]:
    if value.dtype.kind in "OV":
        raise TypeError(f"arrays of {value.dtype} have no binary form")
    return {
        b"nd": True,
        b"type": value.dtype.str,
        b"kind": b"",
        b"shape": list(value.shape),
        b"data": value.tobytes(),
    }


def _restore(value: Any) -> Any:
    if isinstance(value, list):
        return [_restore(each) for each in value]
    if not isinstance(value, dict):
        return value
    kind = next((key for key in (*MARKED, b"__decimal__", b"__uuid__") if key in value), None)
    if kind is None or b"data" not in value:
        return {key: _restore(each) for key, each in value.items()}
    return _unmarked(kind, value)


def _unmarked(kind: bytes, value: dict[Any, Any]) -> Any:
    data = value[b"data"]
    match kind:
        case b"nd":
            return _from_array(value)
        case b"complex":
            return complex(data)
        case b"__dt_datetime_iso__":
            return datetime.fromisoformat(data)
        case b"__dt_date_iso__":
            return date.fromisoformat(data)
        case b"__dt_time_iso__":
            return time.fromisoformat(data)
        case b"__dt_timedelta__":
            days, seconds, microseconds = data
            return timedelta(days=days, seconds=seconds, microseconds=microseconds)
        case b"__decimal__":
            return Decimal(data)
        case _:
            return uuid.UUID(data)


def _from_array(value: dict[Any, Any]) -> Any:
    """Pickled objects (kind O) are never read: reading them runs whatever the sender likes."""
    if value.get(b"kind") in (b"O", b"V"):
        raise ValueError("unsupported payload")
    dtype = np.dtype(value[b"type"])
    if dtype.hasobject:
        raise ValueError("unsupported payload")
    found = np.frombuffer(value[b"data"], dtype=dtype)
    return found.reshape(value[b"shape"]) if value[b"nd"] is True else found[0]
