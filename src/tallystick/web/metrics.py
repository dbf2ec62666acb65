"""Counters for Prometheus; a registry of their own, so that two servers in one process do not mix."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from tallystick import __version__

LATENCY_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)

OUTSIDE: Mapping[str, str] = {
    "instance_log_size": "Entries of the instance log.",
    "witnessed_size": "The largest size of the instance log that has the policy's quorum of witnesses; -1 = none.",
    "witnesses_short": "1 when fewer witnesses than the policy demands have cosigned lately.",
    "witness_alarms": "Witnesses that refuse because they know another history.",
    "outside_failures": "Time stamps and copies whose last try failed, and checkpoints kept out of the instance log.",
}


class Metrics:
    """The numbers an operator watches; names follow the conventions of Prometheus.

    Args:
        in_flight_bytes: how many bytes of bodies are being read, asked when the numbers are.
        queued_events: how many events wait to be committed, likewise.
        own_events: how many events about the use of this server wait to be written, likewise.
        outside: how the instance log, its witnesses, time stamps and copies stand, by the names in `OUTSIDE`.
    """

    def __init__(
        self,
        *,
        in_flight_bytes: Callable[[], float],
        queued_events: Callable[[], float],
        own_events: Callable[[], float],
        outside: Callable[[], Mapping[str, float]],
    ) -> None:
        self.registry = CollectorRegistry()
        self.events = Counter(
            "tallystick_events", "Events by what became of them.", ["status"], registry=self.registry
        )
        self.requests = Counter(
            "tallystick_requests", "HTTP requests by operation and status.", ["operation", "status"],
            registry=self.registry,
        )  # fmt: skip
        self.seconds = Histogram(
            "tallystick_request_seconds", "Time to answer, by operation.", ["operation"],
            buckets=LATENCY_SECONDS, registry=self.registry,
        )  # fmt: skip
        in_flight = Gauge(
            "tallystick_body_bytes_in_flight", "Bytes of request bodies being read.", registry=self.registry
        )
        in_flight.set_function(in_flight_bytes)
        queued = Gauge("tallystick_queued_events", "Events waiting to be committed.", registry=self.registry)
        queued.set_function(queued_events)
        own = Gauge(
            "tallystick_own_events_waiting", "Events of the log of the log that wait to be written.",
            registry=self.registry,
        )  # fmt: skip
        own.set_function(own_events)
        for name, meaning in OUTSIDE.items():
            gauge = Gauge(f"tallystick_{name}", meaning, registry=self.registry)
            gauge.set_function(lambda name=name: outside().get(name, 0.0))
        self.unknown_credentials = Counter(
            "tallystick_unknown_credentials",
            "Refused credentials that nobody was ever given.",
            registry=self.registry,
        )
        info = Gauge("tallystick_build_info", "The running version.", ["version"], registry=self.registry)
        info.labels(__version__).set(1)

        self._of: dict[tuple[str, int], tuple[Counter, Histogram]] = {}

    def answered(self, operation: str, answer: object, seconds: float) -> None:
        """Note one answered request."""
        key = (operation, getattr(answer, "status_code", 200))
        found = self._of.get(key)
        if found is None:
            found = (self.requests.labels(operation, str(key[1])), self.seconds.labels(operation))
            self._of[key] = found
        found[0].inc()
        found[1].observe(seconds)

    def text(self) -> bytes:
        """Return all numbers in Prometheus' text format."""
        return generate_latest(self.registry)
