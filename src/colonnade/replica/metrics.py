"""What /metrics tells, in a registry of its own. Every metric is described in docs/metrics.md; a test holds that."""

from __future__ import annotations

from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from colonnade.wire.messages import Load

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_FAST = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
_SLOW = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
PHASES = ("starting", "ready", "updating", "asleep", "draining", "failed")
COMPUTED = ("kernels", "quantisation", "weight_dtype", "kv_dtype")


class Metrics:
    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        own = self.registry
        prefix = "colonnade_replica"
        self.requests = Counter(f"{prefix}_requests_total", "Requests ended.", ["endpoint", "outcome"], registry=own)
        self.tokens = Counter(f"{prefix}_tokens_total", "Tokens.", ["kind"], registry=own)
        self.ttft = Histogram(
            f"{prefix}_first_token_seconds", "From arrival to the first token.", buckets=_SLOW, registry=own
        )
        self.gap = Histogram(
            f"{prefix}_token_gap_seconds", "Between two tokens of a choice.", buckets=_FAST, registry=own
        )
        self.whole = Histogram(
            f"{prefix}_request_seconds", "From arrival to the last token.", buckets=_SLOW, registry=own
        )
        self._in_flight = Gauge(f"{prefix}_in_flight", "Submissions by state.", ["state"], registry=own)
        self._pages = Gauge(f"{prefix}_pages", "Pages of the KV cache by use.", ["use"], registry=own)
        self._load = Gauge(f"{prefix}_load_tokens", "Tokens held and still to compute.", registry=own)
        self._steps = Counter(f"{prefix}_steps_total", "Engine steps.", registry=own)
        self._drafts = Counter(f"{prefix}_draft_tokens_total", "Tokens guessed.", ["kind"], registry=own)
        self._phase = Gauge(f"{prefix}_phase", "1 for the phase it is in.", ["phase"], registry=own)
        self._model = Gauge(f"{prefix}_model", "1 for how the model is computed.", list(COMPUTED), registry=own)
        self._seen = Load()
        self.turn("starting")

    def note(self, load: Load) -> None:
        self._in_flight.labels("running").set(load.running)
        self._in_flight.labels("waiting").set(load.waiting)
        self._pages.labels("used").set(load.pages_used)
        self._pages.labels("cached").set(load.pages_cached)
        self._pages.labels("total").set(load.pages_total)
        self._load.set(load.tokens)
        self._steps.inc(max(0, load.steps - self._seen.steps))
        self._drafts.labels("drafted").inc(max(0, load.drafted - self._seen.drafted))
        self._drafts.labels("accepted").inc(max(0, load.accepted - self._seen.accepted))
        self._seen = load

    def describe(self, facts: Mapping[str, object]) -> None:
        """Facts of an engine; a package has none of these."""
        if all(name in facts for name in COMPUTED):
            self._model.labels(*(str(facts[name]) for name in COMPUTED)).set(1)

    def turn(self, phase: str) -> None:
        for name in PHASES:
            self._phase.labels(name).set(name == phase)

    def page(self) -> bytes:
        return generate_latest(self.registry)
