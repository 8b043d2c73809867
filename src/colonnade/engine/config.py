"""What one engine is told to do: its settings, and the scheduler's limits that follow once the weights are loaded."""

from __future__ import annotations

from dataclasses import dataclass, fields

from colonnade.engine.drafter import Drafter
from colonnade.engine.limits import Limits
from colonnade.engine.ngram import NgramDrafter
from colonnade.wire.settings import EngineSettings, ReplicaSettings


@dataclass(frozen=True)
class EngineConfig(EngineSettings):
    """`EngineSettings` (all its fields, by the same names) and what the replica's settings add."""

    max_waiting: int = ReplicaSettings.max_waiting

    @classmethod
    def of(cls, engine: EngineSettings, replica: ReplicaSettings) -> EngineConfig:
        values = {each.name: getattr(engine, each.name) for each in fields(EngineSettings)}
        return cls(**values, max_waiting=replica.max_waiting)

    def limits(self, *, pages: int, max_context: int, vocab_size: int) -> Limits:
        """`pages`, `max_context` and `vocab_size` as the loaded model has them."""
        return Limits(
            pages=pages,
            max_context=max_context,
            vocab_size=vocab_size,
            max_running=self.max_running,
            max_waiting=self.max_waiting,
            step_tokens=self.step_tokens,
            prefill_chunk=self.prefill_chunk,
            prefix_cache=self.prefix_cache,
            draft_tokens=self.draft_tokens,
        )

    def drafter(self) -> Drafter | None:
        return NgramDrafter() if self.speculation == "ngram" else None

    @property
    def overlaps(self) -> bool:
        """Drafts are guessed from tokens that are known: none would be if a step were always planned ahead."""
        return self.overlap and self.speculation == "off"

    def fingerprint(self, digest: str) -> str:
        """Of a worker with this digest: drafts accepted by probability make other answers, equal in distribution."""
        by_chance = self.speculation != "off" and self.draft_rule == "probability"
        return f"{digest}-probability" if by_chance else digest

    def facts(self) -> dict[str, str | int | float | bool]:
        """How it drafts, for /v1/models."""
        if self.speculation == "off":
            return {"jump_forward": self.jump_forward, "speculation": "off"}
        how = {"jump_forward": self.jump_forward, "speculation": self.speculation}
        return how | {"draft_tokens": self.draft_tokens, "draft_rule": self.draft_rule}
