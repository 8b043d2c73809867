"""Calls that book, move or cancel appointments, with and without tool calls.

The caller leaves pieces out; the desk asks for the first missing one, then settles the matter and repeats it. The desk
answers each state of a call in one way only, so that every turn can be checked to the letter.
"""

import json
from dataclasses import dataclass, field, replace

from colonnade_tiny import phrases, refusals, spoken, tools, words
from colonnade_tiny.draw import Draw
from colonnade_tiny.spoken import Spoken

Message = dict[str, object]

QUESTIONS = {
    "book": {
        "name": "Of course. What name is it for?",
        "day": "Which day would you like?",
        "time": "What time would you like?",
    },
    "move": {
        "name": "Of course. What name is it under?",
        "day": "Which day would you like to move it to?",
        "time": "What time would you like?",
    },
    "cancel": {"name": "Of course. What name is it under?", "day": "Which day is it on?"},
}
WHICH = "Would you like to book, move or cancel an appointment?"
ACTIONS = tuple(QUESTIONS)


@dataclass(frozen=True)
class Visit:
    """What one caller wants done."""

    action: str
    name: str
    day: Spoken
    time: Spoken
    reason: str | None = None

    def needed(self) -> list[str]:
        """The pieces the desk cannot do without, in the order it asks for them."""
        return list(QUESTIONS[self.action])

    def arguments(self) -> dict[str, str]:
        """The arguments of the tool call that settles this."""
        pieces = {"name": self.name, "day": self.day.meant}
        if self.action != "cancel":
            pieces["time"] = self.time.meant
        if self.action == "book" and self.reason:
            pieces["reason"] = self.reason
        return pieces

    def confirmation(self) -> str:
        """What the desk says when it is done."""
        if self.action == "cancel":
            return f"I have cancelled the appointment for {self.name} on {self.day.meant}. Anything else?"
        if self.action == "move":
            return f"I have moved {self.name} to {self.day.meant} at {self.time.meant}. Anything else?"
        reason = f", reason: {self.reason}" if self.reason else ""
        return f"I have booked {self.name} for {self.day.meant} at {self.time.meant}{reason}. Anything else?"


@dataclass
class Call:
    """A call as it unfolds: who says what, and whether the desk has tools."""

    draw: Draw
    lower: bool
    with_tools: bool
    messages: list[Message] = field(default_factory=list)

    def say(self, text: str) -> None:
        """The caller speaks."""
        text = text.replace("  ", " ").strip()
        if self.lower:
            text = text.lower()
        elif self.draw.chance(0.9):
            text = text[:1].upper() + text[1:]
        if text[-1] not in ".?!" and self.draw.chance(0.4):
            text += "?" if text.lower().startswith(("can", "could", "is ", "do ", "may")) else "."
        self.messages.append({"role": "user", "content": text})

    def reply(self, text: str) -> None:
        """The desk speaks."""
        self.messages.append({"role": "assistant", "content": text})

    def use_tool(self, visit: Visit, result: dict[str, object]) -> None:
        """The desk calls a tool and hears its result."""
        call = {"name": f"{visit.action}_appointment", "arguments": visit.arguments()}
        self.messages.append(
            {"role": "assistant", "content": "", "tool_calls": [{"type": "function", "function": call}]}
        )
        self.messages.append({"role": "tool", "content": json.dumps(result)})


def conversation(draw: Draw, with_tools: bool) -> list[Message]:
    """One whole call, from the opening to the goodbye."""
    lower = draw.chance(0.15 if draw.heldout else 0.3)  # harder to copy: names fall into more pieces
    call = Call(draw, lower, with_tools)
    visit = _visit(call, draw.pick(["book", "book", "move", "cancel"]))
    _open(call, visit)
    visit = _settle(call, visit)
    if visit and draw.chance(0.35):
        _second_thought(call, visit)
    if draw.chance(0.2):
        _another(call)
    if draw.chance(0.3):
        _close(call)
    return call.messages


