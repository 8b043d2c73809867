"""Which cores and GPUs of a machine each life has. Pure: `drivers.local` acts on it.

A GPU is given whole, or to lives whose shares add up to one at most; what is not there is refused. Cores are given by
number, those first that the fewest lives have: when all are given, they are shared. How much fits on a machine is
decided elsewhere.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import msgspec

from colonnade.wire.errors import SetupError

_WHOLE = 1.0 + 1e-9


class Grant(msgspec.Struct, frozen=True, omit_defaults=True):
    """`cores` empty: any. `share`: of each of the `gpus`, as CUDA_VISIBLE_DEVICES names them."""

    cores: tuple[int, ...] = ()
    gpus: tuple[str, ...] = ()
    share: float = 1.0
    memory: int = 0
    """Bytes; 0: any."""


class Grants:
    def __init__(self, cores: Sequence[int], gpus: Sequence[str]) -> None:
        self._cores = tuple(cores)
        self._gpus = tuple(gpus)
        self._held: dict[Hashable, Grant] = {}

    @property
    def gpus(self) -> int:
        return len(self._gpus)

    def take(self, life: Hashable, cores: int, gpus: float, memory: int = 0) -> Grant:
        """`gpus`: a whole number, or less than one. Raises SetupError when they are not free."""
        share = self._free_gpus(gpus) if gpus else ((), 1.0)
        grant = Grant(self._free_cores(cores), *share, memory)
        self.hold(life, grant)
        return grant

    def hold(self, life: Hashable, grant: Grant) -> None:
        """It has been given earlier."""
        self._held[life] = grant

    def release(self, life: Hashable) -> None:
        self._held.pop(life, None)

    def _free_cores(self, count: int) -> tuple[int, ...]:
        given = {core: sum(core in grant.cores for grant in self._held.values()) for core in self._cores}
        return tuple(sorted(sorted(self._cores, key=lambda core: (given[core], core))[:count]))

    def _free_gpus(self, wanted: float) -> tuple[tuple[str, ...], float]:
        count, share = (1, wanted) if wanted < 1 else (int(wanted), 1.0)
        used = {gpu: self._used(gpu) for gpu in self._gpus}
        fitting = [gpu for gpu in self._gpus if used[gpu] + share <= _WHOLE]
        if len(fitting) < count or (wanted > 1 and wanted != count):
            raise SetupError(
                f"{wanted:g} GPUs are asked for, and {len(fitting)} of {len(self._gpus)} have that much free",
                hint="ask for a whole number or a share below 1; `colonnade ps` shows what has the others",
            )
        fullest = sorted(fitting, key=lambda gpu: (-used[gpu], self._gpus.index(gpu)))[:count]
        return tuple(sorted(fullest, key=self._gpus.index)), share

    def _used(self, gpu: str) -> float:
        return sum(grant.share for grant in self._held.values() if gpu in grant.gpus)
