"""The corpus: an endless, seeded stream of conversations in fixed shares, and the held-out ones for the score."""

import argparse
import json
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from colonnade_tiny import arithmetic, booking, notes, refusals, tools
from colonnade_tiny.draw import Draw
from colonnade_tiny.words import listed

SHARES = {
    "booking": 0.48,
    "booking_tools": 0.16,
    "notes": 0.14,
    "arithmetic": 0.09,
    "refusals": 0.09,
    "small_talk": 0.04,
}

SYSTEM_PROMPTS = listed("""
You are a helpful assistant.|You answer the phone at a clinic.|You are the front desk of Oak Street Clinic.
You are a friendly receptionist.|Be brief.|You help callers with appointments.
You are an assistant for a small clinic.|Answer politely and briefly.|You are Colonnade, a helpful assistant.
You are the assistant of Dr Reed's practice.|Help the caller.|You are a voice agent. Keep it short.
You take bookings.
""")

PREAMBLE = listed("""
The clinic is open on weekdays.|Be kind to every caller.|Parking is behind the house.|Never give medical advice.
Write times with two digits.|Ask for one thing at a time.|The lift is out of order.|Repeat the booking at the end.
Children need an adult with them.|Speak plainly.|Do not make up names.|Payment is at the desk.
Prescriptions take two days.|Keep answers short.|The doctor is away in August.|New patients fill in a form.
If in doubt, ask.|The pharmacy is next door.|Visitors wait in the hall.|Calls may be recorded.
The nurse works in the morning.|There is a ramp at the side door.
""")

Message = dict[str, object]


@dataclass(frozen=True)
class Conversation:
    """One example: its job, its messages, the tools offered, and how many of the last messages are scored."""

    job: str
    messages: list[Message]
    tools: list[dict[str, object]] = field(default_factory=list)
    scored: int = 0


def training(seed: int, index: int) -> Conversation:
    """Example `index` of the training stream of this seed."""
    draw = Draw(random.Random(f"train {seed} {index}"))
    return _conversation(draw, draw.rng.choices(list(SHARES), list(SHARES.values()))[0])


def heldout(seed: int, job: str, count: int, earlier: bool = False) -> list[Conversation]:
    """Examples of one job whose names, dates, sums and topics no training example has; `earlier` puts others before."""
    draws = (Draw(random.Random(f"heldout {seed} {job} {index}"), heldout=True) for index in range(count))
    return [_heldout(draw, job, earlier) for draw in draws]


def _heldout(draw: Draw, job: str, earlier: bool) -> Conversation:
    messages = _job(draw, job)
    offered = tools.offered(draw) if job == "booking_tools" else []
    before = _earlier(draw, offered) if earlier else []
    system = [_system(draw)] if draw.chance(0.35) else []
    return Conversation(job, [*system, *before, *messages], offered, len(messages))


def _conversation(draw: Draw, job: str) -> Conversation:
    messages = _job(draw, job)
    offered = tools.offered(draw) if job == "booking_tools" else []
    if draw.chance(0.06):
        messages = _earlier(draw, offered) + messages
    elif not offered and draw.chance(0.02):
        offered = tools.offered(draw)
        messages = messages if job != "booking" else _job(draw, "booking_tools")
    if draw.chance(0.35):
        messages = [_system(draw), *messages]
    return Conversation(job, messages, offered)


def main() -> None:
    """Print examples as JSON lines, to read or to train something else on."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=10)
    parser.add_argument(
        "--heldout", choices=list(SHARES), help="held-out examples of this job instead of training ones"
    )
    asked = parser.parse_args()
    stream = (
        heldout(asked.seed, asked.heldout, asked.count)
        if asked.heldout
        else (training(asked.seed, index) for index in range(asked.count))
    )
    for example in stream:
        print(
            json.dumps({"job": example.job, "messages": example.messages, "tools": example.tools}, ensure_ascii=False)
        )


def _job(draw: Draw, job: str) -> list[Message]:
    makers: dict[str, Callable[[], list[Message]]] = {
        "booking": lambda: booking.conversation(draw, with_tools=False),
        "booking_tools": lambda: booking.conversation(draw, with_tools=True),
        "notes": lambda: notes.conversation(draw),
        "arithmetic": lambda: arithmetic.conversation(draw),
        "refusals": lambda: refusals.conversation(draw),
        "small_talk": lambda: refusals.small_talk(draw),
    }
    return makers[job]()


def _earlier(draw: Draw, offered: list[dict[str, object]]) -> list[Message]:
    """One to four conversations that came before, so that a long context does not confuse the model."""
    jobs = ["booking_tools" if offered else "booking", "notes", "arithmetic", "refusals", "small_talk"]
    return [message for _ in range(draw.number(1, 4)) for message in _job(draw, draw.pick(jobs))]


def _system(draw: Draw) -> Message:
    text = draw.pick(SYSTEM_PROMPTS)
    if draw.chance(0.12):
        text += " " + " ".join(draw.pick(PREAMBLE) for _ in range(draw.number(3, 40)))
    return {"role": "system", "content": text}