def _visit(call: Call, action: str) -> Visit:
    draw = call.draw
    name = draw.name()
    reason = draw.pick(words.REASONS) if action == "book" and draw.chance(0.25) else None
    return Visit(action, name.lower() if call.lower else name, spoken.day(draw), spoken.time(draw), reason)


def _open(call: Call, visit: Visit) -> None:
    """From the first word to the point where nothing is missing."""
    draw = call.draw
    if draw.chance(0.12):
        call.say(draw.pick(refusals.HELLOS))
        call.reply(refusals.OFFER)
    if draw.chance(0.1):
        if not call.messages:
            call.say(draw.pick(phrases.UNSURE))
            call.reply(WHICH)
        call.say(draw.pick(phrases.SHORT[visit.action]))
        _ask_for(call, visit, visit.needed())
        return
    given = _given(draw, visit)
    call.say(draw.pick(phrases.GREETINGS) + _opening(draw, visit, given))
    _ask_for(call, visit, [piece for piece in visit.needed() if piece not in given])


def _given(draw: Draw, visit: Visit) -> set[str]:
    """The pieces that come with the opening: all of them, none, or some."""
    kind = draw.rng.random()
    if kind < 0.3:
        return set(visit.needed())
    return set() if kind < 0.45 else {piece for piece in visit.needed() if draw.chance(0.5)}


def _ask_for(call: Call, visit: Visit, missing: list[str]) -> None:
    while missing:
        question = QUESTIONS[visit.action][missing[0]]
        call.reply(question)
        if call.draw.chance(0.06):
            _detour(call, question)
        given = _pieces_now(call.draw, missing)
        call.say(_piece_phrase(call.draw, visit, given))
        missing = missing[len(given) :]


def _detour(call: Call, question: str) -> None:
    """The caller asks something else, or did not hear."""
    if call.draw.chance(0.5):
        call.say(call.draw.pick(phrases.AGAIN))
        call.reply(question)
    else:
        call.say(refusals.question(call.draw))
        call.reply(refusals.REFUSAL)


def _pieces_now(draw: Draw, missing: list[str]) -> list[str]:
    return missing[:2] if len(missing) > 1 and draw.chance(0.25) else missing[:1]


def _piece_phrase(draw: Draw, visit: Visit, given: list[str]) -> str:
    if len(given) == 1:
        options = {"name": phrases.SAY_NAME, "day": phrases.SAY_DAY, "time": phrases.SAY_TIME}[given[0]]
    else:
        options = phrases.SAY_DAY_TIME if given == ["day", "time"] else phrases.SAY_NAME_DAY
    if given == ["name", "time"]:
        options = ["{n} at {t}", "{n}, {t} please", "It's {n}, at {t}"]
    day = visit.day.said if draw.chance(0.4) else visit.day.said.removeprefix("on ")
    return draw.pick(options).format(n=visit.name, d=day, t=visit.time.said)


def _opening(draw: Draw, visit: Visit, given: set[str]) -> str:
    if visit.action == "book" and given == {"name", "day", "time"} and not visit.reason and draw.chance(0.1):
        return draw.pick(phrases.TERSE).format(n=visit.name, d=visit.day.said.removeprefix("on "), t=visit.time.said)
    want, pieces = draw.pick(phrases.WANTS[visit.action]), _when(draw, visit, given)
    if visit.reason:
        pieces.insert(draw.number(0, len(pieces)), draw.pick(phrases.REASON).format(r=visit.reason))
    before = after = ""
    if "name" in given:
        place, name = draw.number(0, 2), visit.name
        before = draw.pick(phrases.NAME_BEFORE).format(n=name) if place == 0 else ""
        after = draw.pick(phrases.NAME_AFTER).format(n=name) if place == 1 else ""
        if place == 2:
            spot = draw.number(0, len(pieces)) if visit.action == "book" else 0
            pieces.insert(spot, draw.pick(phrases.NAME_INLINE).format(n=name))
    if draw.chance(0.4):
        want = want[0].lower() + want[1:] if not want.startswith("I") else want
    return before + want + "".join(pieces) + after + draw.pick(phrases.TAILS)


