"""What may stand for PATH_OR_NAME: a folder, a shipped model, a repository on a hub."""

from __future__ import annotations

import re

from colonnade.engine.folder import ModelFolder, shipped_names
from colonnade.replica.arrival import reference_of


def check_model(model: str) -> None:
    """Raises BadModel for what cannot be served. A repository is looked at by the replica, which fetches it."""
    if reference_of(model) is None:
        ModelFolder.open(model)


def placed(model: str) -> str:
    """As a replica finds it that is started elsewhere: a folder by its whole path."""
    return model if reference_of(model) or model in shipped_names() else str(ModelFolder.open(model).path)


def name_of(model: str) -> str:
    """The deployment's name: of a folder its last part, of a repository its own, without what a name may not hold."""
    reference = reference_of(model)
    last = reference.name if reference else model.rstrip("/").rpartition("/")[2]
    return re.sub(r"[^A-Za-z0-9._-]+", "-", last).strip("-._")[:63] or "model"
