"""The model in memory: weights bound to kernels, exchanged or given back while the worker around them stays.

Nothing here runs while a step does: the engine's loop calls it between steps, and only when there is no work.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from colonnade.engine.fingerprint import fingerprint
from colonnade.engine.folder import ModelFolder
from colonnade.engine.footprint import Footprint
from colonnade.engine.integers import LABEL
from colonnade.engine.kernels.ops import Batch, Geometry, Kernels, Ops, Program, Repacks, Value
from colonnade.engine.loader import Weights, open_weights
from colonnade.engine.models.decoder import Decoder
from colonnade.engine.models.registry import model_class
from colonnade.engine.repacked import Repacked
from colonnade.wire.errors import BadModel, BadSetting

SAME = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja")
"""Files that the replica's face has read, and that new weights may not change."""
_SAYS_NOTHING = ("_name_or_path", "transformers_version", "dtype", "torch_dtype")
"""Entries of config.json that do not concern the computation."""


@dataclass(frozen=True, slots=True)
class Bound:
    """One set of weights, ready to compute with. `token_bytes`: of the keys and values of a token."""

    folder: ModelFolder
    program: Program
    vocab_size: int
    token_bytes: int
    quantisation: str
    weight_dtype: str
    """Of most matrices in memory."""
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Held:
    """One set of weights in memory, bound to one kind of kernels (`kind`), with no program around it: no cache, no
    thread, nothing that a fork of this process would have to make anew. `stamps`: of its files, as they were read."""

    folder: ModelFolder
    model: Decoder
    forward: Callable[[Ops], Value]
    geometry: Geometry
    kind: tuple[object, ...]
    token_bytes: int
    quantisation: str
    weight_dtype: str
    digest: str
    stamps: tuple[object, ...]

    def is_current(self) -> bool:
        """Whether the files on the disk still are those that were read."""
        return self.stamps == stamps(self.folder)


class Binder:
    """Makes programs with one kind of kernels and, after the first, of one size.

    `measure` takes the bytes of a token and the model's longest context, and gives pages and context; it is asked once,
    when the first weights are in memory. `enter` hears the name of each phase as it begins.
    """

    def __init__(
        self,
        kernels: Kernels,
        measure: Callable[[int, int], tuple[int, int]],
        enter: Callable[[str], None],
        cache: Path | None,
        kv_dtype: str,
    ) -> None:
        self.size: tuple[int, int] | None = None
        """Pages, context."""
        self._kernels = kernels
        self._measure = measure
        self._enter = enter
        self._cache = cache
        self._kv_dtype = kv_dtype

    def bind(self, folder: ModelFolder) -> Bound:
        """Raises BadModel, BadSetting, and SetupError for weights that do not fit beside what is in memory.

        The memory of keys and values is taken as they are written.
        """
        return self.finish(self.hold(folder))

    def hold(self, folder: ModelFolder) -> Held:
        """The first half of `bind`: all that replicas of one machine may share."""
        self._enter("weights")
        stamped = stamps(folder)
        model = model_class(folder.architecture)(folder.config)
        weights = open_weights(folder.weight_files, model.expected(), model.ignored, model.optional(), model.quantised)
        quantisation, footprint = _quantisation(self._kernels, weights), self._footprint(model, weights)
        footprint.check_weights(self._kernels.free(), device_of(self._kernels))
        files = (folder.path / "config.json", *folder.weight_files)
        forward = self._forward(model, weights, files)
        self._enter("fingerprint")
        digest, dtype = self._fingerprint(files, quantisation), _held(self._kernels, weights)
        kind = (*kind_of(self._kernels), self._kv_dtype)
        geometry = model.geometry(*self._sized(footprint.token, folder))
        return Held(folder, model, forward, geometry, kind, footprint.token, quantisation, dtype, digest, stamped)

    def finish(self, held: Held) -> Bound:
        """The second half: the cache, the threads, the tape."""
        self._enter("cache")
        pages, positions = self._sized(held.token_bytes, held.folder)
        same = positions == len(held.geometry.cosines)
        geometry = held.geometry if same else held.model.geometry(pages, positions)
        program = self._kernels.program(held.forward, replace(geometry, pages=pages, kv_dtype=self._kv_dtype))
        vocab_size, quantisation = held.model.vocab_size, held.quantisation
        return Bound(held.folder, program, vocab_size, held.token_bytes, quantisation, held.weight_dtype, held.digest)

    def suits(self, held: Held, folder: ModelFolder) -> bool:
        """Whether `finish` may go on with it, in place of `bind` with the folder."""
        return (held.kind, held.folder.path) == ((*kind_of(self._kernels), self._kv_dtype), folder.path)

    def _sized(self, token_bytes: int, folder: ModelFolder) -> tuple[int, int]:
        self.size = self.size or self._measure(token_bytes, folder.max_context)
        return self.size

    def _footprint(self, model: Decoder, weights: Weights) -> Footprint:
        native, quantize = isinstance(self._kernels, Repacks), self._kernels.quantize
        return Footprint.of(model, weights.kinds, native=native, quantize=quantize, kv_dtype=self._kv_dtype)

    def _forward(self, model: Decoder, weights: Weights, files: tuple[Path, ...]) -> Callable[[Ops], Value]:
        """With 8-bit integers: from the copy of an earlier start, or leaving one for the next."""
        kernels, cache = self._kernels, self._cache
        if kernels.quantize == "none" or cache is None or not isinstance(kernels, Repacks):
            return model.bind(weights, kernels)
        key = fingerprint(files, "", "", cache, LABEL)
        kernels.repacked = Repacked(cache / "int8" / f"{key}.bin", key)
        try:
            forward = model.bind(weights, kernels)
            kernels.repacked.save()
        finally:
            kernels.repacked = Repacked()  # it holds matrices, which may have to leave memory
        return forward

    def _fingerprint(self, files: tuple[Path, ...], quantisation: str) -> str:
        """`quantisation` and the type of keys and values: all that is rounded on purpose."""
        kernels = f"{self._kernels.name}/{self._kernels.version}"
        rounding = quantisation if self._kv_dtype == "float32" else f"{quantisation} kv-{self._kv_dtype}"
        return fingerprint(files, kernels, device_of(self._kernels), self._cache, rounding)


