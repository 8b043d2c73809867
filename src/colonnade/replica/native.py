"""SGLang's own endpoints beside /generate: is it there and does it compute, what it serves, empty the cache, abort."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import msgspec

from colonnade import __version__
from colonnade.replica.exchange import Action
from colonnade.replica.face import Face
from colonnade.replica.identity import Identity
from colonnade.wire.errors import InvalidRequest

ROUTES: tuple[tuple[str, str, str], ...] = (
    ("POST", "/generate", "Go on from a text or token ids, in SGLang's shapes."),
    ("POST", "/score", "How probable each of some tokens is after a query and an item."),
    ("POST", "/v1/score", "The same."),
    ("GET", "/health_generate", "200 when a token was computed just now."),
    ("GET", "/get_model_info", "The model that is served, as SGLang tells it."),
    ("GET", "/get_server_info", "The same, with what the engine said and its load."),
    ("POST", "/flush_cache", "Empty the prefix cache of all that no request holds."),
    ("POST", "/abort_request", "End the requests of one `rid`, or with `abort_all` every one."),
)


class AbortRequest(msgspec.Struct):
    rid: str | None = None
    abort_all: bool = False


class Native:
    """`pages` answer a GET, `actions` a POST with its body; both give what is to be said as JSON."""

    def __init__(self, face: Face) -> None:
        self._face = face
        self.pages: dict[str, Callable[[], tuple[int, Any]]] = {
            "/get_model_info": lambda: (200, self._model()),
            "/get_server_info": lambda: (200, self._server()),
        }
        self.actions: dict[str, Action] = {
            "/flush_cache": self._flush,
            "/abort_request": self._abort,
        }

    def _model(self) -> dict[str, Any]:
        folder = self._face.model.folder
        return {
            "model_path": str(folder.path),
            "tokenizer_path": str(folder.tokenizer_path.parent),
            "served_model_name": self._face.model.name,
            "is_generation": True,
            "has_image_understanding": False,
            "has_audio_understanding": False,
            "model_type": folder.config.get("model_type"),
            "architectures": [folder.architecture],
            "weight_version": self._face.version.label,
            "preferred_sampling_params": None,
        }

    def _server(self) -> dict[str, Any]:
        loaded, load = self._face.loaded_facts, self._face.snapshot().load
        return {
            **self._model(),
            "version": __version__,
            "pid": os.getpid(),
            "status": self._face.phase.name,
            "max_total_num_tokens": 0 if loaded is None else loaded.pages_total,
            "context_length": self._face.model_card()["max_model_len"],
            "facts": {} if loaded is None else loaded.facts,
            "internal_states": [msgspec.structs.asdict(load)],
        }

    async def _flush(self, body: bytes, identity: Identity) -> tuple[Any, list[str]]:
        self._face.flush()
        return {"success": True, "message": "what no request holds is dropped"}, []

    async def _abort(self, body: bytes, identity: Identity) -> tuple[Any, list[str]]:
        try:
            asked = msgspec.json.decode(body, type=AbortRequest)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise InvalidRequest(f"the body: {error}", hint='{"rid": …} or {"abort_all": true}') from error
        if not asked.rid and not asked.abort_all:
            raise InvalidRequest("rid: missing", param="rid", hint="or abort_all: true")
        return {"aborted": self._face.abort(None if asked.abort_all else asked.rid)}, []
