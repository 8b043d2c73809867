"""A caller that is a program: speaks with espeak-ng in real time, listens to the sound that comes back, measures."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import numpy as np

from phone.audio import RATE, SECONDS, Samples, frames, loudness
from phone.scripts import PAUSE, Script, answer
from phone.voice import Voice

VOICED = 150.0
"""Root mean square of a frame that somebody hears."""
PATIENCE = 60.0
"""Seconds without an answer after which a caller says it again; after the third time they hang up."""


@dataclass
class Turn:
    """`wait`: from the last voiced frame that was sent to the first that came back. `cut`: the desk took the turn
    before its end."""

    said: str
    heard: str = ""
    wait: float | None = None
    cut: bool = False
    times: dict[str, float] = field(default_factory=dict[str, float])


@dataclass
class Outcome:
    turns: list[Turn] = field(default_factory=list[Turn])
    did: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    desk: list[str] = field(default_factory=list[str])
    stopped: float | None = None
    """Of a barge-in: seconds from its first voiced frame to the last sound that came."""
    error: str = ""


class Robot:
    """`barge`: (a text of the desk's, what the caller says into it after 0.5 s, once). `moment` is called with each
    event's kind: a test may break something there."""

    def __init__(
        self, script: Script, barge: tuple[str, str] | None = None, moment: Callable[[str], None] = lambda _: None
    ) -> None:
        self.outcome = Outcome()
        self._script = script
        self._voice = Voice(script.voice, script.speed, script.pitch)
        self._barge = barge
        self._moment = moment
        self._room = np.random.default_rng(0)
        self._to_say: deque[tuple[bytes, bool]] = deque()
        self._last_voiced = 0.0
        self._barged = 0.0
        self._said = ""
        self._hung = asyncio.Event()
        self._quiet_since = 0.0

    async def call(self, url: str) -> Outcome:
        """`url` is the chain's, as `chain run` printed it."""
        async with aiohttp.ClientSession() as session, session.ws_connect(f"{url}/run_remote") as socket:
            self._say(self._script.opening)
            work = [asyncio.create_task(each) for each in (self._talk(socket), self._listen(socket))]
            waiting = asyncio.create_task(self._hung.wait())
            await asyncio.wait([*work, waiting], return_when=asyncio.FIRST_COMPLETED)
            if not work[1].done():
                work[0].cancel()
                await socket.send_str('{"end": {}}')
                await asyncio.wait([work[1]], timeout=PATIENCE)
            for task in (*work, waiting):
                task.cancel()
            done = await asyncio.gather(*work, return_exceptions=True)
            self.outcome.error = self.outcome.error or next((repr(e) for e in done if isinstance(e, Exception)), "")
        return self.outcome

    def _say(self, text: str) -> None:
        pieces: list[Samples] = []
        for number, part in enumerate(text.split(PAUSE)):
            if number:
                pieces.append(np.zeros(RATE * 3 // 10, np.int16))
            pieces.append(self._voice.say(part.strip()))
        self._to_say = deque((frame, True) for frame in frames(np.concatenate(pieces) // 2))
        self.outcome.turns.append(Turn(" ".join(text.replace(PAUSE, "").split())))

    async def _talk(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        """A frame every 20 ms, whether somebody speaks or not."""
        loop = asyncio.get_running_loop()
        due = self._quiet_since = loop.time()
        for _ in range(10):
            self._to_say.appendleft((bytes(640), False))
        while True:
            await asyncio.sleep(due - loop.time())
            due += SECONDS
            frame, speech = self._to_say.popleft() if self._to_say else (self._noise(), False)
            await socket.send_bytes(frame)
            if speech and loudness(frame) > VOICED:
                self._last_voiced = self._quiet_since = loop.time()
                self._barged = self._barged if self._barged >= 0 else loop.time()
            elif loop.time() - self._quiet_since > PATIENCE:
                self._again(loop.time())

    def _again(self, now: float) -> None:
        self._quiet_since = now
        turn = self.outcome.turns[-1]
        if sum(each.said == turn.said for each in self.outcome.turns) > 2:
            self._hung.set()
        self._say(turn.said)

    def _noise(self) -> bytes:
        return self._room.normal(0, 6, 320).astype(np.int16).tobytes()

    async def _listen(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        loop = asyncio.get_running_loop()
        async for message in socket:
            if message.type is aiohttp.WSMsgType.BINARY:
                self._sound(message.data, loop.time())
            else:
                said = json.loads(message.data)
                if "error" in said:
                    self.outcome.error = said["error"]["message"]
                    return
                self._event(said.get("item", {}))

    def _sound(self, frame: bytes, now: float) -> None:
        turn = self.outcome.turns[-1]
        if loudness(frame) > VOICED:
            self._quiet_since = now
            if turn.wait is None and turn.heard:
                turn.wait = now - self._last_voiced
            if self._barged > 0 and not self.outcome.turns[-1].heard:
                self.outcome.stopped = now - self._barged

    def _event(self, event: dict[str, Any]) -> None:
        turn, text = self.outcome.turns[-1], event.get("text", "")
        match event.get("kind"):
            case "turn":
                turn.cut = turn.cut or any(speech for _, speech in self._to_say)
                turn.heard = f"{turn.heard} {text}".strip()
                self._said = ""
            case "said":
                self._said += f" {text}"
                self.outcome.desk.append(text)
                self._interrupt(text)
            case "did":
                self.outcome.did.append(json.loads(text))
            case "times":
                turn.times = event["times"]
            case "over" if not self._to_say:
                self._reply()
            case _:
                pass
        self._moment(event.get("kind", ""))

    def _interrupt(self, text: str) -> None:
        if self._barge is not None and self._barge[0] in text:
            said, self._barge = self._barge[1], None
            asyncio.get_running_loop().call_later(0.5, self._break_in, said)

    def _break_in(self, text: str) -> None:
        self._barged = -1.0
        self.outcome.stopped = 0.0
        self._say(text)

    def _reply(self) -> None:
        text = answer(self._script, self._said)
        if text is None:
            self._hung.set()
        else:
            self._say(text)
