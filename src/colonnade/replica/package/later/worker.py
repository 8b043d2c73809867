"""Takes jobs from the queue while the model has a slot free, runs them, tells their webhooks."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sqlite3
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import aiohttp
import msgspec

from colonnade.packages.job import WEBHOOK_ATTEMPTS, Job, Outcome, abandoned, after, signatures, webhook_pause
from colonnade.replica.package.later.store import Store

_log = logging.getLogger(__name__)
LOOK_S = 0.5
"""How often the queue is looked at for what other replicas put there."""
WEBHOOK_S = 10.0
WEBHOOKS = 8
"""Called at a time, so that one that hangs does not hold up the others."""

Run = Callable[[Job], Awaitable[Outcome]]


class Worker:
    """`run` gives the outcome of one attempt; `room` says how many more may begin beside those at work here. The file
    is made by the first request. `keys` sign webhooks."""

    def __init__(
        self, file: Path, owner: str, run: Run, room: Callable[[int], int], keys: Callable[[], list[str]]
    ) -> None:
        self._file = file
        self._owner = owner
        self._run = run
        self._room = room
        self._keys = keys
        self._store: Store | None = None
        self._news = asyncio.Event()
        self._at_work: dict[str, asyncio.Task[None]] = {}
        self._telling: set[asyncio.Task[None]] = set()
        self._trouble = ""
        self._session: aiohttp.ClientSession | None = None

    @property
    def store(self) -> Store:
        if self._store is None:
            self._store = Store(self._file)
        return self._store

    def wake(self) -> None:
        self._news.set()

    def cancel(self, id: str) -> None:
        """Of one that is at work here."""
        if (task := self._at_work.get(id)) is not None:
            task.cancel()

    async def work(self) -> None:
        """Until it is cancelled; jobs at work are then left to others."""
        try:
            while True:
                self._try_look(time.time())
                self._news.clear()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(LOOK_S):  # `wait_for` may lose a cancel that comes with the news
                        await self._news.wait()
        finally:
            await self._close()

    def _try_look(self, now: float) -> None:
        """A full disk, or a file that others keep locked, may be well again at the next look."""
        trouble = ""
        try:
            if self._store is not None or self._file.exists():
                self._look(now)
        except (sqlite3.Error, msgspec.DecodeError) as error:
            trouble = str(error)
        if trouble and trouble != self._trouble:
            _log.error("the queue %s cannot be used: %s", self._file, trouble)
        self._trouble = trouble

    def _look(self, now: float) -> None:
        store = self.store
        store.renew(self._owner, self._at_work, now)
        for job in store.lost(now):
            store.change(abandoned(job, now), "IN_PROGRESS")
        store.sweep(now)
        for _ in range(self._room(len(self._at_work))):
            if (job := store.claim(self._owner, now)) is None:
                break
            self._at_work[job.id] = asyncio.create_task(self._attempt(job), name=f"job {job.id}")
        while len(self._telling) < WEBHOOKS and (found := store.to_tell(now)) is not None:
            task = asyncio.create_task(self._tell(*found), name=f"webhook of {found[0].id}")
            self._telling.add(task)
            task.add_done_callback(self._told)

    def _told(self, task: asyncio.Task[None]) -> None:
        self._telling.discard(task)
        self.wake()

    async def _attempt(self, job: Job) -> None:
        try:
            outcome = await self._run(job)
            self.store.change(after(job, outcome, time.time()), "IN_PROGRESS")
        finally:
            del self._at_work[job.id]
            self.wake()

    async def _tell(self, job: Job, failed: int) -> None:
        heard = await self._call(job)
        if heard or failed + 1 >= WEBHOOK_ATTEMPTS:
            self.store.told(job.id, 0, 0.0)
        else:
            self.store.told(job.id, failed + 1, time.time() + webhook_pause(failed + 1))

    async def _call(self, job: Job) -> bool:
        """Whether it was heard."""
        body = msgspec.json.encode({"type": "async_request_completed", "time": time.time(), **job.page()})
        headers = {"Content-Type": "application/json", "X-BASETEN-REQUEST-ID": job.id}
        if keys := self._keys():
            headers["X-BASETEN-SIGNATURE"] = signatures(body, keys)
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(WEBHOOK_S))
        try:
            url = job.ask.webhook_endpoint or ""
            async with self._session.post(url, data=body, headers=headers, allow_redirects=False) as answer:
                heard = answer.status < 300
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            _log.warning("the webhook of %s was not reached: %s", job.id, error)
            return False
        if not heard:
            _log.warning("the webhook of %s answered %d", job.id, answer.status)
        return heard

    async def _close(self) -> None:
        tasks = [*self._at_work.values(), *self._telling]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._session is not None:
            await self._session.close()
        if self._store is not None:
            self._store.close()
