"""Which kernels run: native where they were built and the device is the CPU, else torch."""

from __future__ import annotations

import logging
from importlib import import_module
from importlib.util import find_spec

from colonnade.engine.kernels.ops import Kernels
from colonnade.wire.errors import BadSetting

_NATIVE = "colonnade.engine.kernels._native"
_log = logging.getLogger("colonnade.engine")


def native_built() -> bool:
    """Whether this installation had a C++ compiler."""
    return find_spec(_NATIVE) is not None


def choose_kernels(kind: str, device: str, threads: int | None, rounds: bool = False) -> Kernels:
    """`kind`: auto, native or torch; `device`: auto, cpu or cuda; `rounds`: see `Kernels`.

    Raises BadSetting for what this machine has not."""
    if kind == "native" and device == "cuda":
        raise BadSetting("the native kernels run on the CPU only", hint="set kernels to auto, or device to cpu")
    if kind == "native" and not native_built():
        raise BadSetting("the native kernels are not built", hint="install g++ and install colonnade again")
    if kind == "torch" or device == "cuda":
        return _torch(device, threads, rounds)
    if native_built():
        return import_module("colonnade.engine.kernels.native").NativeKernels(threads, rounds=rounds)
    _log.warning("native kernels are not built (no C++ compiler at install): using the slower torch reference kernels")
    return _torch(device, threads, rounds)


def _torch(device: str, threads: int | None, rounds: bool) -> Kernels:
    if device == "cuda" and not import_module("torch").cuda.is_available():
        raise BadSetting("device is cuda, and torch finds no CUDA device here", hint="set device to cpu or auto")
    place = "cuda" if device == "cuda" else "cpu"
    return import_module("colonnade.engine.kernels.reference").TorchKernels(place, threads, rounds)
