"""Traces of real traffic, read by what they contain and never by their name.

    azure     CSV    TIMESTAMP, ContextTokens, GeneratedTokens
    mooncake  JSONL  timestamp (ms), input_length, output_length, hash_ids (one id per 512-token block of the prompt)
    servegen  CSV    client, t_s, rate_rps, cv, dist, p1, p2, with a CSV of lengths beside it (see servegen.py)

Pure: text in, requests out.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import msgspec

from colonnade.wire.errors import InvalidRequest

Format = Literal["azure", "mooncake", "servegen", "lengths"]

BLOCK = 512
"""Prompt tokens that one of Mooncake's hash ids stands for."""

AZURE = ("TIMESTAMP", "ContextTokens", "GeneratedTokens")
RATES = ("client", "t_s", "rate_rps", "dist", "p1", "p2")
LENGTHS = ("client", "t_s", "in_p50", "in_p90", "in_p99", "out_p50", "out_p90", "out_p99")
_TABLES: tuple[tuple[Format, tuple[str, ...]], ...] = (("azure", AZURE), ("servegen", RATES), ("lengths", LENGTHS))


@dataclass(frozen=True, slots=True)
class Request:
    """One request of a trace: seconds after the trace's first, lengths in tokens, and the prompt's block ids."""

    at: float
    prompt: int
    output: int
    blocks: tuple[int, ...] = ()


class MooncakeRow(msgspec.Struct):
    timestamp: float
    input_length: int
    output_length: int
    hash_ids: list[int] = []


def detect(text: str) -> Format:
    """Raises InvalidRequest, with the formats there are, for anything else."""
    head = text.lstrip("\ufeff \r\n").split("\n", 1)[0].strip()
    columns = set(_columns(head))
    for name, wanted in _TABLES:
        if columns.issuperset(wanted):
            return name
    if head.startswith("{") and '"input_length"' in head:
        return "mooncake"
    raise InvalidRequest(
        "the trace is in no format that is known",
        hint=f"a CSV with {', '.join(AZURE)}; JSON lines with timestamp, input_length, output_length, hash_ids; "
        f"or a CSV with {', '.join(RATES)}. Its first line is: {head[:120]!r}",
        param="--trace",
    )


def parse(text: str) -> list[Request]:
    """The requests of an azure or mooncake trace, in order of time, the first at 0."""
    match detect(text):
        case "azure":
            rows = list(_azure(text))
        case "mooncake":
            rows = list(_mooncake(text))
        case other:
            raise InvalidRequest(f"a {other} file has no requests of its own", param="--trace")
    rows.sort(key=lambda row: row.at)
    start = rows[0].at if rows else 0.0
    return [Request(row.at - start, row.prompt, row.output, row.blocks) for row in rows]


def rows(text: str) -> Iterator[tuple[int, dict[str, str]]]:
    """(line number, fields by the header's names) of a CSV."""
    reader = csv.reader(text.lstrip("\ufeff").splitlines())
    header = [name.strip() for name in next(reader, [])]
    for fields in reader:
        if any(fields):
            yield reader.line_num, dict(zip(header, fields, strict=False))


def broken(line: int, cause: Exception) -> InvalidRequest:
    return InvalidRequest(f"line {line} of the trace cannot be read: {cause!r}", param="--trace")


def _columns(line: str) -> list[str]:
    return [name.strip() for name in next(csv.reader([line]), [])]


def _azure(text: str) -> Iterator[Request]:
    base = None
    for line, row in rows(text):
        try:
            whole, fraction = _seconds(row["TIMESTAMP"])
            base = whole if base is None else base  # seconds since 1970 leave no room for seven decimals
            yield Request(whole - base + fraction, int(row["ContextTokens"]), int(row["GeneratedTokens"]))
        except (ValueError, KeyError, TypeError) as cause:
            raise broken(line, cause) from cause


def _seconds(stamp: str) -> tuple[float, float]:
    """Of a time like `2023-11-16 18:15:46.6805900`: whole seconds since 1970, and the rest."""
    whole, _, fraction = stamp.strip().removesuffix("Z").partition(".")
    fraction = fraction.split("+", 1)[0]
    moment = datetime.fromisoformat(whole + "+00:00")
    return moment.timestamp(), float("0." + fraction) if fraction else 0.0


def _mooncake(text: str) -> Iterator[Request]:
    decode = msgspec.json.Decoder(MooncakeRow).decode
    for line, raw in enumerate(text.splitlines(), 1):
        if not raw.strip():
            continue
        try:
            row = decode(raw)
        except msgspec.DecodeError as cause:
            raise broken(line, cause) from cause
        yield Request(row.timestamp / 1000, row.input_length, row.output_length, tuple(row.hash_ids))
