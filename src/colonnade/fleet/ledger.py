"""What was used, in the store's tables: stretches of replicas' lives, tokens by key, prices. Each counts once, however
often it is told.

A stretch is named by its life and its beginning. One that follows another of its life, at the same rate, makes that
one longer: so a life is a line or a few, however long it is, and nothing is lost by it. Tokens come as sums: of one
life of a gateway, in one hour; a later sum replaces an earlier one.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence

import msgspec

from colonnade.wire.routes import ClusterSpec, Stretch, TokenSum

DIMENSIONS = ("deployment", "cluster", "key", "resource", "owner", "price", "version")
"""What usage can be told apart by. A replica's time has no key, tokens have no cluster: those cells are empty."""
_OF_TIME = frozenset(DIMENSIONS) - {"key"}
_OF_TOKENS = frozenset({"deployment", "key"})


class Used(msgspec.Struct, frozen=True):
    """One line of a bill. `cost`: seconds times amount times price, in the currency that prices are in."""

    group: dict[str, str]
    replica_seconds: float = 0.0
    unit_seconds: float = 0.0
    """Seconds times what the replica takes: of GPUs, of cores."""
    cost: float = 0.0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    budget: str = ""
    """Of a key or a deployment, where lines are told apart by that alone: how far it is used now."""


_THERE = "cluster = :cluster AND epoch = :epoch"
_ALIKE = " AND ".join(f"{each} = :{each}" for each in ("replica", "deployment", "version", "resource", "amount"))


def add_stretches(db: sqlite3.Connection, cluster: str, stretches: Iterable[Stretch]) -> None:
    for each in stretches:
        row = {"cluster": cluster, **msgspec.structs.asdict(each)}
        known = db.execute(f"SELECT 1 FROM usage WHERE {_THERE} AND begun <= :begun AND ended > :begun", row).fetchone()
        if known is None and not _lengthen(db, row):
            marks = ", ".join(f":{name}" for name in row)
            db.execute(f"INSERT INTO usage ({', '.join(row)}) VALUES ({marks}) ON CONFLICT DO NOTHING", row)


def _lengthen(db: sqlite3.Connection, row: dict[str, object]) -> int:
    """Of the stretch that it follows; 0 where there is none."""
    alike = f"{_ALIKE} AND owner = :owner AND price = :price"
    return db.execute(f"UPDATE usage SET ended = :ended WHERE {_THERE} AND ended = :begun AND {alike}", row).rowcount


def forget(db: sqlite3.Connection, before: float) -> None:
    """What was over by then; Unix seconds. Of a life that went on all of it stays."""
    db.execute("DELETE FROM usage WHERE ended < ?", (int(before * 1000),))
    db.execute("DELETE FROM tokens WHERE hour < ?", (int(before // 3600),))


def add_prices(db: sqlite3.Connection, cluster: str, spec: ClusterSpec, version: str) -> None:
    rows = [(cluster, version, resource, offer.price) for resource, offer in spec.resources.items()]
    db.executemany("INSERT INTO prices VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING", rows)


def add_tokens(db: sqlite3.Connection, gateway: str, sums: Iterable[TokenSum]) -> None:
    """Sums only grow: one that was overtaken on its way changes nothing."""
    rows = [(gateway, *msgspec.structs.astuple(each)) for each in sums]
    said = "prompt = max(prompt, excluded.prompt), completion = max(completion, excluded.completion)"
    db.executemany(f"INSERT INTO tokens VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET {said}", rows)


def used(db: sqlite3.Connection, by: Sequence[str], since: float) -> list[Used]:
    """`since`: Unix seconds; of stretches only the part after it counts, tokens count by whole hours."""
    lines: dict[tuple[str, ...], Used] = {}
    for *group, seconds, units, cost in db.execute(_time_query(by), {"since": int(since * 1000)}):
        lines[tuple(group)] = Used(dict(zip(by, group, strict=True)), seconds, units, cost)
    for *group, prompt, completion in db.execute(_token_query(by), {"since": int(since // 3600)}):
        line = lines.get(tuple(group)) or Used(dict(zip(by, group, strict=True)))
        lines[tuple(group)] = msgspec.structs.replace(line, prompt_tokens=prompt, completion_tokens=completion)
    return [line for _, line in sorted(lines.items())]


def _time_query(by: Sequence[str]) -> str:
    columns = _columns(by, _OF_TIME)
    seconds = "(ended - max(begun, :since)) / 1000.0"
    priced = f"{seconds} * amount * coalesce(prices.price, 0) / 3600"
    joined = "prices ON prices.cluster = usage.cluster AND prices.version = usage.price"
    return (
        f"SELECT {columns}total({seconds}), total({seconds} * amount), total({priced}) FROM usage "
        f"LEFT JOIN {joined} AND prices.resource = usage.resource WHERE ended > :since{_grouped(by)}"
    )


def _token_query(by: Sequence[str]) -> str:
    columns = _columns(by, _OF_TOKENS, "tokens")
    return f"SELECT {columns}sum(prompt), sum(completion) FROM tokens WHERE hour >= :since{_grouped(by)}"


def _columns(by: Sequence[str], there: frozenset[str], table: str = "usage") -> str:
    return "".join(f"{table}.{each}, " if each in there else "'', " for each in by)


def _grouped(by: Sequence[str]) -> str:
    """By position; all in one line where nothing is told apart, and none where nothing was used."""
    return f" GROUP BY {', '.join(str(n + 1) for n in range(len(by)))}" if by else " HAVING count(*) > 0"
