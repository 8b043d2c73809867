"""What `doctor MODEL` finds: whether a model can be served here, before anything of it is loaded."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from msgspec.structs import replace

from colonnade.cli.checks import Finding
from colonnade.engine.devices import gpus
from colonnade.engine.fit import Device, fit
from colonnade.engine.folder import ModelFolder
from colonnade.engine.hub import plain_http
from colonnade.engine.kernels.choice import native_built
from colonnade.engine.memory import free_memory
from colonnade.engine.prospect import Prospect
from colonnade.replica.arrival import NOTES, reference_of
from colonnade.wire.errors import SetupError
from colonnade.wire.settings import Resolved
from colonnade.wire.units import rounded_bytes


def weigh(model: str, settings: Resolved) -> list[Finding]:
    """Where one device can serve it, the others are only a warning."""
    try:
        prospect, here = prospect_of(model, settings.home)
    except SetupError as error:
        return [Finding("model", "fail", error.message, error.hint)]
    devices = list(_devices(prospect, settings))
    if any(each.status != "fail" for each in devices):
        devices = [replace(each, status="warn") if each.status == "fail" else each for each in devices]
    return [_about(prospect), _weights(prospect, here, settings), _cache(prospect, settings), *devices]


def prospect_of(model: str, home: Path) -> tuple[Prospect, bool]:
    """The model, and whether its weights are on this machine. Raises BadModel and SetupError."""
    reference = reference_of(model)
    if reference is None:
        return Prospect.of(ModelFolder.open(model)), True
    plain_http()
    from colonnade.engine.hub.look import look

    return look(reference, home / NOTES, lambda text: None)


def _native(settings: Resolved) -> bool:
    """Whether the CPU would run our own kernels."""
    return native_built() and settings.engine.kernels != "torch"


def _about(prospect: Prospect) -> Finding:
    folder = prospect.folder
    found = f"{folder.name}: {folder.architecture}, context {folder.max_context}, vocabulary {folder.vocab_size}"
    return Finding("model", "ok", found)


def _weights(prospect: Prospect, here: bool, settings: Resolved) -> Finding:
    kept = prospect.footprint(settings.engine, native=_native(settings)).weights
    kinds = ", ".join(sorted(set(prospect.kinds.values())))
    where = "on this machine" if here else "still to be fetched"
    found = f"{rounded_bytes(prospect.stored)} as {kinds}, {where}; {rounded_bytes(kept)} in memory"
    return Finding("weights", "ok", found, figures={"stored": prospect.stored, "in_memory": kept})


def _cache(prospect: Prospect, settings: Resolved) -> Finding:
    token, longest = prospect.footprint(settings.engine, native=True).token, prospect.folder.max_context
    found = f"{rounded_bytes(token)} a token, {rounded_bytes(token * longest)} for the context of {longest}"
    return Finding("kv", "ok", found, figures={"bytes_per_token": token, "context": longest})


def _devices(prospect: Prospect, settings: Resolved) -> Iterator[Finding]:
    engine = settings.engine
    devices = [(Device("cpu", free_memory()), _native(settings))] if engine.device != "cuda" else []
    devices += [(device, False) for device in gpus()] if engine.device != "cpu" else []
    for device, narrow in devices:
        found = fit(prospect.footprint(engine, native=narrow), device, engine, prospect.folder.max_context)
        yield Finding(device.name, found.verdict, found.found, found.fix, found.figures)
    if not devices:
        yield Finding("cuda", "fail", "torch sees no CUDA device here", "say --device cpu or --device auto")
