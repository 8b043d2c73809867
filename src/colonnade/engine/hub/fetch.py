"""A repository's files, fetched from a hub into its cache: what the engine reads, and nothing else.

    folder = Fetch(Reference("org/name"), home / "cache" / "hub", tell).run()

First what describes the model, so that one that cannot be served is refused before its weights come; then the disk is
looked at; then the weights. A file comes into `ETAG.partial`, goes on there after an interruption, is compared with the
digest that the hub states, and only then gets its name. Locks are huggingface_hub's: of two processes one waits.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi, constants, get_hf_file_metadata, hf_hub_url
from huggingface_hub.utils import WeakFileLock

from colonnade.engine.described import check_described
from colonnade.engine.folder import ModelFolder
from colonnade.engine.hub.faults import speaking
from colonnade.engine.hub.listing import INDEX, Listing, RemoteFile
from colonnade.engine.hub.progress import Progress, Tell
from colonnade.engine.hub.reference import Reference
from colonnade.engine.hub.store import Store, digest_of, partial
from colonnade.engine.hub.transfer import Transfer
from colonnade.wire.errors import BadModel, SetupError

_PLAIN = re.compile(r"[\w-][\w.-]{0,199}", re.ASCII)
"""What may become a file's name."""


class Fetch:
    """`state`: the folder for notes of what was fetched. `tell` hears, in words, what is being done."""

    def __init__(self, reference: Reference, state: Path, tell: Tell) -> None:
        self._reference = reference
        self._store = Store(reference, state)
        self._progress = Progress(str(reference), tell)

    def run(self) -> Path:
        """The folder. Raises BadModel and SetupError."""
        found = self._store.recall()
        if found is not None:
            return found
        try:
            with speaking(self._reference):
                return self._fetch()
        except SetupError as error:
            kept = self._store.kept() if error.reason == "hub_unreachable" else None
            if kept is None or not _whole(kept):
                raise
            return kept

    def describe(self) -> tuple[Path, Listing]:
        """Fetch all but the weights: for `doctor`."""
        with speaking(self._reference):
            listing = self._list()
            return self._described(listing), listing

    def _fetch(self) -> Path:
        listing = self._list()
        folder = self._described(listing)
        check_described(ModelFolder.open(folder, name=self._reference.name, weights=False))
        weights = listing.weights(self._reference.repo, index_of(folder))
        self._store.make_room(listing.commit, weights)
        self._take(listing, weights)
        ModelFolder.open(folder)
        return self._store.remember(listing.commit, [*listing.described(self._reference.repo), *weights])

    def _list(self) -> Listing:
        self._progress.say(f"asking {constants.ENDPOINT}")
        info = HfApi().model_info(
            self._reference.repo,
            revision=self._reference.revision,
            files_metadata=True,
            timeout=constants.HF_HUB_ETAG_TIMEOUT,
        )
        files = [_remote(each) for each in info.siblings or ()]
        return Listing.of(info.sha or self._reference.revision, files)

    def _described(self, listing: Listing) -> Path:
        self._take(listing, listing.described(self._reference.repo))
        return self._store.snapshot(listing.commit)

    def _take(self, listing: Listing, files: Sequence[RemoteFile]) -> None:
        self._progress.begin(sum(file.size for file in files))
        for file in files:
            self._one(listing.commit, file)

    def _one(self, commit: str, file: RemoteFile) -> None:
        url = hf_hub_url(self._reference.repo, file.name, revision=commit)
        about = get_hf_file_metadata(url, retry_on_errors=True)
        etag = about.etag or file.digest
        if _PLAIN.fullmatch(etag) is None or _PLAIN.fullmatch(commit) is None:
            raise BadModel(f"{url} has no usable ETag", hint="HF_ENDPOINT must be a hub, or a mirror that keeps ETags")
        file = replace(file, size=file.size if about.size is None else about.size)
        blob = self._store.blob(etag)
        blob.parent.mkdir(parents=True, exist_ok=True)
        with WeakFileLock(self._store.lock(etag)):
            if blob.exists():
                self._progress.add(file.size)
                self._compare(blob, file, etag)
            else:
                Transfer(url, about.location, file.size, self._progress.add).into(partial(blob))
                self._compare(partial(blob), file, etag)
                partial(blob).replace(blob)
        self._store.link(commit, file.name, etag)

    def _compare(self, path: Path, file: RemoteFile, etag: str) -> None:
        """Raises BadModel for other content than the hub states; what we fetched ourselves is thrown away."""
        stated = file.digest or etag
        if len(stated) not in (40, 64):
            return
        with self._progress.comparing(file.size) as told:
            found = digest_of(path, stated, told)
        if found == stated:
            return
        hint = "start again to fetch it anew"
        if path.suffix == ".partial":
            path.unlink()
        else:
            hint = f"remove {path}, and start again to fetch it anew"
        raise BadModel(
            f"{self._reference}: {file.name} is not what the hub states: digest {found[:16]}…, stated {stated[:16]}…",
            hint=hint,
            code="corrupt_download",
        )


def index_of(folder: Path) -> dict[str, Any]:
    """The index of shards, empty where there is none."""
    file = folder / INDEX
    found = json.loads(file.read_bytes()) if file.is_file() else {}
    return found if isinstance(found, dict) else {}


def _remote(sibling: Any) -> RemoteFile:
    digest = sibling.lfs.sha256 if sibling.lfs is not None else sibling.blob_id
    return RemoteFile(sibling.rfilename, sibling.size or 0, digest or "")


def _whole(folder: Path) -> bool:
    try:
        ModelFolder.open(folder)
    except BadModel:
        return False
    return True
