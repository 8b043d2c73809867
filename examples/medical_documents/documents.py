"""A medical document, read note by note: split, extracted under a schema in parallel, merged, scored.

    colonnade chain run examples/medical_documents/documents.py      # MEDICAL_URL, MEDICAL_KEY: an endpoint

docs/chains.md has its field accuracy and a trace.
"""

from __future__ import annotations

import os
from typing import Any

import aiohttp
import msgspec
from medical import documents
from medical.documents import Fields, Merged, Note, Score

from colonnade import chains
from colonnade.chains import Options, Step, depends, entry

AT_ONCE = 8
"""Notes that are read at once."""
NULL = {"type": "null"}
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "name": {"anyOf": [{"type": "string", "maxLength": 60}, NULL]},
        "age": {"anyOf": [{"type": "integer", "minimum": 0, "maximum": 120}, NULL]},
        "complaint": {"anyOf": [{"type": "string", "maxLength": 60}, NULL]},
        "medication": {"anyOf": [{"type": "string", "maxLength": 40}, NULL]},
        "dose_mg": {"anyOf": [{"type": "integer", "minimum": 0, "maximum": 10000}, NULL]},
        "follow_up_days": {"anyOf": [{"type": "integer", "minimum": 0, "maximum": 366}, NULL]},
    },
    "required": list(documents.NAMES),
    "additionalProperties": False,
}


class Split(Step):
    """A document into its notes."""

    async def run_remote(self, document: str) -> list[Note]:
        return documents.split(document)


class Extract(Step):
    """A note into its fields, by a language model that is held to the schema."""

    options = Options(idempotent=True, timeout=30, concurrency=AT_ONCE)

    async def load(self) -> None:
        headers = {"Authorization": f"Bearer {os.environ.get('MEDICAL_KEY', '')}"}
        self._session = aiohttp.ClientSession(os.environ["MEDICAL_URL"], headers=headers)

    async def run_remote(self, note: Note) -> Fields:
        form = {"name": "fields", "strict": True, "schema": SCHEMA}
        body = {
            "model": os.environ.get("MEDICAL_MODEL", "colonnade-tiny"),
            "messages": [{"role": "user", "content": f"Extract the fields from this note: {note.text}"}],
            "response_format": {"type": "json_schema", "json_schema": form},
            "temperature": 0,
            "max_tokens": 200,
        }
        async with self._session.post("/v1/chat/completions", json=body) as answer:
            answer.raise_for_status()
            text = (await answer.json())["choices"][0]["message"]["content"]
        return msgspec.json.decode(text, type=Fields)


class Merge(Step):
    """Visits by patient."""

    async def run_remote(self, visits: list[Fields]) -> list[Merged]:
        return documents.merge(visits)


class Grade(Step):
    """How much of what is known to be true was found; nothing where nothing is known."""

    async def run_remote(self, found: list[Fields], truth: list[Fields] | None) -> Score | None:
        return documents.score(found, truth) if truth is not None else None


class Read(msgspec.Struct):
    patients: list[Merged]
    score: Score | None = None


@entry
class Documents(Step):
    """`truth`, where it is known, is scored against."""

    options = Options(timeout=300)

    def __init__(
        self,
        split: Split = depends(Split),
        extract: Extract = depends(Extract),
        merge: Merge = depends(Merge),
        grade: Grade = depends(Grade),
    ) -> None:
        self._split = split
        self._extract = extract
        self._merge = merge
        self._grade = grade

    async def run_remote(self, document: str, truth: list[Fields] | None = None) -> Read:
        notes = await self._split.run_remote(document)
        found = await chains.map(self._extract.run_remote, notes, limit=AT_ONCE)
        patients = await self._merge.run_remote(found)
        return Read(patients, await self._grade.run_remote(found, truth))
