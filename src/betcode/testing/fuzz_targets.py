"""Everything that reads bytes of somebody else, as functions of bytes that must raise nothing (ND-10).

The errors that a reader may raise are caught here, by name; whatever else escapes is a defect. The first byte of an
input chooses the reader, so that one run tries them all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from random import Random

import msgspec

from betcode.core.inputs import Ended, Saw, Tick
from betcode.core.instant import Instant
from betcode.core.life import Process, from_rows, to_row
from betcode.core.session import step
from betcode.core.transcript import Transcript
from betcode.keeper import protocol
from betcode.keeper.errors import KeeperError
from betcode.model.errors import BetcodeError
from betcode.testing.builders import new_session, submit
from betcode.testing.fuzz import PAGE_BYTES
from betcode.wire.check import Check
from betcode.wire.claude import read_line
from betcode.wire.claude_transcript import StoredConversation
from betcode.wire.client_api import decode_frame, decode_request, request_id
from betcode.wire.known_fields import New
from betcode.wire.lines import LineSplitter
from betcode.wire.sqlite_pages.cells import cells
from betcode.wire.sqlite_pages.debris import former_cells, free_parts, header_pattern
from betcode.wire.sqlite_pages.overflow import whole
from betcode.wire.sqlite_pages.records import decode as decode_record
from betcode.wire.sqlite_pages.wal import wal_header
from betcode.wire.visible import visible

LINE_BYTES_MAX = 20_000
"""Lower than the product's, so that lines are cut too; few recorded lines are longer."""
EVENT_HEADER = header_pattern("tiittibi")


def read_output(data: bytes) -> None:
    """claude's standard output, from bytes to what is decided, shown and stored because of it."""
    rng = Random(1)
    session = replace(new_session(), process=Process.READY, run=1)
    session = step(session, submit(1), Instant(0.0, 0.0), rng).session
    transcript, splitter = Transcript(), LineSplitter(line_bytes_max=LINE_BYTES_MAX)
    lines = splitter.feed(data)
    if (tail := splitter.take_tail()) is not None:
        lines.append(tail)
    for number, line in enumerate(lines):
        new: list[New] = []
        for fact, shown in transcript.read(read_line(line.data, line.original_size, new)):
            decision = step(session, Saw(fact, shown), Instant(number, number), rng)
            session = decision.session
            msgspec.json.encode([decision.events, decision.rows])
        msgspec.json.encode([(found.name, found.value) for found in new])
    msgspec.json.encode(transcript.previews())
    for news in (Tick(), Ended(session.run, 1, None, "exited", shown=transcript.cut())):
        session = step(session, news, Instant(1e6, 1e6), rng).session
    row = msgspec.json.decode(msgspec.json.encode(to_row(session)), type=type(to_row(session)))
    from_rows(row, session.messages, session.permissions)
    check = Check(LINE_BYTES_MAX)
    check.feed(data)
    check.finish()
    visible(data.decode("utf-8", "replace")).encode()


def read_transcript(data: bytes) -> None:
    """claude's own record of the conversation."""
    stored, splitter = StoredConversation(), LineSplitter(line_bytes_max=LINE_BYTES_MAX)
    for line in splitter.feed(data):
        stored.take(line)
    if (tail := splitter.take_tail()) is not None:
        stored.take(tail, finished=False)
    stored.conversation(size=len(data), whole=True)


def read_client(data: bytes) -> None:
    """A client's frames, and those of a daemon."""
    request_id(data)
    for decode in (decode_request, decode_frame):
        try:
            decode(data)
        except BetcodeError:
            continue


def read_keeper(data: bytes) -> None:
    """What comes over a keeper's socket."""
    frames = protocol.FrameReader()
    try:
        found = frames.feed(data)
    except KeeperError:
        return
    for _, payload in found:
        for read in (protocol.json_payload, protocol.out_payload, protocol.stdin_payload):
            try:
                read(payload)
            except KeeperError:
                continue


def read_pages(data: bytes) -> None:
    """A page of a damaged database, and a log."""
    wal_header(data)
    page = data[:PAGE_BYTES].ljust(PAGE_BYTES, b"\0")
    found = cells(page)
    for cell in found[0] if found is not None else ():
        decode_record(page[cell.start : cell.start + cell.local])
        decode_record(whole(page, cell, lambda number: page if number % 2 else None) or b"")
    for start, end in free_parts(page):
        for cell in former_cells(page, start, end, EVENT_HEADER):
            decode_record(page[cell.start : cell.start + cell.local])
    decode_record(data)


TARGETS: tuple[Callable[[bytes], None], ...] = (
    read_output,
    read_output,
    read_transcript,
    read_client,
    read_keeper,
    read_pages,
)
"""claude's output is the largest part, and has two chances."""


def target(data: bytes) -> None:
    """Try one input."""
    if data:
        TARGETS[data[0] % len(TARGETS)](data[1:])
