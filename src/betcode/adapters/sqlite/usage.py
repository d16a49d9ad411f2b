"""Reads what turns have used out of their stored `turn_ended` events, by an index that holds nothing else."""

from __future__ import annotations

from typing import Any

import apsw
import msgspec

from betcode.adapters.sqlite.deletion import IS_THERE
from betcode.adapters.sqlite.errors import RESCUE_HINT, StoreError
from betcode.adapters.sqlite.tables import row_crc
from betcode.model.ids import SessionId
from betcode.model.usage import TurnRow, Use

_COLUMNS = "SELECT session, epoch, seq, time, crc, body, rev, kind FROM events INDEXED BY events_of_turns"
_SINCE = f"""{_COLUMNS}
WHERE kind = 'turn_ended' AND time >= ?1
    AND session IN (SELECT id FROM sessions WHERE {IS_THERE})
ORDER BY session, epoch, seq"""  # noqa: S608 - our own names
_OF_ONE = f"""{_COLUMNS}
WHERE kind = 'turn_ended' AND time >= ?1 AND session = ?2
    AND session IN (SELECT id FROM sessions WHERE {IS_THERE})
ORDER BY session, epoch, seq"""  # noqa: S608 - our own names
_BEFORE = f"""{_COLUMNS}
WHERE kind = 'turn_ended' AND session = ? AND (epoch, seq) < (?, ?) ORDER BY epoch DESC, seq DESC LIMIT 1"""


class _Body(msgspec.Struct, frozen=True):
    message_ids: tuple[str, ...] = ()
    duration_ms: int = 0
    num_turns: int = 0
    cost_usd: float = 0.0
    usage: dict[str, Any] = msgspec.field(default_factory=dict)
    models: dict[str, Use] | None = None
    upstream: str = ""


_decode = msgspec.json.Decoder(_Body).decode


def turns(connection: apsw.Connection, since: str, session: SessionId | None = None) -> list[TurnRow]:
    """Turns of all sessions that are not deleted, or of one, stored at or after `since`, by session and position.

    Before the first of a session stands the one before it, where only that tells what the first one cost.

    Raises:
        StoreError: `corrupt`; a stored row is not what was written.
    """
    rows = connection.execute(_SINCE, (since,)) if session is None else connection.execute(_OF_ONE, (since, session))
    found: list[TurnRow] = []
    for values in rows:
        row = _row(values)
        first = not found or found[-1].session != row.session
        if first and row.models is None:
            position = (row.session, row.epoch, row.seq)
            found.extend(_row(one) for one in connection.execute(_BEFORE, position).fetchall())
        found.append(row)
    return found


def _row(values: Any) -> TurnRow:
    session, epoch, seq, time, crc, body, rev, kind = values
    if row_crc("events", (session, epoch, seq, kind, time, body, rev)) != crc:
        raise StoreError(f"event {epoch}.{seq} of session {session} is damaged", hint=RESCUE_HINT, error_type="corrupt")
    read = _decode(body)
    return TurnRow(
        session=SessionId(session),
        epoch=epoch,
        seq=seq,
        time=time,
        message_ids=read.message_ids,
        duration_ms=read.duration_ms,
        num_turns=read.num_turns,
        cost_usd=read.cost_usd,
        usage=read.usage,
        models=read.models,
        upstream=read.upstream,
    )
