"""Scripted callers phone the clinic: `python proofs/phone_calls.py [CALLS] [AT_ONCE]` (50, 1).

The robots of examples/phone_call speak with espeak-ng in real time, every third one pausing for 300 ms in the middle of
a sentence, every tenth one breaking into the desk's confirmation. Printed: how many calls ended with the right book,
turns cut off, from the last voiced frame in to the first voiced frame out, the budget of each stage, how fast a
barge-in stops the sound, and the processor time of each part. The machine probe is beside them; on a busy machine quote
the shares and the processor time, not the milliseconds.
"""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "examples" / "phone_call"))

from phone.desk import Desk
from phone.house import phone
from phone.robot import Outcome, Robot
from phone.scripts import Script, script

from colonnade.bench.percentiles import percentile
from colonnade.bench.probe import measure

STAGES = ("silence", "hear", "understand", "try", "word", "speak", "head start", "wait")


async def main(count: int, at_once: int) -> None:
    folder = Path(tempfile.mkdtemp())
    callers = [script(1, number) for number in range(count)]
    home = str(folder / "home")
    with phone(folder / "book.db", COLONNADE_HOME=home, PHONE_CALLS=str(at_once)) as house:
        desk, line = Desk(folder / "book.db"), asyncio.Semaphore(at_once)
        names = {each.name: asyncio.Lock() for each in callers}

        async def one(number: int, caller: Script) -> tuple[Outcome, bool]:
            async with names[caller.name], line:  # nobody is on the phone twice
                clear(folder / "book.db", caller)
                barge = ("I have", "goodbye") if number % 10 == 9 else None
                outcome = await Robot(caller, barge).call(house["url"])
                held = [row for row in desk.appointments() if row[0] == caller.name]
                right = held == ([caller.wanted] if caller.wanted else [])
                told(number, caller, outcome, right, held)
                return outcome, right

        before, began = spent(house), time.monotonic()
        found = await asyncio.gather(*(one(number, caller) for number, caller in enumerate(callers)))
        after, seconds = spent(house), (time.monotonic() - began) * min(at_once, count)
    report(found, at_once)
    print(
        "\nCPU per second of a call: "
        + ", ".join(f"{name} {(after[name] - before[name]) / seconds:.3f}" for name in after)
    )


def spent(house: dict[str, Any]) -> dict[str, float]:
    """CPU seconds of each step's process, of the chain's parent and of the model's processes."""
    steps = {each["step"]: cpu(each["pid"]) for each in house["steps"]}
    below = descendants(house["model"]["pid"])
    return {**steps, "websocket": cpu(house["pid"]), "model": sum(map(cpu, below))}


def cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def descendants(pid: int) -> list[int]:
    """With itself."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(each for child in children for each in descendants(int(child)))]


def clear(book: Path, caller: Script) -> None:
    with closing(sqlite3.connect(book)) as database, database:
        database.execute("DELETE FROM appointments WHERE name = ?", (caller.name,))
        if caller.before:
            database.execute("DELETE FROM appointments WHERE day = ? AND time = ?", caller.before[1:])
            database.execute("INSERT INTO appointments VALUES (?, ?, ?)", caller.before)
        if caller.wanted:
            database.execute("DELETE FROM appointments WHERE day = ? AND time = ?", caller.wanted[1:])


def told(number: int, caller: Script, outcome: Outcome, right: bool, held: object) -> None:
    misheard = [(turn.said, turn.heard) for turn in outcome.turns if turn.said.lower() != plain(turn.heard)]
    said = {"call": number, "right": right, "pauses": caller.pauses, "turns": len(outcome.turns)}
    if not right or misheard or outcome.error:
        said |= {"wanted": caller.wanted, "held": held, "misheard": misheard, "error": outcome.error}
    print(json.dumps(said), flush=True)


def plain(heard: str) -> str:
    return heard.lower().replace(",", "")


def report(found: list[tuple[Outcome, bool]], at_once: int) -> None:
    turns = [turn for outcome, _ in found for turn in outcome.turns]
    waits = [turn.wait for turn in turns if turn.wait is not None]
    exact = sum(turn.said.lower() == plain(turn.heard) for turn in turns)
    stops = [outcome.stopped for outcome, _ in found if outcome.stopped is not None]
    print(f"\n{len(found)} calls, {at_once} at once; probe {measure()}")
    print(f"right: {sum(right for _, right in found)} of {len(found)}; errors: {sum(bool(o.error) for o, _ in found)}")
    print(f"turns: {len(turns)}, cut off: {sum(turn.cut for turn in turns)}, heard to the letter: {exact}")
    print(f"last voiced in to first voiced out: {spread(waits)}")
    if stops:
        print(f"a barge-in's first voiced frame to the last sound: {spread(stops)}")
    print("\n| stage | " + " | ".join(("p50", "p95")) + " |\n|---|---|---|")
    for stage in STAGES:
        seconds = sorted(turn.times[stage] for turn in turns if stage in turn.times)
        print(f"| {stage} | {1e3 * percentile(seconds, 50):.0f} ms | {1e3 * percentile(seconds, 95):.0f} ms |")


def spread(seconds: list[float]) -> str:
    seconds = sorted(seconds)
    return ", ".join(f"p{at} {1e3 * percentile(seconds, at):.0f} ms" for at in (50, 95, 100)) + f" of {len(seconds)}"


if __name__ == "__main__":
    given = [int(each) for each in sys.argv[1:]]
    asyncio.run(main(*given, *(50, 1)[len(given) :]))
