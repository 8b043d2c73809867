"""Speech from text by espeak-ng, through its C library: from the wheel `espeakng-loader`, else the system's."""

from __future__ import annotations

import ctypes
import ctypes.util
import threading
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from phone.audio import Samples, resampled, trimmed

_SYNCHRONOUS, _UTF8, _RATE, _PITCH = 2, 1, 1, 3
_HEARS = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p)


class Voice:
    """The library keeps one state for the process, so there is one lock. A clause takes a few milliseconds."""

    _lock = threading.Lock()
    _library: Any = None
    _rate = 0
    _pieces: ClassVar[list[bytes]] = []
    _hears: Any = None

    def __init__(self, name: str = "en-us", speed: int = 160, pitch: int = 50) -> None:
        """`speed` in words a minute, `pitch` from 0 to 99. Raises OSError where espeak-ng is not installed."""
        self._name, self._speed, self._pitch = name, speed, pitch
        with self._lock:
            if Voice._library is None:
                Voice._open()

    def say(self, text: str) -> Samples:
        """Without silence around it."""
        with self._lock:
            library, encoded = Voice._library, text.encode()
            library.espeak_SetVoiceByName(self._name.encode())
            library.espeak_SetParameter(_RATE, self._speed, 0)
            library.espeak_SetParameter(_PITCH, self._pitch, 0)
            Voice._pieces.clear()
            if library.espeak_Synth(encoded, len(encoded) + 1, 0, 1, 0, _UTF8, None, None):
                raise RuntimeError(f"espeak-ng did not speak {text!r}")
            sound = np.frombuffer(b"".join(Voice._pieces), np.int16)
        return trimmed(resampled(sound, Voice._rate))

    @classmethod
    def _open(cls) -> None:
        path, data = _found()
        library = ctypes.CDLL(path)
        rate = library.espeak_Initialize(_SYNCHRONOUS, 0, data.encode() if data else None, 0)
        if rate <= 0:
            raise OSError("espeak-ng has no data folder")
        cls._hears = _HEARS(_keep(cls._pieces))
        library.espeak_SetSynthCallback(cls._hears)
        cls._library, cls._rate = library, rate


def _keep(pieces: list[bytes]) -> Callable[[int | None, int, int | None], int]:
    def hears(sound: int | None, count: int, events: int | None) -> int:
        if sound:
            pieces.append(ctypes.string_at(sound, 2 * count))
        return 0

    return hears


def _found() -> tuple[str, str]:
    try:
        import espeakng_loader
    except ImportError:
        path = ctypes.util.find_library("espeak-ng")
        if path is None:
            raise OSError("espeak-ng is not installed: pip install 'colonnade[phone]'") from None
        return path, ""
    return espeakng_loader.get_library_path(), espeakng_loader.get_data_path()
