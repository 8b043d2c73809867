"""The queue on disk: SQLite, shared by the replicas of one package, whole after any crash of any of them."""

from __future__ import annotations

import sqlite3
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from colonnade.packages.job import ENDED, Job, begun, expired

LEASE = 15.0
"""Seconds after which a job whose replica says nothing more is somebody else's."""
LARGEST = 4 << 30
"""Bytes of requests and results in one queue, at most."""
_PRAGMAS = "pragma journal_mode = wal; pragma synchronous = normal; pragma secure_delete = on;"  # the last: see `sweep`
_SCHEMA = """
create table if not exists jobs (
    id text primary key, job blob not null, state text not null, priority integer not null, created real not null,
    not_before real not null, forgotten real not null, lease real not null default 0, owner text not null default '',
    key text unique, webhook integer not null default 0, webhook_at real not null default 0
);
create index if not exists queue on jobs (state, priority, created);
"""

_INSERT = """insert into jobs (id, job, state, priority, created, not_before, forgotten, key)
    values (?, ?, ?, ?, ?, 0, 0, ?)"""
_UPDATE = "update jobs set job = ?, state = ?, not_before = ?, forgotten = ?, webhook = ? where id = ?"
_NEXT = """select job from jobs where state = 'QUEUED' and not_before <= ?
    order by priority, created limit 1"""
_NEXT_WEBHOOK = """select job, webhook from jobs where webhook > 0 and webhook_at <= ?
    order by webhook_at limit 1"""


class Full(Exception):
    """There is no room for another request until some are forgotten."""


class Store:
    """Each call is one transaction. Times are given by the caller, in Unix seconds."""

    def __init__(self, file: Path, largest: int = LARGEST) -> None:
        self._largest = largest
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._db = sqlite3.connect(file, timeout=10.0, isolation_level=None, check_same_thread=False)
        self._db.executescript(_PRAGMAS + _SCHEMA)

    def close(self) -> None:
        self._db.close()

    def add(self, job: Job, key: str | None) -> Job:
        """The job that is there under this key, else this one. Raises Full."""
        with self._writing():
            if key is not None and (row := self._db.execute("select job from jobs where key = ?", (key,)).fetchone()):
                return _decoded(row[0])
            if self._held() >= self._largest:
                raise Full
            values = (job.id, msgspec.json.encode(job), job.state, job.ask.priority, job.created, key)
            self._db.execute(_INSERT, values)
        return job

    def get(self, id: str) -> Job | None:
        row = self._db.execute("select job from jobs where id = ?", (id,)).fetchone()
        return None if row is None else _decoded(row[0])

    def claim(self, owner: str, now: float) -> Job | None:
        """The most urgent, and of these the oldest, that may begin; it is in progress then."""
        with self._writing():
            row = self._db.execute(_NEXT, (now,)).fetchone()
            if row is None:
                return None
            job = begun(_decoded(row[0]))
            self._put(job)
            self._db.execute("update jobs set lease = ?, owner = ? where id = ?", (now + LEASE, owner, job.id))
        return job

    def renew(self, owner: str, ids: Iterable[str], now: float) -> None:
        """It is at work on these. One that it let drop is not among them, and is lost after a while."""
        query = "update jobs set lease = ? where id = ? and owner = ? and state = 'IN_PROGRESS'"
        with self._writing():
            self._db.executemany(query, [(now + LEASE, id, owner) for id in ids])

    def change(self, job: Job, before: str) -> bool:
        """False when it is not in the state `before` any more, and stays as it is."""
        with self._writing():
            row = self._db.execute("select state from jobs where id = ?", (job.id,)).fetchone()
            if row is None or row[0] != before:
                return False
            self._put(job)
        return True

    def lost(self, now: float) -> list[Job]:
        """In progress, and whose replica says nothing more."""
        return list(self._jobs("state = 'IN_PROGRESS' and lease < ?", now))

    def sweep(self, now: float) -> None:
        """End what waited too long; forget what was kept long enough, and overwrite it in the file."""
        for job in self._jobs("state = 'QUEUED' and created < ?", now - 10):
            if job.expires <= now:
                self.change(expired(job, now), "QUEUED")
        self._db.execute("delete from jobs where forgotten > 0 and forgotten <= ?", (now,))

    def counts(self) -> dict[str, int]:
        rows = dict(self._db.execute("select state, count(*) from jobs group by state").fetchall())
        return {
            "num_queued_requests": rows.get("QUEUED", 0),
            "num_in_progress_requests": rows.get("IN_PROGRESS", 0),
        }

    def to_tell(self, now: float) -> tuple[Job, int] | None:
        """A job whose webhook is to be called, and how often it was; it is not given out again for a while."""
        with self._writing():
            row = self._db.execute(_NEXT_WEBHOOK, (now,)).fetchone()
            if row is None:
                return None
            job = _decoded(row[0])
            self._db.execute("update jobs set webhook_at = ? where id = ?", (now + 60, job.id))
        return job, row[1] - 1

    def told(self, id: str, failed: int, again_at: float) -> None:
        """`failed` 0: it was heard, or is given up."""
        query = "update jobs set webhook = ?, webhook_at = ? where id = ?"
        self._db.execute(query, (failed + 1 if failed else 0, again_at, id))

    def _held(self) -> int:
        """Bytes in use."""
        pages, free, size = (
            self._db.execute(f"pragma {each}").fetchone()[0] for each in ("page_count", "freelist_count", "page_size")
        )
        return (pages - free) * size

    def _put(self, job: Job) -> None:
        over = job.state in ENDED
        webhook = 1 if over and job.ask.webhook_endpoint else 0
        forgotten = job.forgotten if over else 0
        values = (msgspec.json.encode(job), job.state, job.not_before, forgotten, webhook, job.id)
        self._db.execute(_UPDATE, values)

    def _jobs(self, where: str, *values: object) -> Iterator[Job]:
        rows = self._db.execute(f"select job from jobs where {where}", values).fetchall()
        return (_decoded(row[0]) for row in rows)

    @contextmanager
    def _writing(self) -> Generator[None]:
        self._db.execute("begin immediate")
        try:
            yield
        except BaseException:
            self._db.execute("rollback")
            raise
        self._db.execute("commit")


def _decoded(data: bytes) -> Job:
    return msgspec.json.decode(data, type=Job)
