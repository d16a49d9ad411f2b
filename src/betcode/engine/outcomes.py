"""Log and metrics of what came to its outcome in one decision."""

from __future__ import annotations

from collections.abc import Sequence

from betcode.engine.ports import Meter
from betcode.engine.traces import Traces
from betcode.model.rows import Message, Permission
from betcode.model.states import Delivery


def count(rows: Sequence[Message | Permission], traces: Traces, meter: Meter, unix_s: float) -> None:
    """Note each message and question of `rows` that is settled, once; `unix_s` is the time."""
    for row in rows:
        if isinstance(row, Message):
            traces.moved(row)
        # A later row of the same question says what became of the answer.
        elif row.settled_at and row.delivery in (Delivery.NONE, Delivery.SENDING):
            meter.permission(row.tool, row.state.value, max(0.0, unix_s - row.asked_at_unix_s))
