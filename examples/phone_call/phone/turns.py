"""Who speaks: voice activity and the ends of turns, from the loudness of frames. Pure: frames in, decisions out.

A frame is voiced when it is several times louder than the room. Some voiced frames in a row begin a turn; silence of
`pause` seconds is a guess that it may be over, `end` seconds is the decision. What sounds unfinished gets more time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Decision = Literal["begins", "pauses", "goes on", "ends"]


@dataclass(frozen=True)
class Limits:
    """Seconds, but for `least` (root mean square of 16-bit samples) and `times` (the room's own loudness)."""

    frame: float = 0.02
    least: float = 150.0
    times: float = 3.0
    onset: float = 0.06
    pause: float = 0.04
    end: float = 0.34
    unfinished: float = 0.8
    longest: float = 20.0


class Turns:
    """`hear` takes every frame, in order, with its time in the audio: a stalled network does not make a pause."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        self.floor = 50.0
        """Loudness of the room."""
        self.speaking = False
        self.finished = True
        """Whether what was understood so far could be all; said by whoever transcribes."""
        self._run = 0.0
        self._began = 0.0
        self._voiced = 0.0
        self._paused = False

    @property
    def paused(self) -> bool:
        return self.speaking and self._paused

    @property
    def silence_wanted(self) -> float:
        return self.limits.end if self.finished else self.limits.unfinished

    def hear(self, loudness: float, now: float) -> Decision | None:
        """`now` is the time at the frame's end, in seconds of audio."""
        voiced = loudness > max(self.limits.least, self.limits.times * self.floor)
        if not voiced:
            self.floor += 0.05 * (loudness - self.floor)
        if not self.speaking:
            return self._quiet(voiced, now)
        return self._talk(voiced, now)

    def _quiet(self, voiced: bool, now: float) -> Decision | None:
        self._run = self._run + self.limits.frame if voiced else 0.0
        if self._run < self.limits.onset - 1e-9:
            return None
        self.speaking, self.finished, self._paused = True, True, False
        self._began, self._voiced, self._run = now, now, 0.0
        return "begins"

    def _talk(self, voiced: bool, now: float) -> Decision | None:
        if now - self._began > self.limits.longest:
            return self._over()
        if voiced:
            self._voiced = now
            resumed, self._paused = self._paused, False
            return "goes on" if resumed else None
        silent = now - self._voiced
        if silent > self.silence_wanted - 1e-9:
            return self._over()
        if not self._paused and silent > self.limits.pause - 1e-9:
            self._paused = True
            return "pauses"
        return None

    def _over(self) -> Decision:
        self.speaking = False
        return "ends"