def _when(draw: Draw, visit: Visit, given: set[str]) -> list[str]:
    """The day and the time as pieces of the opening, in the words that go with the action."""
    day, bare = f" {visit.day.said}", visit.day.said.removeprefix("on ")
    if visit.action == "move":
        old = draw.pick(spoken.WEEKDAYS)
        start = (
            draw.pick([f" on {old}", f" from {old}", f" from {old} {spoken.time(draw).said}"])
            if draw.chance(0.25)
            else ""
        )
        to_day, to_time = f" to {bare}", f" to {visit.time.said}"
        if {"day", "time"} <= given:
            return [
                start,
                draw.pick(
                    [f"{to_day} at {visit.time.said}", f"{to_time} {visit.day.said}", f"{to_day}, {visit.time.said}"]
                ),
            ]
        return [start, to_day if "day" in given else to_time if "time" in given else ""]
    pieces = [day] if "day" in given else []
    if "time" in given:
        pieces.insert(draw.number(0, len(pieces)), f" at {visit.time.said}")
    if visit.action == "cancel" and draw.chance(0.15):
        pieces.append(f" at {spoken.time(draw).said}")
    return pieces


def _settle(call: Call, visit: Visit) -> Visit | None:
    """Do what was asked and say so; None when it could not be done."""
    if not call.with_tools:
        call.reply(visit.confirmation())
        return visit
    kind = call.draw.rng.random()
    if visit.action != "book" and kind < 0.1:
        call.use_tool(visit, tools.missing(call.draw))
        call.reply(f"I could not find an appointment for {visit.name}. Anything else?")
        return None
    if visit.action != "cancel" and kind < 0.22:
        visit = _taken(call, visit)
    call.use_tool(visit, tools.success(call.draw, visit.action))
    call.reply(visit.confirmation())
    return visit


def _taken(call: Call, visit: Visit) -> Visit:
    """The time is gone; the desk offers the free one, and the caller takes it or names another."""
    draw = call.draw
    free, other = spoken.time(draw).meant, spoken.time(draw)
    call.use_tool(visit, tools.taken(draw, free))
    call.reply(f"{visit.time.meant} is taken, but {free} is free. Would you like that?")
    if draw.chance(0.7):
        call.say(draw.pick(phrases.ACCEPT))
        return replace(visit, time=Spoken(free, free))
    call.say("No, " + draw.pick(phrases.SAY_TIME).format(t=other.said))
    return replace(visit, time=other)


def _second_thought(call: Call, visit: Visit) -> None:
    """The caller changes the time or the day, or drops it, without saying the rest again."""
    draw, kind = call.draw, call.draw.rng.random()
    if visit.action == "cancel":
        return
    if kind < 0.45:
        time = spoken.time(draw)
        call.say(draw.pick(phrases.NEW_TIME).format(t=time.said))
        _settle(call, replace(visit, action="move", time=time, reason=None))
    elif kind < 0.75:
        day = spoken.day(draw)
        call.say(draw.pick(phrases.NEW_DAY).format(d=day.said.removeprefix("on ")))
        _settle(call, replace(visit, action="move", day=day, reason=None))
    else:
        call.say(draw.pick(phrases.CALL_OFF))
        _settle(call, replace(visit, action="cancel", reason=None))


def _another(call: Call) -> None:
    """A second matter in the same call, for someone else."""
    draw = call.draw
    visit = _visit(call, draw.pick(ACTIONS))
    given = _given(draw, visit) | {"name"}
    call.say(draw.pick(phrases.ANOTHER) + _opening(draw, visit, given))
    _ask_for(call, visit, [piece for piece in visit.needed() if piece not in given])
    _settle(call, visit)


def _close(call: Call) -> None:
    if call.draw.chance(0.4):
        call.say(call.draw.pick(refusals.THANKS))
        call.reply(refusals.WELCOME)
    call.say(call.draw.pick(refusals.BYES))
    call.reply(refusals.GOODBYE)
