"""Speech both ways: a text becomes a WAV file by espeak-ng, and one of some phrases is heard in a WAV by pocketsphinx.

The voice and the sound are those of the phone call (`external_package_dirs` in config.yaml).
"""

from __future__ import annotations

import base64
import io
import re
import tempfile
import wave
from pathlib import Path
from typing import Any

from phone.audio import RATE
from phone.voice import Voice
from pydantic import BaseModel, Field, model_validator

PHRASE = re.compile(r"[a-z' ]+")
PAUSE = b"\0" * (RATE // 2)
"""A quarter of a second of silence, which a recogniser needs around speech."""


class Asked(BaseModel):
    """`say` a text; or `hear` a WAV file in base64 (mono, 16 bits, 16 kHz), in which one of `phrases` is looked for."""

    say: str = Field(default="", max_length=1000)
    hear: str = ""
    phrases: list[str] = Field(default=[], max_length=100)

    @model_validator(mode="after")
    def _one(self) -> Asked:
        if bool(self.say) == bool(self.hear):
            raise ValueError("say a text, or hear a sound")
        if self.hear and not (self.phrases and all(PHRASE.fullmatch(each) for each in self.phrases)):
            raise ValueError("phrases of lower-case letters are what can be heard")
        return self


class Model:
    def load(self) -> None:
        self.voice = Voice()

    def predict(self, inputs: Asked) -> dict[str, str]:
        if inputs.say:
            return {"sound": base64.b64encode(_wav(self.voice.say(inputs.say).tobytes())).decode()}
        return {"text": heard(_samples(base64.b64decode(inputs.hear)), inputs.phrases)}


def heard(sound: bytes, phrases: list[str]) -> str:
    """ "" where it is none of them."""
    decoder = _decoder(phrases)
    decoder.start_utt()
    decoder.process_raw(PAUSE + sound + PAUSE, False, True)
    decoder.end_utt()
    best = decoder.hyp()
    return best.hypstr if best else ""


def _decoder(phrases: list[str]) -> Any:
    from pocketsphinx import Decoder, get_model_path

    model = Path(get_model_path("en-us"))
    with tempfile.NamedTemporaryFile("w", suffix=".gram") as file:
        file.write(f"#JSGF V1.0;\ngrammar phrases;\npublic <phrase> = {' | '.join(phrases)};\n")
        file.flush()
        return Decoder(
            hmm=str(model / "en-us"),
            dict=str(model / "cmudict-en-us.dict"),
            jsgf=file.name,
            samprate=RATE,
            loglevel="FATAL",
        )


def _wav(sound: bytes) -> bytes:
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(sound)
    return out.getvalue()


def _samples(encoded: bytes) -> bytes:
    """Raises ValueError for another kind of sound."""
    with wave.open(io.BytesIO(encoded)) as file:
        kind = file.getnchannels(), file.getsampwidth(), file.getframerate()
        if kind != (1, 2, RATE):
            raise ValueError(f"channels, bytes and rate must be 1, 2 and {RATE}, got {kind}")
        return file.readframes(file.getnframes())
