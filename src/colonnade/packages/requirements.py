"""Lines of pip's: which there are, and which of them pip could not read. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import msgspec

_NAME = r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?"
_VERSION = r"(?:===|==|~=|!=|<=|>=|<|>)\s*[A-Za-z0-9.*+!_-]+"
_NAMED = re.compile(
    rf"(?P<name>{_NAME})\s*(?:\[[^\]]*\])?\s*(?:@\s*\S+|\(?(?P<pins>{_VERSION}(?:\s*,\s*{_VERSION})*)?\s*,?\)?)\s*(?:;.*)?"
)
_PLACE = re.compile(r"(?:(?:git|hg|svn|bzr)\+\S+|[a-z+]+://\S+|\.{0,2}/\S+|\S+\.(?:whl|zip|tar\.gz))(?:\s*;.*)?")
_EGG = re.compile(r"[#&]egg=([A-Za-z0-9._-]+)")
_WHEEL = re.compile(r"(?:.*/)?([A-Za-z0-9._]+)-[^/]+\.whl")


class Requirement(msgspec.Struct, frozen=True):
    """`name` is normalised, empty where only an installer can tell it; `pins` the versions that it allows."""

    line: int
    name: str
    pins: str = ""


class Unreadable(msgspec.Struct, frozen=True):
    line: int
    said: str


def requirements_of(lines: Sequence[str]) -> Iterator[Requirement | Unreadable]:
    """`line` counts from 0. Options of pip are passed over."""
    seen: dict[str, str] = {}
    for index, written in enumerate(lines):
        text = re.sub(r"(^|\s)#.*$", "", written).strip()
        if not text or text.startswith("-"):
            continue
        found = _read(index, text)
        if _differs(found, text, seen):
            found = Unreadable(index, f"{text!r} asks for something a second time, and differently")
        yield found


def _differs(found: Requirement | Unreadable, text: str, seen: dict[str, str]) -> bool:
    """Whether an earlier line pins it otherwise; where a line depends on the platform, both may be meant."""
    if isinstance(found, Unreadable) or not found.name or ";" in text:
        return False
    return seen.setdefault(found.name, found.pins) != found.pins


def _read(index: int, text: str) -> Requirement | Unreadable:
    text = re.sub(r"\s+--\S.*$", "", text).removesuffix("\\").strip()  # --hash and its like
    if _PLACE.fullmatch(text):
        told = _EGG.search(text) or _WHEEL.match(text)
        return Requirement(index, normal(told[1]) if told else "")
    if named := _NAMED.fullmatch(text):
        return Requirement(index, normal(named["name"]), re.sub(r"\s+", "", named["pins"] or ""))
    return Unreadable(index, f"pip cannot read {text!r}; accepted: as `name`, `name==1.2`, or `name @ URL`")


def normal(name: str) -> str:
    """As indexes compare names."""
    return re.sub(r"[-_.]+", "-", name).lower()
