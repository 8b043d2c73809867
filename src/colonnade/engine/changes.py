"""Changes to what the engine holds in memory: other weights, sleep, waking. Made between two steps, and only when there
is no work, so that no answer is ever computed with two sets of weights.
"""

from __future__ import annotations

import logging

from colonnade.engine.scheduler import Scheduler
from colonnade.engine.servable import Holder, Servable
from colonnade.wire.errors import ColonnadeError, Conflict
from colonnade.wire.messages import Change, Changed, Declined, Refused, Sleep, Submit, Update, Wake

log = logging.getLogger("colonnade.engine")


class Changes:
    def __init__(self, servable: Servable, scheduler: Scheduler) -> None:
        self._servable = servable
        self._scheduler = scheduler
        self._asleep = False

    def refusal(self, submit: Submit) -> Refused | None:
        """Why `submit` cannot be taken now, if it cannot."""
        if not self._asleep:
            return None
        return Refused(submit.key, "the engine is asleep", "overloaded", "POST /wake_up wakes it")

    def make(self, change: Change) -> Changed | Declined:
        """What was kept of prompts goes in any case: it is of the old weights, or its memory is given back."""
        holder = self._servable.holder
        if holder is None:
            return Declined(change.serial, "this engine's weights stay as they are", "start it with a model folder")
        self._scheduler.drop()
        if self._scheduler.has_work:
            return Declined(change.serial, "requests are under way", "wait for them, or abort them")
        try:
            self._make(holder, change)
        except ColonnadeError as error:
            return Declined(change.serial, error.message, error.hint)
        except Exception as error:  # the holder is as it was
            log.exception("%s failed", type(change).__name__)
            return Declined(change.serial, f"{type(error).__name__}: {error}", "the engine's log has the details")
        self._scheduler.weights = holder.fingerprint
        return Changed(change.serial, self._servable.loaded())

    def _make(self, holder: Holder, change: Change) -> None:
        match change:
            case Update():
                if self._asleep:
                    raise Conflict("the engine is asleep", hint="POST /wake_up first")
                holder.update(change.folder)
            case Sleep():
                holder.sleep(change.level)
                self._asleep = True
            case Wake():
                holder.wake()
                self._asleep = False
