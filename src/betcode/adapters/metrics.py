"""Prometheus metrics, with the names and bounded label sets of OB-3 (`engine.ports.Meter`)."""

from __future__ import annotations

import re

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_KNOWN_TOOLS = frozenset(
    [
        "Bash",
        "Edit",
        "Write",
        "Read",
        "Glob",
        "Grep",
        "Task",
        "WebFetch",
        "WebSearch",
        "NotebookEdit",
        "AskUserQuestion",
        "ExitPlanMode",
        "Skill",
    ]
)
_EXIT_CODE = re.compile(r"-?\d{1,3}\Z")


class Metrics:
    """All metrics of one daemon."""

    def __init__(self) -> None:
        """Each daemon has its own registry, so that tests can run several."""
        self.registry = CollectorRegistry()
        self._spawn = Histogram(
            "betcode_subprocess_spawn_duration_seconds", "Starts of claude.", ["outcome"], registry=self.registry
        )
        self._crashes = Counter(
            "betcode_subprocess_crashes", "Unexpected ends of claude.", ["exit_code"], registry=self.registry
        )
        self._bad_lines = Counter(
            "betcode_ndjson_parse_errors", "Lines that could not be read.", ["error_type"], registry=self.registry
        )
        self._breakers = Gauge(
            "betcode_circuit_breaker_state", "0 closed, 1 half open, 2 open.", ["breaker"], registry=self.registry
        )
        self._rejections = Counter(
            "betcode_circuit_breaker_rejections", "Made to wait.", ["breaker"], registry=self.registry
        )
        self._gaps = Counter("betcode_gaps", "Places where something is missing.", ["unit"], registry=self.registry)
        self._permissions = Histogram(
            "betcode_permission_request_duration_seconds",
            "From question to decision.",
            ["tool_name", "decision"],
            buckets=(1, 5, 15, 60, 300, 900, 3600, 14400, 86400, 604800),
            registry=self.registry,
        )
        self._timeouts = Counter(
            "betcode_permission_timeout", "Questions nobody answered.", ["tool_name"], registry=self.registry
        )
        self._store = Histogram(
            "betcode_sqlite_operation_duration_seconds", "Database operations.", ["operation"], registry=self.registry
        )
        self._store_errors = Counter(
            "betcode_sqlite_errors", "Failed database operations.", ["error_type"], registry=self.registry
        )
        self.sessions = Gauge("betcode_sessions", "Sessions by state.", ["state"], registry=self.registry)
        self.clients = Gauge("betcode_clients", "Connected clients.", registry=self.registry)

    def spawned(self, outcome: str, seconds: float) -> None:
        """A start of claude: `ok` or the error's code."""
        self._spawn.labels(outcome).observe(seconds)

    def crashed(self, exit_code: str) -> None:
        """claude ended unexpectedly."""
        self._crashes.labels(exit_code if _EXIT_CODE.match(exit_code) else "none").inc()

    def breaker(self, name: str, state: float) -> None:
        """State of the breaker of a dependency: 0 closed, 1 half open, 2 open; of several the worst."""
        self._breakers.labels(name).set(state)

    def turned_away(self, name: str) -> None:
        """Somebody has to wait because of a breaker."""
        self._rejections.labels(name).inc()

    def bad_line(self, error_type: str) -> None:
        """A line could not be read."""
        self._bad_lines.labels(error_type).inc()

    def gap(self, unit: str) -> None:
        """Bytes of a journal, or events, are missing."""
        self._gaps.labels(unit).inc()

    def permission(self, tool: str, decision: str, seconds: float) -> None:
        """A question was settled. Tools of MCP servers count as one name: their number has no bound."""
        name = tool if tool in _KNOWN_TOOLS else "other"
        self._permissions.labels(name, decision).observe(seconds)
        if decision == "EXPIRED":
            self._timeouts.labels(name).inc()

    def stored(self, operation: str, seconds: float) -> None:
        """A database operation took so long."""
        self._store.labels(operation).observe(seconds)

    def store_failed(self, error_type: str) -> None:
        """A database operation failed."""
        self._store_errors.labels(error_type).inc()

    def render(self) -> bytes:
        """The text exposition format."""
        return generate_latest(self.registry)
