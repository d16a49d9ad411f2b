"""What is noted of odd lines while they are read: all of it, once, and in bounded memory."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from betcode.core.transcript import Transcript
from betcode.engine.committer import Committer
from betcode.engine.feed import Feed
from betcode.engine.ingest import Ingest
from betcode.engine.oddities import OTHER, Oddities
from betcode.model import limits
from betcode.model.ids import SessionId
from betcode.testing.builders import at
from betcode.testing.simulator.daemon import ModelMeter
from betcode.testing.small_engine import KeptLog
from betcode.wire.check import Check
from betcode.wire.claude import read_line
from betcode.wire.known_fields import FIELDS, New

RECORDINGS = Path(__file__).parents[1] / "recordings"
INIT = b'{"type":"system","subtype":"init","session_id":"s","model":"m","claude_code_version":"2.1.331"}'


class Still:
    """A clock that stands."""

    def now(self) -> Any:
        return at(0.0)


def read(*lines: bytes, most: int = limits.LINE_BYTES_MAX, newline: bool = True) -> tuple[Oddities, Ingest]:
    odd = Oddities(SessionId("s"), Still())
    odd.run = 3
    reader = Ingest(0, most, Transcript(), KeptLog(), ModelMeter(), odd)
    for _ in reader.read(0, b"".join(line + b"\n" for line in lines[:-1]) + lines[-1] + b"\n" * newline):
        pass
    return odd, reader


@pytest.mark.req("ND-2", "ND-3", "ND-7", "ND-9")
def test_every_line_that_could_not_be_read_is_kept_with_place_size_reason_and_bytes() -> None:
    bad = [b"\xff\x00", b"{", b"[1]", b"x" * 9_000]
    odd, reader = read(b'{"type":"keep_alive"}', *bad, b'{"type":"result"}', b"{half", most=8_000, newline=False)
    reader.rest()
    kept, _ = odd.take()
    assert [(q.run, q.offset, q.size, q.error_type) for q in kept] == [
        (3, 22, 2, "invalid_utf8"),
        (3, 25, 1, "invalid_json"),
        (3, 27, 3, "schema"),
        (3, 31, 9_000, "oversize"),
        (3, 9_050, 5, "invalid_json"),
    ], "a result that was read with defaults is not among them"
    assert [q.copy for q in kept] == [*bad[:3], b"x" * limits.QUARANTINE_COPY_BYTES, b"{half"]
    assert all(q.detail and q.time.endswith("Z") for q in kept)
    assert odd.take() == ((), ()), "each is handed over once"


@pytest.mark.req("ND-9", "INV-8")
def test_a_flood_of_odd_lines_leaves_the_newest_and_a_bounded_number_of_names() -> None:
    many = limits.QUARANTINED_MAX + 500
    lines = [b"{%d" % n for n in range(many)] + [b'{"type":"kind_%d"}' % n for n in range(many)]
    kept, new = read(*lines)[0].take()
    assert [q.copy for q in kept] == lines[500:many]
    assert len(new) == limits.WARNED_KINDS_MAX + 1
    assert {d.name: d.count for d in new}[OTHER] == many - limits.WARNED_KINDS_MAX
    assert sum(d.count for d in new) == many


@pytest.mark.req("ND-4", "ND-5")
def test_new_kinds_and_fields_are_counted_for_the_version_that_claude_tells() -> None:
    user = b'{"type":"user","mood":{"now":"\\u001b[2J"},"message":{"content":"x"}}'
    odd, _ = read(user, INIT, user, user, b'{"type":"system","subtype":"weather","sky":1}')
    found = {(d.version, d.what, d.name): d for d in odd.take()[1]}
    assert {key: d.count for key, d in found.items()} == {
        ("", "field", "user.mood"): 1,
        ("2.1.331", "field", "user.mood"): 2,
        ("2.1.331", "kind", "system/weather"): 1,
    }
    assert found["2.1.331", "field", "user.mood"].example == '{"now":"\\u001b[2J"}'
    assert found["2.1.331", "kind", "system/weather"].example.endswith('"sky":1}')


@pytest.mark.req("ND-5")
def test_parts_of_lines_that_nobody_knows_are_told() -> None:
    new: list[New] = []
    for line in (
        {"type": "stream_event", "event": {"type": "content_block_moved"}},
        {"type": "assistant", "message": {"id": "m", "content": [{"type": "hologram"}, {"type": "text", "text": ""}]}},
        {"type": "control_request", "request_id": "r", "request": {"subtype": "make_coffee"}},
        {"type": "assistant", "message": {"id": "m", "content": []}, **{f"f{n:02}": n for n in range(50)}},
    ):
        read_line(json.dumps(line).encode(), None, new)
    names = [(found.what, found.name) for found in new]
    assert names[:3] == [
        ("kind", "stream_event/content_block_moved"),
        ("kind", "assistant/hologram"),
        ("kind", "control_request/make_coffee"),
    ]
    assert names[3:] == [("field", f"assistant.f{n:02}") for n in range(limits.NEW_IN_LINE_MAX)]


@pytest.mark.req("ND-10")
def test_nothing_in_the_recordings_is_new_and_every_listed_field_is_in_one_of_them() -> None:
    check, seen = Check(), dict.fromkeys(FIELDS, frozenset[str]())
    for path in RECORDINGS.rglob("*.ndjson"):
        if path.name.endswith(".stdin.ndjson"):
            continue
        data = path.read_bytes()
        check.feed(data)
        for raw in data.splitlines():
            line = json.loads(raw)
            kind = f"system/{line['subtype']}" if line["type"] == "system" else line["type"]
            seen[kind] |= line.keys()
    assert check.finish().new == {}
    shared = {"session_id", "uuid", "user_message_uuid", "user_message_uuids", "subtype", "structured_output"}
    assert {(kind, name) for kind, known in FIELDS.items() for name in known - seen[kind] - shared} == set()


@pytest.mark.req("ND-9")
def test_what_was_not_stored_is_forgotten_when_the_session_begins_again() -> None:
    async def run() -> None:
        odd, _ = read(b"{", b'{"type":"weather"}')
        committer = Committer(Feed(SessionId("s"), 1, 0), None, KeptLog(), lambda: None, lambda _: None, odd)  # type: ignore[arg-type, return-value]
        committer.forget()
        assert odd.take() == ((), ()), "its lines will be read again"

    asyncio.run(run())
