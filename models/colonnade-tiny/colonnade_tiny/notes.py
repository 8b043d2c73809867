"""Clinic notes, and the six fields a note is read into."""

import json

from colonnade_tiny.draw import Draw
from colonnade_tiny.spoken import number_words
from colonnade_tiny.words import listed

FIELDS = ("name", "age", "complaint", "medication", "dose_mg", "follow_up_days")

COMPLAINTS = listed("""
headache|sore throat|back pain|chest pain|dry cough|fever|skin rash|dizziness|nausea|stomach ache|earache
knee pain|shoulder pain|migraine|fatigue|insomnia|heartburn|runny nose|swollen ankle|neck stiffness|joint pain
blurred vision|shortness of breath|high blood pressure|hay fever|toothache|itchy eyes|muscle cramps
loss of appetite|palpitations|sinus pressure|hip pain|wrist pain|anxiety|burning feet|chills
""")
SITES = listed("""
left knee|right knee|lower back|left shoulder|right hand|left foot|neck|jaw|right hip|left elbow|upper arm
""")
TROUBLES = listed("""
pain in the {}|swelling of the {}|numbness in the {}|a cut on the {}|bruising on the {}|stiffness in the {}
""")
MEDICATIONS = listed("""
ibuprofen|paracetamol|amoxicillin|metformin|lisinopril|omeprazole|aspirin|naproxen|cetirizine|loratadine
atorvastatin|amlodipine|doxycycline|prednisone|sertraline|azithromycin|diclofenac|famotidine|losartan|tramadol
ranitidine|codeine
""")

ASKED = [
    "Extract the fields from this note: {}",
    "Extract the fields as JSON: {}",
    "Note: {}",
    "Clinic note: {}",
    "{}",
    "Please read this note into JSON.\n\n{}",
    "Turn this clinic note into JSON: {}",
    "Get the fields from the note.\n{}",
    "Here is a note: {}",
    "extract: {}",
    "Read this note and give me the fields.\n{}",
    "Extract name, age, complaint, medication, dose and follow-up: {}",
    "Summarise this note as JSON: {}",
    "What does this note say? {}",
    "JSON please: {}",
]

WHO = [
    "{n}, {a}.",
    "{n} is {a}.",
    "Patient {n}, {a}.",
    "Patient: {n}. Age: {d}.",
    "Name: {n}. Age: {d}.",
    "Saw {n}, {a}, today.",
    "{n} ({d}) was seen this morning.",
    "{n}, {d}.",
    "Patient is {n}, {a}.",
    "{n}, age {d}, came in today.",
]
WHO_ONLY = [
    "{n}.",
    "Patient: {n}.",
    "Saw {n} today.",
    "{n} was seen this morning.",
    "Name: {n}.",
    "Patient is {n}.",
    "{n} came in.",
]
AGES = ["{d} years old", "aged {d}", "{d} yo", "a {d}-year-old", "{d} y", "{w} years old", "aged {w}", "{d} year old"]
PLAINT = [
    "Complains of {c}.",
    "Reports {c}.",
    "Presents with {c}.",
    "Complaint: {c}.",
    "Has {c}.",
    "Came in with {c}.",
    "c/o {c}.",
    "Suffers from {c} since {since}.",
    "{c} for {days} days.",
    "Main problem: {c}.",
]
NO_PLAINT = ["", "", "Routine visit.", "No complaints.", "Feels well."]
MEDICINE = [
    "Prescribed {m} {g} mg.",
    "Given {m} {g}mg.",
    "Start {m} {g} mg twice daily.",
    "{m} {g} mg.",
    "Rx: {m} {g} mg.",
    "Medication: {m}, {g} mg a day.",
    "Takes {m} {g} mg at night.",
    "Put on {g} mg of {m}.",
    "We started {g} mg {m}.",
]
BARE_MEDICINE = [
    "Prescribed {m}.",
    "Continue {m}.",
    "Given {m}, dose to be decided.",
    "Rx: {m}.",
    "Takes {m} as before.",
]
NO_MEDICINE = ["", "", "No medication.", "No medication given.", "Nothing prescribed."]
RETURN = [
    "Follow up in {f}.",
    "Follow-up in {f}.",
    "Return in {f}.",
    "See again in {f}.",
    "Come back in {f}.",
    "Review in {f}.",
    "Next visit in {f}.",
    "Recheck in {f}.",
]
NO_RETURN = ["", "", "No follow-up needed.", "No follow up."]
ASIDES = [
    "BP {}/{}.",
    "Pulse {}, temp {}.",
    "Room {}, file {}.",
    "Weight {} kg, height 1{} cm.",
    "Lungs clear.",
    "No allergies.",
    "Lives alone.",
    "Smoker.",
    "Bloods taken.",
    "Speech normal.",
]
SINCE = ["Monday", "last week", "yesterday", "March", "the weekend"]


