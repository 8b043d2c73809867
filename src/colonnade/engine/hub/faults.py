"""What goes wrong between a hub and us, in our own errors."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from huggingface_hub import constants, errors
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from colonnade.engine.hub.reference import Reference
from colonnade.wire.errors import BadModel, ColonnadeError, SetupError

HTTPError = errors.HTTPError  # pyright: ignore[reportPrivateImportUsage]
"""Of the HTTP library under huggingface_hub: everything that it raises."""
TOKEN = "set HF_TOKEN to a token that may read it"


@contextmanager
def speaking(reference: Reference) -> Iterator[None]:
    """Around everything that asks the hub. Raises BadModel where another name would help, else SetupError."""
    try:
        yield
    except ColonnadeError:
        raise
    except (HTTPError, OSError, ValueError) as error:
        raise _spoken(error, reference) from error


def full(needed: int, free: int, where: str) -> SetupError:
    hint = f"free {needed - free} bytes there, or set HF_HOME to a folder on a larger disk"
    return SetupError(f"{where}: {needed} bytes are needed, {free} are free", hint=hint, code="disk_full")


def unreachable(reference: Reference, why: str) -> SetupError:
    hint = "HF_ENDPOINT is where the hub is; what was fetched once needs no network; a folder may stand here instead"
    return SetupError(
        f"{reference} cannot be fetched from {constants.ENDPOINT}: {why}", hint=hint, code="hub_unreachable"
    )


def _spoken(error: Exception, reference: Reference) -> SetupError:
    repo, hub = reference.repo, constants.ENDPOINT
    status = error.response.status_code if isinstance(error, HfHubHTTPError) else 0
    if isinstance(error, OfflineModeIsEnabled):
        return unreachable(reference, "HF_HUB_OFFLINE is set, and it is not whole in the cache")
    if isinstance(error, GatedRepoError):
        hint = f"accept its terms at {hub}/{repo}, and {TOKEN}"
        return BadModel(f"{repo} is gated", hint=hint, code="hub_refused")
    if isinstance(error, RevisionNotFoundError):
        hint = f"{hub}/{repo} lists branches, tags and commits"
        return BadModel(f"{repo} has no revision {reference.revision!r}", hint=hint, code="revision_not_found")
    if isinstance(error, RepositoryNotFoundError):
        hint = f"check the name, or where it is private, {TOKEN}; a folder of this name is not here either"
        return BadModel(f"there is no repository {repo} at {hub}", hint=hint, code="model_not_found")
    if status in (401, 403):
        return BadModel(f"{hub} refuses {repo} with {status}", hint=TOKEN, code="hub_refused")
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        hint = "free some space, or set HF_HOME to a folder on a larger disk"
        return SetupError(f"the disk of {constants.HF_HUB_CACHE} is full", hint=hint, code="disk_full")
    if isinstance(error, OSError) and error.filename is not None:
        hint = "set HF_HOME to a folder that this user may write"
        return SetupError(f"{error.filename} cannot be written: {error.strerror}", hint=hint, code="hub_cache")
    return unreachable(reference, str(error).strip().partition("\n")[0] or type(error).__name__)
