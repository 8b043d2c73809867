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


def choose_kernels(
    kind: str, device: str, threads: int | None, rounds: bool = False, quantize: str = "none"
) -> Kernels:
    """`kind`: auto, native or torch; `device`: auto, cpu or cuda; `rounds`: see `Kernels`; `quantize`: none or int8.

    Raises BadSetting for what this machine has not.
    """
    if quantize != "none" and device == "cuda":
        raise BadSetting(
            f"weights in {quantize} are computed on the CPU only", hint="set quantize to none, or device to cpu"
        )
    if quantize != "none" and rounds:
        raise BadSetting(
            f"round_activations is for weights in 8-bit floats; under quantize {quantize} they are 16-bit integers",
            hint="leave round_activations off, or set quantize to none",
        )
    if kind == "native" and device == "cuda":
        raise BadSetting("the native kernels run on the CPU only", hint="set kernels to auto, or device to cpu")
    if kind == "native" and not native_built():
        raise BadSetting("the native kernels are not built", hint="install g++ and install colonnade again")
    if kind == "torch" or device == "cuda":
        return _torch(device, threads, rounds, quantize)
    if native_built():
        native = import_module("colonnade.engine.kernels.native")
        return native.NativeKernels(threads, rounds=rounds, quantize=quantize)
    _log.warning("native kernels are not built (no C++ compiler at install): using the slower torch reference kernels")
    return _torch(device, threads, rounds, quantize)


def _torch(device: str, threads: int | None, rounds: bool, quantize: str) -> Kernels:
    if device == "cuda" and not import_module("torch").cuda.is_available():
        raise BadSetting("device is cuda, and torch finds no CUDA device here", hint="set device to cpu or auto")
    place = "cuda" if device == "cuda" else "cpu"
    return import_module("colonnade.engine.kernels.reference").TorchKernels(place, threads, rounds, quantize)
