"""A database with rows of every table, in several versions, and a record of all that was ever written into it."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import apsw

from betcode.adapters.sqlite import schema
from betcode.adapters.sqlite.tables import TABLE, TABLES, Table, Value, row_crc

Row = tuple[Value, ...]
"""All columns of a table, without its rowid."""


def sealed(table: Table, values: Sequence[Value]) -> list[Value]:
    """The row of all columns but `crc`, with the checksum where it belongs."""
    names = [name for name in table.columns if name != "crc"]
    row = dict(zip(names, values, strict=True))
    crc = row_crc(table.name, [row[name] for name in table.covered])
    return [crc if name == "crc" else row[name] for name in table.columns]


def without_rowid(table: Table, row: Sequence[Value]) -> Row:
    """What of a row two databases must agree on."""
    return tuple(value for name, value in zip(table.columns, row, strict=True) if name != table.rowid)


@dataclass
class Written:
    """Everything that was written, for comparison with what comes back."""

    versions: dict[str, set[Row]] = field(default_factory=lambda: {table.name: set() for table in TABLES})
    newest: dict[tuple[str, Row], int] = field(default_factory=dict)
    """The `rev` of each row's last version, by table and key."""


class Author:
    """Writes rows by chance."""

    def __init__(self, path: Path, rng: Random, *, page_size: int = 4096) -> None:
        """A new database, whose log is never folded into it unasked."""
        self.path, self.rng, self.written = path, rng, Written()
        self.connection = apsw.Connection(str(path))
        for pragma, value in (("page_size", page_size), ("journal_mode", "wal"), ("synchronous", 0)):
            self.connection.pragma(pragma, value)
        self.connection.pragma("wal_autocheckpoint", 0)
        schema.migrate(self.connection)
        self._rev = 0
        self._seqs: dict[str, int] = {}
        self._keys = 0

    def put(self, name: str, values: Sequence[Value]) -> None:
        """Write one row, or its next version."""
        table = TABLE[name]
        self._rev += 1
        row = sealed(table, [*values, self._rev])
        columns = ", ".join(f'"{column}"' for column in table.columns)
        changes = ", ".join(f'"{column}" = excluded."{column}"' for column in table.columns if column != table.rowid)
        places = ", ".join("?" * len(row))
        key = ", ".join(f'"{column}"' for column in table.key)
        conflict = "" if name in ("events", "decisions") else f" ON CONFLICT ({key}) DO UPDATE SET {changes}"
        sql = f'INSERT INTO "{name}" ({columns}) VALUES ({places}){conflict}'  # noqa: S608 - our own names
        self.connection.execute(sql, row)
        self.written.versions[name].add(without_rowid(table, row))
        named = dict(zip(table.columns, row, strict=True))
        self.written.newest[name, tuple(named[column] for column in table.key)] = self._rev

    def session(self, session: str) -> None:
        """A session's row, as far as its events are."""
        seq = self._seqs.setdefault(session, 0)
        numbers = (1, seq, 3, 1234 * seq, seq)
        texts = (session, "c-" + session, "/home/u/прое́кт", "name", "2026-11-26T12:00:00Z", "{}", "IDLE", "")
        self.put("sessions", [None, *texts, *numbers, '{"w":[]}'])

    def transaction(self, sessions: Sequence[str], rows: int) -> None:
        """Some rows of every kind in one commit."""
        rng = self.rng
        with self.connection:
            for _ in range(rows):
                session = rng.choice(sessions)
                self._keys += 1
                key = f"{self._keys:06d}-{rng.randrange(1 << 32):08x}"
                self._one(rng.choices(_NAMES, _WEIGHTS)[0], session, key)
            for session in sessions:
                self.session(session)

    def _one(self, name: str, session: str, key: str) -> None:
        rng = self.rng
        text = chr(rng.choice((97, 228, 0x4E2D, 0x1F600))) * rng.choice((0, 5, 80, 80, 300, rng.randrange(9000)))
        match name:
            case "events":
                seq = self._seqs[session] = self._seqs.get(session, 0) + 1
                kind = rng.choice(("text", "tool_result", "answer"))
                self.put("events", [session, 1, seq, kind, "2026-11-26T12:00:00.123Z", text.encode()])
            case "messages":
                state = rng.choice(("queued", "completed"))
                key = rng.choice((key, "m-" + session))
                self.put(name, [None, key, session, "cli", state, "", 1, 0, "2026-11-26", text, 0, ""])
            case "permissions":
                times = (float(rng.randrange(1 << 31)), rng.random() * 2e9)
                asked = [None, key, session, 1, "r", "Bash", text, "PENDING", *times, "tu", "d", "", "", "none", "", ""]
                self.put(name, [*asked, rng.choice((None, "{}")), 0, 1, ""])
            case "decisions":
                self.put(name, [None, key, session, "ALLOWED", "u", "", rng.choice((None, text)), 0, 0, "2026"])
            case "tombstones":
                self.put(name, [key, "message", "gone", "", "2026-11-26" + text[:400]])
            case "quarantine":
                self.put(name, [session, 1, self._keys, len(text), "2026", "invalid_json", "d", text.encode()])
            case "drift":
                self.put(name, ["2.1", "kind", rng.choice((key, "often")), self._keys, "2026", "2026", session, text])
            case _:
                self.put("meta", [rng.choice((key, "often")), text[:100]])

    def copy(self, to: Path) -> None:
        """What a kill would leave: the file and its log."""
        for suffix in ("", "-wal"):
            source = self.path.with_name(self.path.name + suffix)
            if source.exists():
                shutil.copyfile(source, to.with_name(to.name + suffix))


_NAMES = ("events", "messages", "permissions", "decisions", "tombstones", "quarantine", "drift", "meta")
_WEIGHTS = (60, 10, 5, 5, 8, 4, 5, 3)


def write_sample(path: Path, rng: Random, *, page_size: int, rows: int = 2_000) -> Written:
    """A database of about that many rows at `path`, with a live log that has older frames behind its end."""
    author = Author(path.with_name(path.name + ".live"), rng, page_size=page_size)
    sessions = [f"{number:010x}" for number in range(8)]
    with author.connection:
        for session in sessions:
            author.session(session)
    for number in range(11):
        author.transaction(sessions, rows // 13)
        if number in (4, 10):
            mode = apsw.SQLITE_CHECKPOINT_TRUNCATE if number == 4 else apsw.SQLITE_CHECKPOINT_RESTART
            author.connection.wal_checkpoint(mode=mode)
    for _ in range(2):
        author.transaction(sessions, rows // 13)
    author.copy(path)
    author.connection.close()
    return author.written
