"""What synthesised callers want and how they say it. Pure: chance comes from outside."""

from __future__ import annotations

import random
from dataclasses import dataclass

from phone.grammar import DAYS, NAMES

PAUSE = "|"
"""In a text: 300 ms of silence in the middle of the sentence."""
_HOURS = {
    1: "one",
    2: "two",
    3: "three",
    4: "four",
    5: "five",
    6: "six",
    8: "eight",
    9: "nine",
    10: "ten",
    11: "eleven",
}
_MINUTES = {0: "{} o'clock", 30: "half past {}", 15: "quarter past {}", 45: "{} forty five"}


@dataclass(frozen=True)
class Script:
    """One caller. `before` is what the book holds for them already; `wanted` what it is to hold (None: nothing)."""

    opening: str
    answers: dict[str, str]
    before: tuple[str, str, str] | None
    wanted: tuple[str, str, str] | None
    name: str
    voice: str = "en-us"
    speed: int = 160
    pitch: int = 50
    pauses: bool = False


def _time(draw: random.Random) -> tuple[str, str]:
    """(as it is said, as it is written): within the working day, as the model was taught."""
    hour, minute = draw.choice(list(_HOURS)), draw.choice(list(_MINUTES))
    return _MINUTES[minute].format(_HOURS[hour]), f"{hour + 12 if hour < 7 else hour:02d}:{minute:02d}"


def script(seed: int, number: int) -> Script:
    """The caller of this number. Every third one pauses in the middle of sentences."""
    draw = random.Random(f"{seed} {number}")
    name = NAMES[number % len(NAMES)]
    action = draw.choice(["book", "book", "move", "cancel"])
    day, (said, meant) = draw.choice(DAYS), _time(draw)
    given = draw.choice(["all", "name", "nothing"])
    before = None if action == "book" else (name, draw.choice(DAYS) if action == "move" else day, _time(draw)[1])
    wanted = None if action == "cancel" else (name, day, meant)
    pauses = number % 3 == 0
    opening = _opening(action, name.lower(), day.lower(), said, given)
    answers = {
        "name": name.lower(),
        "Which day": draw.choice(["on {}", "{}", "{} please"]).format(day.lower()),
        "What time": draw.choice(["at {}", "{}", "{} please"]).format(said),
        "Would you like that": "yes please",
        "Would you like to book": f"i would like to {action} my appointment".replace("book my", "book an"),
        "Anything else": "goodbye",
    }
    if not pauses:
        opening = opening.replace(PAUSE, "")
    voice = draw.choice(["en-us", "en-us", "en-gb"])
    return Script(
        opening, answers, before, wanted, name, voice, draw.choice([140, 155, 170]), draw.choice([35, 50, 60]), pauses
    )


def _opening(action: str, name: str, day: str, said: str, given: str) -> str:
    want = {
        "book": "i would like to book an appointment",
        "move": "i need to move my appointment",
        "cancel": "can i cancel my appointment",
    }[action]
    if given == "nothing":
        return want.replace(" appointment", f"{PAUSE} appointment")
    who = f"{want} {PAUSE}for {name}"
    if given == "name":
        return who
    return (
        f"{who} {PAUSE}" + {"book": f"on {day} at {said}", "move": f"to {day} at {said}", "cancel": f"on {day}"}[action]
    )


def answer(callers: Script, said: str) -> str | None:
    """What this caller says to what the desk said last; None to hang up."""
    if "could not find" in said or "Goodbye" in said:
        return None
    return next((text for asked, text in callers.answers.items() if asked in said), callers.opening.replace(PAUSE, ""))
