"""A model on a hub, looked at without its weights: their headers come by range requests."""

from __future__ import annotations

from pathlib import Path

from huggingface_hub import HfApi

from colonnade.engine.folder import ModelFolder
from colonnade.engine.hub.faults import speaking
from colonnade.engine.hub.fetch import Fetch, index_of
from colonnade.engine.hub.progress import Tell
from colonnade.engine.hub.reference import Reference
from colonnade.engine.hub.store import Store
from colonnade.engine.loader import Place
from colonnade.engine.prospect import Prospect


def look(reference: Reference, state: Path, tell: Tell) -> tuple[Prospect, bool]:
    """The model, and whether it has been fetched already: then nothing is asked. Raises BadModel and SetupError."""
    kept = Store(reference, state).recall()
    if kept is not None:
        return Prospect.of(ModelFolder.open(kept, name=reference.name)), True
    path, listing = Fetch(reference, state, tell).describe()
    weights = listing.weights(reference.repo, index_of(path))
    places: dict[str, Place] = {}
    with speaking(reference):
        for file in weights:
            about = HfApi().parse_safetensors_file_metadata(reference.repo, file.name, revision=listing.commit)
            for name, tensor in about.tensors.items():
                places[name] = Place(Path(file.name), tensor.dtype, tuple(tensor.shape), *tensor.data_offsets)
    folder = ModelFolder.open(path, name=reference.name, weights=False)
    return Prospect.described(folder, places, sum(file.size for file in weights)), False
