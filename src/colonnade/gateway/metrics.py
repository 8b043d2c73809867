"""The gateway's metrics, made when they are asked for. `docs/metrics.md` says what each means."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from colonnade.gateway.plane import Plane
from colonnade.gateway.stats import Histogram

PREFIX = "colonnade_gateway_"


def exposition(plane: Plane) -> bytes:
    """Prometheus text."""
    registry = CollectorRegistry()
    registry.register(_Reading(plane))
    return generate_latest(registry)


class _Reading(Collector):
    def __init__(self, plane: Plane) -> None:
        self._plane = plane

    def collect(self) -> Iterable[Metric]:
        yield from self._counters()
        yield from self._gauges()
        yield from self._replicas()
        stats = self._plane.stats
        first = {model: times[0] for model, times in stats.times.items()}
        whole = {model: times[1] for model, times in stats.times.items()}
        yield _histogram("first_byte_seconds", "From the request to the answer's first byte.", first)
        yield _histogram("wait_seconds", "Until a request that waited for a slot got one.", stats.waits)
        yield _histogram("duration_seconds", "From the request to the answer's last byte.", whole)

    def _counters(self) -> Iterable[Metric]:
        stats = self._plane.stats
        requests = _counter("requests", "Requests by model and status; 499: the client left.", ("model", "status"))
        for (model, status), count in stats.requests.items():
            requests.add_metric((model, str(status)), count)
        yield requests
        refused = _counter("refused", "Requests answered with an error of the gateway, by its code.", ("code",))
        for code, count in stats.refused.items():
            refused.add_metric((code,), count)
        yield refused
        retries = _counter("retries", "Requests sent to another replica before a byte was answered.", ("model",))
        for model, count in stats.retries.items():
            retries.add_metric((model,), count)
        yield retries
        tokens = _counter("tokens", "Tokens of answers that said what they cost.", ("tenant", "kind"))
        for tenant, (prompt, completion) in stats.tokens.items():
            tokens.add_metric((tenant, "prompt"), prompt)
            tokens.add_metric((tenant, "completion"), completion)
        yield tokens
        limited = _counter("limited", "Requests refused by a key's limits, by which.", ("key", "limit"))
        for (key, limit), count in stats.limited.items():
            limited.add_metric((key, limit), count)
        yield limited
        yield _count("broken_streams", "Answers that ended by an error after they had begun.", stats.broken)
        yield _count("resumed_streams", "Times that a stream went on from another replica.", stats.resumed)
        yield _count("stalled", "Requests taken from a replica that made no progress.", stats.stalls)
        yield _count("hedged", "Streams whose beginning a second replica was asked for.", stats.hedged)
        yield _count("hedges_won", "Of these, those that the second replica began first.", stats.hedges_won)
        yield _count("client_left", "Requests whose client went away before the end.", stats.left)
        yield _count("load_gaps", "Times that events of a replica were missed.", stats.load_gaps)

    def _gauges(self) -> Iterable[Metric]:
        plane = self._plane
        yield _gauge("ready", "1 when a request could be served.", int(not plane.reason_not_ready()))
        yield _gauge("connections", "Connections of clients.", len(plane.clients))
        yield _gauge("held", "Requests that lost their replica and wait for one that can be reached.", len(plane.held))
        yield from self._lobby()
        yield _gauge("keys", "API keys known.", len(plane.keys))
        yield _gauge("routes_revision", "Revision of the routes in use.", plane.revision)

    def _lobby(self) -> Iterable[Metric]:
        waiting = GaugeMetricFamily(PREFIX + "waiting", "Requests that wait for a slot.", labels=("model",))
        size = GaugeMetricFamily(PREFIX + "waiting_bytes", "Bytes of their bodies.", labels=("model",))
        for model, queue in self._plane.lobby.queues().items():
            waiting.add_metric((model,), len(queue))
            size.add_metric((model,), queue.bytes)
        yield from (waiting, size)

    def _replicas(self) -> Iterable[Metric]:
        labels = ("model", "replica")
        in_flight = GaugeMetricFamily(
            PREFIX + "in_flight", "Requests that this gateway has at a replica.", labels=labels
        )
        load = GaugeMetricFamily(PREFIX + "replica_load", "Running and waiting, as the replica says.", labels=labels)
        idle = GaugeMetricFamily(PREFIX + "idle_connections", "Kept open to a replica.", labels=labels)
        for target in self._plane.table.targets.values():
            names = (target.route.model, target.route.replica)
            in_flight.add_metric(names, target.in_flight)
            load.add_metric(names, target.load.running + target.load.waiting)
            idle.add_metric(names, self._plane.pool(target).idle)
        yield from (in_flight, load, idle)


def _counter(name: str, text: str, labels: tuple[str, ...]) -> CounterMetricFamily:
    return CounterMetricFamily(PREFIX + name, text, labels=labels)


def _count(name: str, text: str, value: int) -> CounterMetricFamily:
    return CounterMetricFamily(PREFIX + name, text, value=value)


def _gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(PREFIX + name, text, value=value)


def _histogram(name: str, text: str, by_model: dict[str, Histogram]) -> HistogramMetricFamily:
    family = HistogramMetricFamily(PREFIX + name, text, labels=("model",))
    for model, histogram in by_model.items():
        family.add_metric((model,), histogram.buckets(), histogram.total)
    return family
