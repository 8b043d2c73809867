"""The booking database: SQLite, one row an appointment. A key that was carried out gives its first result again."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from phone.grammar import DAYS, NAMES

TABLES = """
CREATE TABLE IF NOT EXISTS appointments (name TEXT, day TEXT, time TEXT, UNIQUE (day, time));
CREATE TABLE IF NOT EXISTS done (key TEXT PRIMARY KEY, result TEXT);
"""
_TIME = {"type": "string", "pattern": "^(0[7-9]|1[0-8]):[0-5][05]$"}
_PROPERTIES: dict[str, Any] = {
    "name": {"type": "string", "enum": list(NAMES)},
    "day": {"type": "string", "enum": [*DAYS, "tomorrow", "today"]},
    "time": _TIME,
}


def _tool(action: str, keys: list[str]) -> dict[str, Any]:
    parameters = {
        "type": "object",
        "properties": {key: _PROPERTIES[key] for key in keys},
        "required": keys,
        "additionalProperties": False,
    }
    function = {"name": f"{action}_appointment", "parameters": parameters, "strict": True}
    return {"type": "function", "function": function}


TOOLS = [
    _tool("book", ["name", "day", "time"]),
    _tool("move", ["name", "day", "time"]),
    _tool("cancel", ["name", "day"]),
]


class Desk:
    def __init__(self, file: Path | str) -> None:
        self._file = str(file)
        with closing(self._open()) as database:
            database.executescript(TABLES)

    def carry_out(self, tool: str, arguments: dict[str, str], key: str, commit: bool) -> dict[str, str]:
        """The result as the model reads it. Without `commit` it is what the result would be, and nothing is changed."""
        with closing(self._open()) as database:
            database.execute("BEGIN IMMEDIATE")
            known = database.execute("SELECT result FROM done WHERE key = ?", (key,)).fetchone()
            if known:
                database.rollback()
                return json.loads(known[0])
            result = _act(database, tool.removesuffix("_appointment"), arguments)
            if commit:
                database.execute("INSERT INTO done VALUES (?, ?)", (key, json.dumps(result)))
                database.commit()
            else:
                database.rollback()
            return result

    def appointments(self) -> list[tuple[str, str, str]]:
        """(name, day, time), sorted."""
        with closing(self._open()) as database:
            return sorted(database.execute("SELECT name, day, time FROM appointments").fetchall())

    def _open(self) -> sqlite3.Connection:
        return sqlite3.connect(self._file, timeout=10, isolation_level=None)


def _act(database: sqlite3.Connection, action: str, given: dict[str, str]) -> dict[str, str]:
    name, day, time = given["name"], given["day"], given.get("time", "")
    if action == "book":
        return _place(database, name, day, time, "booked")
    where = "name = ? AND day = ?" if action == "cancel" else "name = ?"
    values = (name, day) if action == "cancel" else (name,)
    if not database.execute(f"SELECT 1 FROM appointments WHERE {where}", values).fetchone():
        return {"status": "not_found"}
    if action == "cancel":
        database.execute(f"DELETE FROM appointments WHERE {where}", values)
        return {"status": "cancelled"}
    return _place(database, name, day, time, "moved")


def _place(database: sqlite3.Connection, name: str, day: str, time: str, status: str) -> dict[str, str]:
    """Where the hour is another's, the next one that is free."""
    rows = database.execute("SELECT time, name FROM appointments WHERE day = ?", (day,)).fetchall()
    taken = {row[0] for row in rows if row[1] != name or status == "booked"}
    if (time, name) in rows and status == "booked":
        return {"status": status}
    if time in taken:
        return {"status": "taken", "free": _free(time, taken)}
    if status == "moved":
        database.execute("DELETE FROM appointments WHERE name = ?", (name,))
    database.execute("INSERT INTO appointments VALUES (?, ?, ?)", (name, day, time))
    return {"status": status}


def _free(time: str, taken: set[str]) -> str:
    every = [f"{hour:02d}:{minute:02d}" for hour in range(7, 19) for minute in (0, 30)]
    later = [each for each in every if each > time and each not in taken]
    return (later or [each for each in every if each not in taken] or ["18:55"])[0]
