"""The endpoints of requests that are answered later."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Mapping
from urllib.parse import urlsplit

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from colonnade.packages.job import ENDED, Ask, Job, Outcome, canceled
from colonnade.packages.secrets import SecretNotFound
from colonnade.replica.package.answering import encoded, inputs_of
from colonnade.replica.package.face import PackageFace
from colonnade.replica.package.later.store import Full
from colonnade.replica.package.later.worker import Worker
from colonnade.replica.package.pieces import Pieces
from colonnade.replica.package.refusals import Refused

_PATH = re.compile(r"/v1/models/[^/]+(?::async_predict|/async_request/(?P<id>[\w-]{1,64})|/async_queue_status)")
_SECRET = "webhook_secret"
_SPARE = 200
"""Levels of nesting."""
_CODES = {400: "MODEL_INVALID_INPUT", 404: "MODEL_INVALID_INPUT", 503: "MODEL_NOT_READY"}


class Later:
    """Over one face. `file`: of the queue."""

    def __init__(self, face: PackageFace, worker: Worker) -> None:
        self._face = face
        self._worker = worker

    def page(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Response | None:
        """None for a path that is none of these. Raises Refused."""
        found = _PATH.fullmatch(path)
        if found is None:
            return None
        if path.endswith(":async_predict"):
            return self._submit(headers, body) if method == "POST" else None
        if path.endswith("/async_queue_status"):
            return _json(self._worker.store.counts()) if method in ("GET", "HEAD") else None
        if method == "DELETE":
            return self._cancel(found["id"])
        return _json(self._known(found["id"]).page()) if method in ("GET", "HEAD") else None

    def _submit(self, headers: Mapping[str, str], body: bytes) -> Response:
        contract = self._face.contract()
        try:
            ask = msgspec.json.decode(body, type=Ask)
            _check_readable(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise Refused(400, str(error), "700") from error
        _check_webhook(ask.webhook_endpoint)
        inputs_of(contract, {}, msgspec.json.encode(ask.model_input))  # what does not fit is said now
        key = headers.get("idempotency-key")
        try:
            job = self._worker.store.add(Job(secrets.token_hex(16), ask, time.time()), key)
        except Full as error:
            raise Refused(429, "the queue is full", "600", retry_after=1) from error
        if job.ask != ask:
            raise Refused(409, f"the key {key!r} belongs to another request", "700")
        self._worker.wake()
        return _json({"request_id": job.id}, 202)

    def _known(self, id: str) -> Job:
        job = self._worker.store.get(id)
        if job is None:
            raise Refused(404, f"there is no request {id}, or no more", "700")
        return job

    def _cancel(self, id: str) -> Response:
        job = self._known(id)
        done = job.state not in ENDED and self._worker.store.change(canceled(job, time.time()), job.state)
        if done:
            self._worker.cancel(id)
        return _json({"request_id": id, "canceled": done, "status": self._known(id).state})


def _check_webhook(url: str | None) -> None:
    """Raises Refused."""
    if url is None:
        return
    try:
        parts = urlsplit(url)
    except ValueError:  # half of a bracketed address, say
        parts = urlsplit("")
    local = parts.hostname in ("127.0.0.1", "localhost", "::1")
    if not parts.hostname or parts.scheme not in ("https", "http") or (parts.scheme == "http" and not local):
        raise Refused(400, f"webhook_endpoint must be an https URL, got {url!r}", "700")


def _json(content: object, status: int = 200) -> Response:
    return Response(msgspec.json.encode(content), status, media_type="application/json")


async def attempt(face: PackageFace, job: Job) -> Outcome:
    """One prediction, as a request would have it; a drain waits for it."""
    with face.exchange():
        return await _attempt(face, job)


async def _attempt(face: PackageFace, job: Job) -> Outcome:
    body = msgspec.json.encode(job.ask.model_input)
    try:
        contract = face.contract()
        inputs = None if contract.reads_body_itself else inputs_of(contract, {}, body)
        result = await face.calls.predict(contract, inputs, _request(body))
        if isinstance(result, Pieces):
            await result.stop()
            return Outcome(error="a stream is not for later", code="MODEL_PREDICT_ERROR", final=True)
        return _of_response(result) if isinstance(result, Response) else _of_json(encoded(result, binary=False)[0])
    except Refused as refused:
        code = _CODES.get(refused.status, "MODEL_PREDICT_ERROR")
        return Outcome(error=str(refused), code=code, final=refused.fault == "700")
    except Exception as error:
        face.calls.tell("a request for later", error)
        said = f"the result cannot be kept: {type(error).__name__}: {error}"
        return Outcome(error=said, code="MODEL_PREDICT_ERROR", final=True)


def _of_json(body: bytes) -> Outcome:
    """Raises DecodeError for what only looks like it, as NaN does."""
    _check_readable(body)
    return Outcome(body)


def _check_readable(body: bytes) -> None:
    """That it can be read in the queue, too, deeper inside and from a deeper stack: one that could not would stop it.
    Raises DecodeError, RecursionError."""
    msgspec.json.decode(b"[" * _SPARE + body + b"]" * _SPARE, type=msgspec.Raw)


def _of_response(response: Response) -> Outcome:
    """Its body: JSON as it is, anything else as one text."""
    body = bytes(response.body)
    if not (response.media_type or "").startswith("application/json"):
        body = msgspec.json.encode(body.decode("utf-8", "replace"))
    if response.status_code < 300:
        return _of_json(body)
    said = f"it answered {response.status_code}: {body.decode('utf-8', 'replace')}"
    return Outcome(error=said, code="MODEL_PREDICT_ERROR", final=True)


def _request(body: bytes) -> Request:
    """One that nobody waits for."""
    left = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> dict[str, object]:
        return left.pop() if left else {"type": "http.request", "body": b"", "more_body": False}

    headers = [(b"content-type", b"application/json")]
    scope = {"type": "http", "method": "POST", "path": "/", "query_string": b"", "headers": headers}
    return Request(scope, receive)


def webhook_keys(package_secrets: Mapping[str, str]) -> list[str]:
    """Of the secret `webhook_secret`, where config.yaml names it and it has a value; several stand in commas."""
    try:
        told = package_secrets[_SECRET]
    except SecretNotFound:
        return []
    return [each.strip() for each in told.split(",") if each.strip()]
