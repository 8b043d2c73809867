"""Which types may travel between steps, and which fits where another is wanted."""

from __future__ import annotations

import collections.abc
import dataclasses
import enum
import types
import typing
from typing import Any, Literal, TypeGuard, Union, cast

import msgspec
import numpy as np
import pydantic

PLAIN: tuple[Any, ...] = (
    str,
    int,
    float,
    complex,
    bool,
    bytes,
    type(None),
)
NAMED = {
    ("datetime", "datetime"),
    ("datetime", "date"),
    ("datetime", "time"),
    ("datetime", "timedelta"),
    ("decimal", "Decimal"),
    ("uuid", "UUID"),
}
"""(module, name) of further types that MessagePack has a reading of."""
CONTAINERS: tuple[Any, ...] = (list, tuple, set, frozenset, dict)
ITERATORS: tuple[Any, ...] = (
    collections.abc.AsyncIterator,
    collections.abc.AsyncIterable,
    collections.abc.AsyncGenerator,
)


def name_of(kind: Any) -> str:
    """As people write it."""
    if kind is None or kind is type(None):
        return "None"
    if typing.get_origin(kind) is None and isinstance(kind, type):
        return kind.__name__
    return str(kind).replace("typing.", "").replace("collections.abc.", "")


def item_of(kind: Any) -> tuple[bool, Any]:
    """(whether it is a stream, the type of its items); of anything else (False, itself)."""
    if typing.get_origin(kind) in ITERATORS:
        return True, typing.get_args(kind)[0]
    return (kind in ITERATORS, Any) if kind in ITERATORS else (False, kind)


def is_array(kind: Any) -> bool:
    return (typing.get_origin(kind) or kind) is np.ndarray


def is_model(kind: Any) -> TypeGuard[type[pydantic.BaseModel]]:
    return isinstance(kind, type) and issubclass(kind, pydantic.BaseModel)


def dtype_of(kind: Any) -> np.dtype[Any] | None:
    """The element type that an annotation such as NDArray[float32] asks for."""
    for each in typing.get_args(kind):
        inner = typing.get_args(each)
        if typing.get_origin(each) is np.dtype and inner and isinstance(inner[0], type):
            return np.dtype(inner[0])
    return None


def complaint(kind: Any) -> str:
    """Why a type cannot travel, or nothing. Fields of models are theirs to check."""
    origin = typing.get_origin(kind)
    if kind is Any or kind in PLAIN or kind is None or is_array(kind) or is_model(kind) or origin is Literal:
        return ""
    if item_of(kind)[0]:
        return "a stream cannot stand inside another type"
    if origin in (Union, types.UnionType, *CONTAINERS):
        return next((said for each in typing.get_args(kind) if each is not ... and (said := complaint(each))), "")
    if kind in CONTAINERS or _is_named(kind) or _is_record(origin or kind):
        return ""
    return f"{name_of(kind)} cannot travel between processes"


def _is_named(kind: Any) -> bool:
    return (getattr(kind, "__module__", ""), getattr(kind, "__name__", "")) in NAMED


def _is_record(kind: Any) -> bool:
    if not isinstance(kind, type):
        return False
    named_tuple = tuple in kind.__mro__ and hasattr(cast(Any, kind), "_fields")
    return (
        dataclasses.is_dataclass(cast(Any, kind))
        or named_tuple
        or typing.is_typeddict(cast(Any, kind))
        or issubclass(cast(Any, kind), (enum.Enum, msgspec.Struct))
    )


def fits(given: Any, wanted: Any) -> bool:
    """Whether a value of one type may be passed where another is wanted; what is not known fits."""
    if wanted is Any or given is Any or given == wanted or (given in (int, bool) and wanted in (int, float)):
        return True
    if typing.get_origin(given) in (Union, types.UnionType):
        return all(fits(each, wanted) for each in typing.get_args(given))
    if typing.get_origin(wanted) in (Union, types.UnionType):
        return any(fits(given, each) for each in typing.get_args(wanted))
    if typing.get_origin(given) is Literal and isinstance(wanted, type):
        return all(isinstance(each, wanted) for each in typing.get_args(given))
    return _fits_inside(given, wanted)


def _fits_inside(given: Any, wanted: Any) -> bool:
    inner, outer = typing.get_origin(given) or given, typing.get_origin(wanted) or wanted
    if not (isinstance(inner, type) and isinstance(outer, type) and outer in inner.__mro__):
        return False
    have, want = typing.get_args(given), typing.get_args(wanted)
    if not have or not want or is_array(wanted):
        return True
    return len(have) == len(want) and all(a is b or fits(a, b) for a, b in zip(have, want, strict=True))
