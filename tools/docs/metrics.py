"""docs/metrics.md: what /metrics serves."""

from __future__ import annotations

from prometheus_client import Histogram
from prometheus_client.metrics import MetricWrapperBase
from tools.docs.markdown import bullets, literal, mark, page, table

from betcode.adapters.metrics import Metrics

INTRODUCTION = """\
# Metrics

The daemon serves them in Prometheus' text format at `/metrics` of its socket, and its health as JSON at `/healthz`
(200 while it serves, 503 while it stops). RUNTIME is the directory that [files.md](files.md) names.

    curl --unix-socket RUNTIME/daemon.sock http://localhost/metrics

Every label has few values; none holds a session's id. A series appears with its first value."""

LABELS = {
    "breaker": "What is asked no more for a while: `api`.",
    "unit": "What is missing: `bytes` of a journal, or `events`.",
    "decision": "`ALLOWED`, `DENIED`, `EXPIRED` or `CANCELLED`.",
    "error_type": "What went wrong: of lines `invalid_utf8`, `invalid_json`, `schema`, `oversize`; of the database "
    "`full`, `io`, `corrupt`, `busy` and their like.",
    "exit_code": "The exit status of claude, or `none` when it had none, such as after a signal.",
    "operation": "What the database was asked to do.",
    "outcome": "`ok`, or the code of the error ([errors.md](errors.md)).",
    "state": "A session's state, each always present ([protocol.md](protocol.md#states-of-sessions)).",
    "tool_name": "A tool that comes with claude; `other` for those of MCP servers.",
}


def render() -> str:
    """The page."""
    metrics = [value for value in vars(Metrics()).values() if isinstance(value, MetricWrapperBase)]
    rows = [_row(metric) for metric in sorted(metrics, key=_name)]
    used = {label for metric in metrics for label in metric._labelnames}
    if used != LABELS.keys():
        raise ValueError(f"labels to explain here, or no longer: {sorted(used ^ LABELS.keys())}")
    return page(
        mark("src/betcode/adapters/metrics.py"),
        INTRODUCTION,
        "## Names",
        table(("name", "type", "labels", "meaning"), rows),
        "## Labels",
        table(("label", "values"), [(literal(label), text) for label, text in LABELS.items()]),
        "## Buckets",
        "Upper bounds in seconds, besides `+Inf`:",
        bullets(f"{literal(_name(m))}: {_buckets(m)}" for m in metrics if isinstance(m, Histogram)),
    )


def _row(metric: MetricWrapperBase) -> tuple[str, str, str, str]:
    [described] = metric.describe()
    labels = ", ".join(literal(label) for label in metric._labelnames)
    return literal(_name(metric)), described.type, labels, described.documentation


def _name(metric: MetricWrapperBase) -> str:
    [described] = metric.describe()
    return described.name + ("_total" if described.type == "counter" else "")


def _buckets(metric: Histogram) -> str:
    return ", ".join(f"{bound:g}" for bound in metric._upper_bounds[:-1])
