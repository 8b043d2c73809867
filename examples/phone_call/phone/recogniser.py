"""Speech to text, as the step `Transcribe` uses it: frames in, the text so far out.

`PHONE_RECOGNISER` says which: `pocketsphinx` (the default), or the URL of a server of OpenAI's
`/v1/audio/transcriptions`, as those of Whisper-class models are.
"""

from __future__ import annotations

import io
import os
import tempfile
import wave
from pathlib import Path
from typing import Any, ClassVar, Protocol

from phone import grammar
from phone.audio import FRAME, RATE
from phone.voice import Voice


class Recogniser(Protocol):
    """Of one turn."""

    async def hear(self, frame: bytes) -> str:
        """The text so far, in lower case."""
        ...

    async def whole(self) -> str:
        """The text of the turn, when it is over."""
        ...

    def free(self) -> None:
        """It is not wanted any more."""
        ...


class Pocketsphinx:
    """The text is taken while the last word is still open: when an utterance is ended, the search is forced into a
    state where the grammar may end, and sometimes into another sentence."""

    _free: ClassVar[list[Any]] = []

    def __init__(self) -> None:
        self._decoder = Pocketsphinx._free.pop() if Pocketsphinx._free else _decoder()
        self._decoder.start_utt()
        self._text = ""

    async def hear(self, frame: bytes) -> str:
        self._decoder.process_raw(frame, False, False)
        best = self._decoder.hyp()
        self._text = best.hypstr if best else ""
        return self._text

    async def whole(self) -> str:
        return self._text

    def free(self) -> None:
        self._decoder.end_utt()
        Pocketsphinx._free.append(self._decoder)


def _decoder() -> Any:
    from pocketsphinx import Decoder, get_model_path

    model = Path(get_model_path("en-us"))
    with tempfile.NamedTemporaryFile("w", suffix=".gram") as file:
        file.write(grammar.jsgf())
        file.flush()
        decoder = Decoder(
            hmm=str(model / "en-us"),
            dict=str(model / "cmudict-en-us.dict"),
            jsgf=file.name,
            samprate=RATE,
            loglevel="FATAL",
        )
    _warm(decoder)
    return decoder


def _warm(decoder: Any) -> None:
    """It follows the mean of what it hears; without having heard anything, it hears its first turns worse."""
    voice = Voice()
    for sentence in _FIRST:
        decoder.start_utt()
        decoder.process_raw(voice.say(sentence).tobytes(), False, False)
        decoder.end_utt()


_FIRST = (
    "hello, i would like to book an appointment for anna brown on friday at half past two",
    "can i cancel my appointment for martha green on wednesday please",
    "my name is daniel miller, thank you, goodbye",
)


class Transcriptions:
    """A server is asked for the whole turn so far every half second, and once more at its end."""

    EVERY = 25
    """Frames."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._sound = bytearray()
        self._text = ""

    async def hear(self, frame: bytes) -> str:
        self._sound += frame
        if len(self._sound) % (self.EVERY * FRAME) == 0:
            self._text = await self._ask()
        return self._text

    async def whole(self) -> str:
        return await self._ask()

    def free(self) -> None:
        """Nothing is held."""

    async def _ask(self) -> str:
        import aiohttp

        form = aiohttp.FormData()
        form.add_field("file", _wave(bytes(self._sound)), filename="turn.wav", content_type="audio/wav")
        form.add_field("model", os.environ.get("PHONE_RECOGNISER_MODEL", "whisper-1"))
        async with aiohttp.ClientSession() as session, session.post(self._url, data=form) as answer:
            answer.raise_for_status()
            return str((await answer.json())["text"]).strip(" .?!\n").lower()


def _wave(sound: bytes) -> bytes:
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(sound)
    return out.getvalue()


def prepare() -> None:
    """For as many calls at once as `PHONE_CALLS` says: one more makes its recogniser in the middle of a call, and takes
    half a second of all of them."""
    made = [new_recogniser() for _ in range(int(os.environ.get("PHONE_CALLS", "2")))]
    for each in made:
        each.free()


def new_recogniser() -> Recogniser:
    kind = os.environ.get("PHONE_RECOGNISER", "pocketsphinx")
    return Transcriptions(kind) if kind.startswith("http") else Pocketsphinx()
