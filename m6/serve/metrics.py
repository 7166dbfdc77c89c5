"""What `/metrics` tells of a server: what has happened since its start and how long it took, as Prometheus reads it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields

from prometheus_client import CollectorRegistry, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.registry import Collector

PLAIN = CONTENT_TYPE_PLAIN_0_0_4
SECONDS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100)
"""Upper ends of the classes of times."""
SAID = {
    "accepted": "Answers and paintings that were begun or queued",
    "finished": "Those that were done",
    "failed": "Those that ended with an error, too late ones included",
    "cancelled": "Those whose callers left",
    "refused": "Requests that found a full queue",
    "steps": "Steps of the model",
    "tokens": "Tokens and codes that were written",
}


@dataclass
class Counts:
    """What has happened since the start."""

    accepted: int = 0
    finished: int = 0
    failed: int = 0
    cancelled: int = 0
    refused: int = 0
    steps: int = 0
    tokens: int = 0


class _Counters(Collector):
    """Counts, which are kept where they are counted."""

    def __init__(self, counts: Counts) -> None:
        self.counts = counts

    def collect(self) -> list[CounterMetricFamily]:
        names = [field.name for field in fields(self.counts)]
        return [CounterMetricFamily(f"m6_{name}", SAID[name], value=getattr(self.counts, name)) for name in names]


class Metrics:
    """Of one server; any thread may write to them."""

    def __init__(self) -> None:
        self.counts = Counts()
        self._registry = CollectorRegistry()
        self._registry.register(_Counters(self.counts))
        self.first = self._times("m6_first_token_seconds", "From being queued to the first token or code")
        self.whole = self._times("m6_request_seconds", "From being queued to the end")

    def _times(self, name: str, said: str) -> Histogram:
        return Histogram(name, said, ["kind"], buckets=SECONDS, registry=self._registry)

    def watch(self, name: str, said: str, value: Callable[[], float]) -> None:
        """Tells a value that may go down again, as it is when asked for."""
        Gauge(f"m6_{name}", said, registry=self._registry).set_function(value)

    def told(self) -> bytes:
        """All of them, in the text form `PLAIN`."""
        return generate_latest(self._registry)
