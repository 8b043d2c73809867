"""What all sections share: unknown keys are kept, and a check across fields says which field it is about."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, TypeGuard, cast

from pydantic import BaseModel, ConfigDict, RootModel
from pydantic_core import PydanticCustomError

from colonnade.packages.fault import Path


class Part(BaseModel):
    model_config: ClassVar[ConfigDict] = ConfigDict(extra="allow", protected_namespaces=())
    loose: ClassVar[bool] = False
    """Truss does not look for unknown keys here or below, so that files with old ones are still pushed."""


def is_mapping(value: object) -> TypeGuard[dict[str, Any]]:
    """Whether a value as YAML gives it is a mapping; its keys are taken for texts, as pydantic takes them."""
    return isinstance(value, dict)


def wrong(message: str, field: str = "") -> PydanticCustomError:
    """An error to raise in a validator; `field` is the key below it that is to blame."""
    return PydanticCustomError("wrong", "{said}", {"said": message, "field": field})  # pyright: ignore[reportArgumentType]


def unknown(part: object, path: Path = (), loose: bool = False) -> Iterator[tuple[Path, bool]]:
    """Keys below `part` that the schema does not have, and whether they are tolerated there."""
    match part:
        case RootModel():
            yield from unknown(cast(Any, part).root, path, loose)
        case Part():
            loose = loose or part.loose
            yield from (((*path, name), loose) for name in part.model_extra or ())
            for name in type(part).model_fields:
                yield from unknown(getattr(part, name), (*path, name), loose)
        case list():
            for index, each in enumerate(cast(list[object], part)):
                yield from unknown(each, (*path, index), loose)
        case Mapping():
            for key, each in cast(Mapping[object, object], part).items():
                yield from unknown(each, (*path, str(key)), loose)
        case _:
            return


def present(value: Any) -> bool:
    return value not in (None, "")
