"""The three tools of the desk as callers of the API describe them, and what comes back from them."""

from colonnade_tiny import spoken
from colonnade_tiny.draw import Draw

ABOUT = {
    "book_appointment": ["Book an appointment.", "Book an appointment for a caller", "Creates a new appointment"],
    "move_appointment": [
        "Move an appointment.",
        "Move an appointment to a new day and time",
        "Reschedules an appointment",
    ],
    "cancel_appointment": ["Cancel an appointment.", "Cancel an appointment of a caller", "Removes an appointment"],
}
ARGUMENTS = {
    "book_appointment": ["name", "day", "time", "reason"],
    "move_appointment": ["name", "day", "time"],
    "cancel_appointment": ["name", "day"],
}
EXPLAINED = {
    "name": "Name of the caller",
    "day": "Day of the appointment",
    "time": "Time as HH:MM",
    "reason": "Why, if said",
}


CLOCK = "^([01][0-9]|2[0-3]):[0-5][05]$"
LISTED = 0.3
"""Share of the offers that list what an argument may be."""


def offered(draw: Draw) -> list[dict[str, object]]:
    """The tools as the request lists them: told in full or in few words, in any order."""
    names = list(ARGUMENTS)
    if draw.chance(0.3):
        draw.rng.shuffle(names)
    full = draw.chance(0.3)
    values = _values(draw) if draw.chance(LISTED) else {}
    return [{"type": "function", "function": _function(draw, name, full, values)} for name in names]


def _values(draw: Draw) -> dict[str, list[str]]:
    """What some arguments may be, where the desk knows everybody and its hours: much to look past."""
    kinds = {
        "name": [draw.name() for _ in range(draw.number(3, 20))],
        "day": [*spoken.WEEKDAYS, *draw.pick([[], ["today", "tomorrow"], ["tomorrow", "today"]])],
        "time": [f"{hour:02}:{minute:02}" for hour in range(8, draw.number(12, 19)) for minute in (0, 30)],
    }
    return {kind: values for kind, values in kinds.items() if draw.chance(0.7)}


def _function(draw: Draw, name: str, full: bool, values: dict[str, list[str]]) -> dict[str, object]:
    properties = {
        key: {"type": "string"}
        | ({"description": EXPLAINED[key]} if full else {})
        | ({"enum": values[key]} if key in values else {"pattern": CLOCK} if values and key == "time" else {})
        for key in ARGUMENTS[name]
    }
    parameters: dict[str, object] = {"type": "object", "properties": properties}
    if full or draw.chance(0.4):
        parameters["required"] = [key for key in ARGUMENTS[name] if key != "reason"]
    about = {"description": draw.pick(ABOUT[name])} if full or draw.chance(0.6) else {}
    if not draw.chance(0.3):
        return {"name": name, **about, "parameters": parameters}
    return {"name": name, **about, "parameters": parameters | {"additionalProperties": False}, "strict": True}


def success(draw: Draw, action: str) -> dict[str, object]:
    """A result that says it worked."""
    done = {"book": "booked", "move": "moved", "cancel": "cancelled"}[action]
    return draw.pick(
        [
            {"status": done},
            {"ok": True},
            {"status": "ok"},
            {"status": done, "id": draw.number(10, 9999)},
            {"success": True},
            {"result": "ok"},
            {"status": "confirmed"},
        ]
    )


def taken(draw: Draw, free: str) -> dict[str, object]:
    """A result that says the time is gone, and which one is free."""
    return draw.pick([{"status": "taken", "free": free}, {"ok": False, "error": "taken", "free": free}])


def missing(draw: Draw) -> dict[str, object]:
    """A result that says there is no such appointment."""
    return draw.pick([{"status": "not_found"}, {"ok": False, "error": "not found"}, {"error": "no such appointment"}])
