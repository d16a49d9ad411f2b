"""The metrics: exact names and labels (OB-3), bounded label sets, failures of the store."""

from __future__ import annotations

import asyncio
from pathlib import Path
from random import Random

import pytest
from prometheus_client.metrics import MetricWrapperBase

from betcode.adapters.metrics import Metrics
from betcode.adapters.sqlite.errors import StoreError
from betcode.adapters.sqlite.store import SqliteStore

BUILT = {
    "betcode_subprocess_spawn_duration_seconds": ("histogram", ("outcome",)),
    "betcode_subprocess_crashes_total": ("counter", ("exit_code",)),
    "betcode_ndjson_parse_errors_total": ("counter", ("error_type",)),
    "betcode_gaps_total": ("counter", ("unit",)),
    "betcode_circuit_breaker_state": ("gauge", ("breaker",)),
    "betcode_circuit_breaker_rejections_total": ("counter", ("breaker",)),
    "betcode_permission_request_duration_seconds": ("histogram", ("tool_name", "decision")),
    "betcode_permission_timeout_total": ("counter", ("tool_name",)),
    "betcode_sqlite_operation_duration_seconds": ("histogram", ("operation",)),
    "betcode_sqlite_errors_total": ("counter", ("error_type",)),
    "betcode_sessions": ("gauge", ("state",)),
    "betcode_clients": ("gauge", ()),
}
"""OB-3 as far as it is built, and three of our own. Dashboards and alerts match these: they do not change."""


@pytest.mark.req("OB-3")
def test_names_types_and_labels_are_these_and_no_others() -> None:
    found = {}
    for value in vars(Metrics()).values():
        if isinstance(value, MetricWrapperBase):
            [described] = value.describe()
            name = described.name + ("_total" if described.type == "counter" else "")
            found[name] = (described.type, tuple(value._labelnames))
    assert found == BUILT


@pytest.mark.req("OB-3")
def test_labels_have_few_values_whatever_happens() -> None:
    metrics = Metrics()
    for number in range(50):
        metrics.permission(f"mcp__server__tool{number}", "ALLOWED", 1.0)
        metrics.permission(f"mcp__server__tool{number}", "EXPIRED", 1.0)
        metrics.crashed(f"strange {number}")
    lines = metrics.render().decode().splitlines()
    counts = [line for line in lines if line.startswith("betcode_permission") and "_count" in line]
    assert counts == [
        'betcode_permission_request_duration_seconds_count{decision="ALLOWED",tool_name="other"} 50.0',
        'betcode_permission_request_duration_seconds_count{decision="EXPIRED",tool_name="other"} 50.0',
    ]
    assert 'betcode_permission_timeout_total{tool_name="other"} 50.0' in lines
    assert 'betcode_subprocess_crashes_total{exit_code="none"} 50.0' in lines


@pytest.mark.req("OB-3")
def test_a_failure_of_the_database_is_counted_by_its_kind(tmp_path: Path) -> None:
    metrics = Metrics()
    (tmp_path / "daemon.db").write_bytes(b"no database" * 100)
    with pytest.raises(StoreError):
        asyncio.run(SqliteStore.open(tmp_path / "daemon.db", rng=Random(1), failed=metrics.store_failed))
    assert b'betcode_sqlite_errors_total{error_type="notadb"} 1.0' in metrics.render()
