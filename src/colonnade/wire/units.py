"""Human units: what people write in a setting, and how we write it back.

    count     32768, 32K (K M G T: powers of 1024), 30k (k m g t: powers of 1000), 1.5K
    bytes     10GiB (KiB MiB GiB TiB: powers of 1024), 10GB (kB MB GB TB: powers of 1000), 4096, 4096B
    duration  30s, 250ms, 5m, 1h30m, 2d, 0.5 (a bare number is seconds); as a float of seconds
    percent   80%, 0.8; as a fraction from 0 to 1
    switch    on, off (and true/false, yes/no, 1/0)

For each kind `parse(format(x)) == x`. A text that does not parse raises BadSetting, whose hint says what is accepted.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Generic, TypeVar

from colonnade.wire.errors import BadSetting

T = TypeVar("T")

_COUNT_UNITS = {"": 1} | {u: 1024**n for n, u in enumerate("KMGT", 1)} | {u: 1000**n for n, u in enumerate("kmgt", 1)}
_BYTE_UNITS = (
    {"": 1, "B": 1}
    | {u: 1024**n for n, u in enumerate(("KiB", "MiB", "GiB", "TiB"), 1)}
    | {u: 1000**n for n, u in enumerate(("kB", "MB", "GB", "TB"), 1)}
)
_SECONDS = {
    "d": Decimal(86400),
    "h": Decimal(3600),
    "m": Decimal(60),
    "s": Decimal(1),
    "ms": Decimal("0.001"),
    "us": Decimal("0.000001"),
}
_NUMBER = r"\d{1,30}(?:_\d{1,30})*(?:\.\d{1,400})?"
_QUANTITY = re.compile(rf"({_NUMBER})\s?([A-Za-z]*)", re.ASCII)
_ENDLESS = 10**12
"""Seconds: 30,000 years. What is longer is a slip, and has more digits than can be read back."""
_DURATION = re.compile(rf"(?:{_NUMBER}(?:d|h|ms|us|m|s))+", re.ASCII)
_PART = re.compile(rf"({_NUMBER})(d|h|ms|us|m|s)", re.ASCII)
_SWITCH = {"on": True, "true": True, "yes": True, "1": True, "off": False, "false": False, "no": False, "0": False}


def bad(kind: str, text: str, accepts: str) -> BadSetting:
    return BadSetting(f"{text!r} is not a {kind}", hint=f"accepted: {accepts}")


@dataclass(frozen=True)
class Kind(Generic[T]):
    """A sort of value: how it is read, how it is written, and in words what is accepted."""

    name: str
    accepts: str
    parse: Callable[[str], T]
    format: Callable[[T], str]


def _whole(kind: str, text: str, units: dict[str, int], accepts: str) -> int:
    match = _QUANTITY.fullmatch(text.strip())
    if match is None or match[2] not in units:
        raise bad(kind, text, accepts)
    value = Decimal(match[1].replace("_", "")) * units[match[2]]
    if value != int(value):
        raise bad(kind, text, f"a whole number once its unit is applied; {accepts}")
    return int(value)


def _largest_unit(value: int, units: dict[str, int]) -> str:
    """The unit that leaves the shortest whole number."""
    fits = [(value // size, name) for name, size in units.items() if value % size == 0]
    count, name = min(fits, key=lambda fit: fit[0]) if value else (0, "")
    return f"{count}{name}"


COUNT_ACCEPTS = "whole numbers such as 4096, 32K (K M G T: powers of 1024) or 30k (k m g t: powers of 1000)"
BYTES_ACCEPTS = "bytes such as 10GiB (powers of 1024), 10GB (powers of 1000) or 4096"
DURATION_ACCEPTS = "durations such as 30s, 250ms, 5m, 1h30m or 2d; a bare number is seconds"
PERCENT_ACCEPTS = "80% or 0.8, from 0 to 1"
SWITCH_ACCEPTS = "on or off"


def parse_count(text: str) -> int:
    return _whole("count", text, _COUNT_UNITS, COUNT_ACCEPTS)


def format_count(value: int) -> str:
    return _largest_unit(value, _COUNT_UNITS)


def parse_bytes(text: str) -> int:
    return _whole("size in bytes", text, _BYTE_UNITS, BYTES_ACCEPTS)


def format_bytes(value: int) -> str:
    return _largest_unit(value, {name: size for name, size in _BYTE_UNITS.items() if name})


def rounded_bytes(value: int) -> str:
    """For people to read, not to be parsed again: `1.4 GiB`."""
    size, unit = float(value), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if size < 1024:
            break
        size, unit = size / 1024, larger
    return f"{value} B" if unit == "B" else f"{size:.1f} {unit}"


def parse_duration(text: str) -> float:
    """Seconds."""
    bare = text.strip()
    if re.fullmatch(_NUMBER, bare, re.ASCII):
        bare += "s"
    if _DURATION.fullmatch(bare) is None:
        raise bad("duration", text, DURATION_ACCEPTS)
    parts = _PART.findall(bare)
    seconds = sum(Decimal(number.replace("_", "")) * _SECONDS[unit] for number, unit in parts)
    if seconds >= _ENDLESS:
        raise bad("duration", text, DURATION_ACCEPTS)
    return float(seconds)


def format_duration(seconds: float) -> str:
    """At most two units where that is exact (`1h30m`), else the smallest that is (`250ms`), else decimal seconds."""
    assert seconds >= 0
    exact = Decimal(repr(float(seconds)))
    if exact == exact.to_integral_value() and exact < 10**9:
        return _clock(int(exact))
    millis = exact * 1000
    if exact < 1 and millis == millis.to_integral_value():
        return f"{int(millis)}ms"
    return f"{exact:f}s"


def _clock(seconds: int) -> str:
    parts: list[str] = []
    for unit in ("d", "h", "m", "s"):
        count, seconds = divmod(seconds, int(_SECONDS[unit]))
        parts += [f"{count}{unit}"] if count else []
    return "".join(parts) or "0s"


def parse_percent(text: str) -> float:
    """A fraction from 0 to 1."""
    bare = text.strip()
    number = bare.removesuffix("%").rstrip()
    if re.fullmatch(_NUMBER, number, re.ASCII) is None:
        raise bad("percentage", text, PERCENT_ACCEPTS)
    value = Decimal(number.replace("_", "")) / (100 if bare.endswith("%") else 1)
    if value > 1:
        raise bad("percentage", text, PERCENT_ACCEPTS)
    return float(value)


def format_percent(fraction: float) -> str:
    text = f"{Decimal(repr(float(fraction))) * 100:f}"
    return f"{text.rstrip('0').rstrip('.') if '.' in text else text}%"


def parse_switch(text: str) -> bool:
    value = _SWITCH.get(text.strip().lower())
    if value is None:
        raise bad("switch", text, SWITCH_ACCEPTS)
    return value


def format_switch(value: bool) -> str:
    return "on" if value else "off"


COUNT = Kind("count", COUNT_ACCEPTS, parse_count, format_count)
PLAIN = Kind("count", COUNT_ACCEPTS, parse_count, str)
"""A count that is written without a unit: a port, a number of threads."""
BYTES = Kind("bytes", BYTES_ACCEPTS, parse_bytes, format_bytes)
DURATION = Kind("duration", DURATION_ACCEPTS, parse_duration, format_duration)
PERCENT = Kind("percent", PERCENT_ACCEPTS, parse_percent, format_percent)
SWITCH = Kind("switch", SWITCH_ACCEPTS, parse_switch, format_switch)
TEXT: Kind[str] = Kind("text", "any text", str, str)


def choice(*words: str) -> Kind[str]:
    """One of a few words."""
    accepts = " or ".join((", ".join(words[:-1]), words[-1]))

    def parse(text: str) -> str:
        if text.strip() not in words:
            raise bad("known choice", text, accepts)
        return text.strip()

    return Kind("|".join(words), accepts, parse, str)


def auto(kind: Kind[T]) -> Kind[T | None]:
    """`kind`, or the word `auto`, which is None."""

    def parse(text: str) -> T | None:
        return None if text.strip() == "auto" else kind.parse(text)

    def write(value: T | None) -> str:
        return "auto" if value is None else kind.format(value)

    return Kind(f"{kind.name}|auto", f"auto, or {kind.accepts}", parse, write)
