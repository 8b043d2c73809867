"""Takes jobs from the queue while the model has a slot free, runs them, tells their webhooks."""

from __future__ import annotations

import asyncio
import logging
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
        self._telling: asyncio.Task[None] | None = None
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
                if self._store is not None or self._file.exists():
                    self._look(time.time())
                self._news.clear()
                try:
                    await asyncio.wait_for(self._news.wait(), LOOK_S)
                except TimeoutError:
                    continue
        finally:
            await self._close()

    def _look(self, now: float) -> None:
        store = self.store
        store.renew(self._owner, now)
        for job in store.lost(now):
            store.change(abandoned(job, now), "IN_PROGRESS")
        store.sweep(now)
        for _ in range(self._room(len(self._at_work))):
            if (job := store.claim(self._owner, now)) is None:
                break
            self._at_work[job.id] = asyncio.create_task(self._attempt(job), name=f"job {job.id}")
        if self._telling is None or self._telling.done():
            self._telling = asyncio.create_task(self._tell_all(), name="webhooks")

    async def _attempt(self, job: Job) -> None:
        try:
            outcome = await self._run(job)
            self.store.change(after(job, outcome, time.time()), "IN_PROGRESS")
        finally:
            del self._at_work[job.id]
            self.wake()

    async def _tell_all(self) -> None:
        while (found := self.store.to_tell(time.time())) is not None:
            job, failed = found
            heard = await self._tell(job)
            if heard or failed + 1 >= WEBHOOK_ATTEMPTS:
                self.store.told(job.id, 0, 0.0)
            else:
                self.store.told(job.id, failed + 1, time.time() + webhook_pause(failed + 1))

    async def _tell(self, job: Job) -> bool:
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
        tasks = [*self._at_work.values(), *([self._telling] if self._telling is not None else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._session is not None:
            await self._session.close()
        if self._store is not None:
            self._store.close()