def conversation(draw: Draw) -> list[dict[str, str]]:
    """One note and the JSON that holds its fields."""
    note, fields = note_and_fields(draw)
    question = draw.pick(ASKED).format(note)
    return [
        {"role": "user", "content": question},
        {"role": "assistant", "content": json.dumps(fields, ensure_ascii=False)},
    ]


def note_and_fields(draw: Draw) -> tuple[str, dict[str, str | int | None]]:
    """A note in prose, and what a careful reader takes from it."""
    fields: dict[str, str | int | None] = dict.fromkeys(FIELDS)
    who = _who(draw, fields)
    middle = [_complaint(draw, fields), _medicine(draw, fields), _follow_up(draw, fields)]
    if draw.chance(0.3):
        middle.insert(draw.number(0, 3), draw.pick(ASIDES).format(draw.number(50, 160), draw.number(36, 99)))
    elif draw.chance(0.2):
        draw.rng.shuffle(middle)
    note = " ".join(part for part in [who, *middle] if part)
    return note, fields


def _who(draw: Draw, fields: dict[str, str | int | None]) -> str:
    fields["name"] = draw.name()
    if draw.chance(0.1):
        return draw.pick(WHO_ONLY).format(n=fields["name"])
    fields["age"] = age = draw.number(1, 99)
    said = draw.pick(AGES).format(d=age, w=number_words(age))
    return draw.pick(WHO).format(n=fields["name"], a=said, d=age)


def _complaint(draw: Draw, fields: dict[str, str | int | None]) -> str:
    if draw.chance(0.12):
        return draw.pick(NO_PLAINT)
    plain = draw.chance(0.65)
    fields["complaint"] = complaint = draw.pick(COMPLAINTS) if plain else draw.pick(TROUBLES).format(draw.pick(SITES))
    return draw.pick(PLAINT).format(c=complaint, since=draw.pick(SINCE), days=draw.number(2, 9))


def _medicine(draw: Draw, fields: dict[str, str | int | None]) -> str:
    kind = draw.rng.random()
    if kind < 0.15:
        return draw.pick(NO_MEDICINE)
    fields["medication"] = medicine = draw.pick(MEDICATIONS) if draw.chance(0.6) else draw.made_up(2, 3).lower()
    if kind < 0.25:
        return draw.pick(BARE_MEDICINE).format(m=medicine)
    fields["dose_mg"] = dose = draw.pick(
        [5, 10, 20, 25, 40, 50, 75, 100, 150, 200, 250, 400, 500, 5 * draw.number(1, 200)]
    )
    return draw.pick(MEDICINE).format(m=medicine, g=dose)


def _follow_up(draw: Draw, fields: dict[str, str | int | None]) -> str:
    kind = draw.rng.random()
    if kind < 0.2:
        return draw.pick(NO_RETURN)
    if kind < 0.6:
        weeks = draw.number(1, 8)
        fields["follow_up_days"] = 7 * weeks
        count = draw.pick([str(weeks), number_words(weeks), "a" if weeks == 1 else str(weeks)])
        return draw.pick(RETURN).format(f=f"{count} week{'s' * (weeks > 1)}")
    fields["follow_up_days"] = days = draw.number(2, 30)
    count = str(days) if days > 10 or draw.chance(0.7) else number_words(days)
    return draw.pick(RETURN).format(f=f"{count} days")
