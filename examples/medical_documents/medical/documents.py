"""A document of a clinic: notes one after another, each of one visit. Split, merged and scored here; pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields

_NOTE = re.compile(r"^## Note (\d+)\s*$", re.MULTILINE)


@dataclass
class Fields:
    """What is read from a note; None where it does not say."""

    name: str | None = None
    age: int | None = None
    complaint: str | None = None
    medication: str | None = None
    dose_mg: int | None = None
    follow_up_days: int | None = None


NAMES = tuple(each.name for each in fields(Fields))


@dataclass
class Note:
    number: int
    text: str


@dataclass
class Merged:
    """Of one patient: the visits in order, what was prescribed, and the next visit that is nearest."""

    name: str
    visits: list[Fields]
    medications: list[str]
    next_visit_days: int | None


@dataclass
class Score:
    """`by_field`: right and all, where the truth is known."""

    right: int
    fields: int
    by_field: dict[str, tuple[int, int]]

    @property
    def share(self) -> float:
        return self.right / self.fields if self.fields else 1.0


def split(document: str) -> list[Note]:
    """Notes begin with a line `## Note N`; what stands before the first is a title."""
    pieces = _NOTE.split(document)
    return [Note(int(number), text.strip()) for number, text in zip(pieces[1::2], pieces[2::2], strict=True)]


def merge(visits: list[Fields]) -> list[Merged]:
    """By patient, in the order in which they first appear; notes without a name are under ""."""
    patients: dict[str, list[Fields]] = {}
    for visit in visits:
        patients.setdefault(visit.name or "", []).append(visit)
    return [_merged(name, theirs) for name, theirs in patients.items()]


def _merged(name: str, visits: list[Fields]) -> Merged:
    medications = dict.fromkeys(visit.medication for visit in visits if visit.medication)
    days = [visit.follow_up_days for visit in visits if visit.follow_up_days is not None]
    return Merged(name, visits, list(medications), min(days, default=None))


def score(found: list[Fields], truth: list[Fields]) -> Score:
    """Field by field; a name counts as right only to the letter."""
    by_field: dict[str, tuple[int, int]] = {}
    for field in NAMES:
        same = [getattr(a, field) == getattr(b, field) for a, b in zip(found, truth, strict=True)]
        by_field[field] = (sum(same), len(same))
    return Score(sum(right for right, _ in by_field.values()), len(NAMES) * len(truth), by_field)
