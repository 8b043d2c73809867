"""The model in memory: weights bound to kernels, exchanged or given back while the worker around them stays.

Nothing here runs while a step does: the engine's loop calls it between steps, and only when there is no work.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from colonnade.engine.fingerprint import fingerprint
from colonnade.engine.folder import ModelFolder
from colonnade.engine.kernels.ops import Batch, Kernels, Program
from colonnade.engine.loader import open_weights
from colonnade.engine.models.registry import model_class
from colonnade.wire.errors import BadModel

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
    fingerprint: str


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
    ) -> None:
        self.size: tuple[int, int] | None = None
        """Pages, context."""
        self._kernels = kernels
        self._measure = measure
        self._enter = enter
        self._cache = cache

    def bind(self, folder: ModelFolder) -> Bound:
        """Raises BadModel. The memory of keys and values is taken as they are written."""
        self._enter("weights")
        model = model_class(folder.architecture)(folder.config)
        weights = open_weights(folder.weight_files, model.expected(), model.ignored, model.optional(), model.quantised)
        forward = model.bind(weights, self._kernels)
        self._enter("cache")
        token_bytes = model.geometry(1, 1).token_bytes
        self.size = self.size or self._measure(token_bytes, folder.max_context)
        program = self._kernels.program(forward, model.geometry(*self.size))
        self._enter("fingerprint")
        quantisation = ("fp8" if self._kernels.rounds else "fp8-weights") if weights.quantised else "none"
        digest = self._fingerprint(folder, quantisation)
        return Bound(folder, program, model.vocab_size, token_bytes, quantisation, digest)

    def _fingerprint(self, folder: ModelFolder, quantisation: str) -> str:
        kernels = f"{self._kernels.name}/{self._kernels.version}"
        files = (folder.path / "config.json", *folder.weight_files)
        return fingerprint(files, kernels, device_of(self._kernels), self._cache, quantisation)


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


def device_of(kernels: Kernels) -> str:
    return str(getattr(kernels, "device", "cpu"))


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