class Resident:
    """Implements `process.Holder`. `use` is told of the program to compute with, None for none."""

    def __init__(self, bound: Bound, binder: Binder, use: Callable[[Program | None], None]) -> None:
        self._folder = bound.folder
        self._program: Program | None = bound.program
        self._binder = binder
        self._use = use
        self.fingerprint = bound.fingerprint

    def update(self, folder: str) -> None:
        """Compute with other weights of the same model. Raises BadModel, and then nothing has changed.

        Old and new weights are in memory together until the new ones have computed a token.
        """
        new = ModelFolder.open(folder)
        _compare(self._folder, new)
        bound = self._binder.bind(new)
        _try(bound.program, new.path)
        self._adopt(bound)

    def sleep(self, level: int) -> None:
        if self._program is None:
            return
        self._program.forget()
        if level > 1:
            self._program = None
            self._use(None)
            gc.collect()

    def wake(self) -> None:
        """Raises BadModel when the weights have gone from the disk; it sleeps on then."""
        if self._program is None:
            self._adopt(self._binder.bind(self._folder))

    def _adopt(self, bound: Bound) -> None:
        self._folder, self._program, self.fingerprint = bound.folder, bound.program, bound.fingerprint
        self._use(bound.program)
        gc.collect()


def kind_of(kernels: Kernels) -> tuple[object, ...]:
    """What makes the difference to weights in memory; the number of threads does not."""
    return kernels.name, kernels.version, device_of(kernels), kernels.quantize, kernels.rounds


def stamps(folder: ModelFolder) -> tuple[object, ...]:
    """Which files these are, without reading them: inode, size, time of change; None for one that is not there."""
    files = (*(folder.path / name for name in ("config.json", *SAME)), folder.tokenizer_path, *folder.weight_files)
    return tuple(_stamp(file) for file in files)


def _stamp(file: Path) -> tuple[int, int, int] | None:
    try:
        about = file.stat()
    except FileNotFoundError:
        return None
    return about.st_ino, about.st_size, about.st_mtime_ns


def device_of(kernels: Kernels) -> str:
    return str(getattr(kernels, "device", "cpu"))


def _quantisation(kernels: Kernels, weights: Weights) -> str:
    """Raises BadSetting for a rounding that these weights have no use for."""
    if kernels.quantize == "int8":
        if weights.quantised:
            raise BadSetting(
                "quantize is int8, and the model's weights are 8-bit floats already: to round them again only loses",
                hint="set quantize to none, or serve a checkpoint in bfloat16",
            )
        return LABEL
    if kernels.rounds and not weights.quantised:
        raise BadSetting("round_activations: the weights are not in 8-bit floats", hint="leave round_activations off")
    return ("fp8" if kernels.rounds else "fp8-weights") if weights.quantised else "none"


def _held(kernels: Kernels, weights: Weights) -> str:
    """The type of most matrices in memory."""
    if kernels.quantize == "int8":
        return "int8"
    if isinstance(kernels, Repacks):
        return "float8" if weights.quantised else "bfloat16" if weights.brief else "float32"
    return "float32"


def _compare(old: ModelFolder, new: ModelFolder) -> None:
    """Raises BadModel unless the two differ in their weights alone."""
    before, after = _told(old), _told(new)
    for key in sorted(before.keys() | after.keys()):
        if before.get(key) != after.get(key):
            raise BadModel(
                f"{new.path / 'config.json'}: {key} is {after.get(key)!r}; it is {before.get(key)!r} in what is served",
                hint="weights are exchanged within one architecture and shape; start a replica for another model",
            )
    for name in SAME:
        if _content(old.path / name) != _content(new.path / name):
            raise BadModel(
                f"{new.path / name} differs from that of the model that is served",
                hint="weights are exchanged under the same tokenizer and template; start a replica for another one",
            )


def _told(folder: ModelFolder) -> dict[str, Any]:
    return {key: value for key, value in folder.config.items() if key not in _SAYS_NOTHING}


def _content(file: Path) -> bytes | None:
    return file.read_bytes() if file.is_file() else None


def _try(program: Program, path: Path) -> None:
    """One token. Raises BadModel for weights that give no numbers."""
    one = np.zeros(1, dtype=np.int32)
    logits_SV = program.run(Batch(one, one, one, np.zeros((1, 1), dtype=np.int32), one))
    if not np.isfinite(logits_SV).all():
        raise BadModel(f"the weights in {path} give logits that are no numbers", hint="write the checkpoint anew")
