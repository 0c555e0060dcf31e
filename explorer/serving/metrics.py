"""Metrics in Prometheus' format: counts, times and sizes, never what anybody typed.

Rule: a label is one of a few names that the code holds; nothing that a client sends becomes one.
"""

import threading
from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from explorer.ui import Standing

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
OTHER = "other"  # a request that names no action there is


class Metrics(Collector):
    """Watches requests, and reads how the app stands when it is asked."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._names: frozenset[str] = frozenset()
        self._standing: Callable[[], Standing] | None = None
        self._seconds = Histogram(
            "explorer_request_seconds",
            "Time to answer a request of the page or of an endpoint",
            ["request"],
            buckets=SECONDS,
            registry=self.registry,
        )
        self._errors = Counter(
            "explorer_errors", "Requests answered by an error", ["code"], registry=self.registry
        )
        self._added = Counter(
            "explorer_tokens_added", "Tokens added to texts", registry=self.registry
        )
        ProcessCollector(registry=self.registry)  # resident bytes, CPU, open files

    def done(self, name: str, seconds: float, error: str | None) -> None:
        self._seconds.labels(name if name in self._names else OTHER).observe(seconds)
        if error is not None:
            self._errors.labels(error).inc()

    def added(self, tokens: int) -> None:
        self._added.inc(tokens)

    def read(self, standing: Callable[[], Standing], names: frozenset[str]) -> None:
        """How the app stands, for each time somebody asks, and the names of all requests."""
        self._standing, self._names = standing, names
        self.registry.register(self)

    def collect(self) -> Iterator[Metric]:
        if self._standing is None:
            return
        now = self._standing()
        usage = now.usage
        for name, said, value in (
            ("ready", "1 once the default model can be used", int(now.ready)),
            ("models", "Models in memory", len(usage.models)),
            ("model_bytes", "Memory of their weights", usage.model_bytes),
            ("remembered_bytes", "Memory of what is remembered", usage.remembered_bytes),
            ("model_waiting", "Forward passes that wait for their turn", usage.waiting),
            ("requests", "Requests being answered", now.requests),
            ("queue", "Calls of the endpoints that wait in line", now.calls),
            ("sessions", "Sessions kept", now.sessions),
            ("threads", "Threads of Python", threading.active_count()),
        ):
            yield GaugeMetricFamily(f"explorer_{name}", said, value=value)
        for name, said, value in (
            ("forward_passes", "Forward passes of models on this machine", usage.passes),
            ("tokens_read", "Tokens that these passes read", usage.tokens),
        ):
            yield CounterMetricFamily(f"explorer_{name}", said, value=value)
