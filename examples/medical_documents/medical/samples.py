"""Documents that are drawn, with what is true of them. Pure: the seed decides."""

from __future__ import annotations

import random

from medical.documents import Fields

_NAMES = (
    "Vera Lindqvist", "Omar Haddad", "Grace Walsh", "Kenji Tanaka", "Sofia Rossi", "Peter Quinn", "Aisha Rahman",
)  # fmt: skip
_COMPLAINTS = ("headache", "sore throat", "back pain", "dry cough", "skin rash", "dizziness", "knee pain", "earache")
_MEDICINES = ("ibuprofen", "paracetamol", "amoxicillin", "metformin", "omeprazole", "cetirizine", "naproxen")


def document(seed: int, notes: int) -> tuple[str, list[Fields]]:
    """The text, and the fields of each of its notes."""
    draw = random.Random(f"document {seed}")
    drawn = [_note(draw) for _ in range(notes)]
    parts = [f"## Note {number}\n{text}\n" for number, (text, _) in enumerate(drawn, 1)]
    return "# Visits\n\n" + "\n".join(parts), [fields for _, fields in drawn]


def _note(draw: random.Random) -> tuple[str, Fields]:
    fields = Fields(draw.choice(_NAMES), draw.randint(18, 90), draw.choice(_COMPLAINTS))
    text = draw.choice(["Patient {0}, {1} years old.", "Saw {0}, aged {1}, today.", "{0} is {1} years old."])
    text = text.format(fields.name, fields.age)
    text += draw.choice([" Complains of {}.", " Presents with {}.", " Reports {}."]).format(fields.complaint)
    if draw.random() < 0.75:
        fields.medication, fields.dose_mg = draw.choice(_MEDICINES), draw.choice([10, 20, 50, 100, 200, 400, 500])
        text += draw.choice([" Prescribed {} {} mg.", " Given {} {}mg.", " Start {} {} mg twice daily."]).format(
            fields.medication, fields.dose_mg
        )
    if draw.random() < 0.7:
        days = draw.choice([7, 14, 21, 10, 20])
        fields.follow_up_days = days
        text += draw.choice([" Follow up in {}.", " Return in {}.", " Review in {}."]).format(_days(days))
    return text, fields


def _days(days: int) -> str:
    weeks, rest = divmod(days, 7)
    return f"{days} days" if rest else f"{weeks} week{'s' * (weeks > 1)}"
