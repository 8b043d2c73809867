"""A thread that does jobs in order beside its owner's own work: a tenth of the cost of an executor and its futures."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from queue import SimpleQueue
from typing import Generic, TypeVar

Answer = TypeVar("Answer")
Job = Callable[[], None]


class Aside(Generic[Answer]):
    """One owner. The thread starts with the first job, and ends when the owner has forgotten this."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._answers: SimpleQueue[tuple[int, Answer | Exception]] = SimpleQueue()
        self._asked = 0
        self._started = False

    def do(self, job: Job) -> None:
        """`job` must not raise."""
        if not self._started:
            self._started = True
            thread = threading.Thread(target=_work, args=(self._jobs,), name=self._name, daemon=True)
            thread.start()
            weakref.finalize(self, _end, self._jobs, thread)
        self._jobs.put(job)

    def ask(self, question: Callable[[], Answer]) -> None:
        """A job whose answer is wanted, unless another question comes first."""
        self._asked += 1
        number, answers = self._asked, self._answers

        def job() -> None:
            try:
                answers.put((number, question()))
            except Exception as error:  # told where the answer is waited for
                answers.put((number, error))

        self.do(job)

    def answer(self) -> Answer:
        """To the last question, once; waits for it. Raises what it raised."""
        while True:
            number, answer = self._answers.get()
            if number == self._asked:
                if isinstance(answer, Exception):
                    raise answer
                return answer


def _work(jobs: SimpleQueue[Job | None]) -> None:
    while (job := jobs.get()) is not None:
        job()


def _end(jobs: SimpleQueue[Job | None], thread: threading.Thread) -> None:
    """The last job may be what held the owner."""
    jobs.put(None)
    if thread is not threading.current_thread():
        thread.join()
