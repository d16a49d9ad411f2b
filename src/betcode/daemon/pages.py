"""The HTTP pages beside the protocol: health for supervisors, metrics for Prometheus."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any

import msgspec

from betcode.adapters.metrics import Metrics
from betcode.adapters.server import Page
from betcode.engine.registry import Registry
from betcode.model.states import SessionState


class Pages:
    """Makes /healthz and /metrics from what the daemon knows at the moment."""

    def __init__(
        self, registry: Registry, metrics: Metrics, status: Callable[[], dict[str, Any]], clients: Callable[[], int]
    ) -> None:
        """`status`: the objects `daemon` and `database` of the status reply; `clients`: how many are connected."""
        self._registry = registry
        self._metrics = metrics
        self._status = status
        self._clients = clients

    def all(self) -> dict[str, Page]:
        """Path to page."""
        return {"/healthz": self.health, "/metrics": self.metrics}

    async def health(self) -> tuple[int, str, bytes]:
        """200 while the daemon serves, with what is degraded; 503 while it stops."""
        status = self._status()
        database = status["database"]["state"]
        reasons = [] if database == "ok" else [f"database: {database}"]
        overall = "NOT_SERVING" if self._registry.stopping else ("degraded" if reasons else "SERVING")
        body = {
            "status": overall,
            "reasons": reasons,
            "components": {"sqlite": database, "local_server": "ok"},
            "version": status["daemon"]["version"],
        }
        return (503 if overall == "NOT_SERVING" else 200), "application/json", msgspec.json.encode(body)

    async def metrics(self) -> tuple[int, str, bytes]:
        """The text exposition format; rendered in a thread, since it takes milliseconds."""
        states = Counter(summary.state for summary in self._registry.summaries())
        for state in SessionState:
            self._metrics.sessions.labels(state.value).set(states.get(state.value, 0))
        self._metrics.clients.set(self._clients())
        body = await asyncio.to_thread(self._metrics.render)
        return 200, "text/plain; version=0.0.4; charset=utf-8", body
