"""SQLite's own files, read without SQLite: what comes out is what SQLite says is in them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from random import Random

import apsw
import pytest

from betcode.wire.sqlite_pages.cells import PAGE_SIZES, cells, page_size
from betcode.wire.sqlite_pages.debris import former_cells, free_parts, header_pattern
from betcode.wire.sqlite_pages.overflow import whole
from betcode.wire.sqlite_pages.records import decode, record_size, serial_types, varint
from betcode.wire.sqlite_pages.wal import frame, frame_count, frame_offset, wal_header

Row = tuple[object, ...]
INTEGERS = (
    0,
    1,
    2,
    -1,
    127,
    -128,
    128,
    32767,
    8388607,
    -8388608,
    2**31,
    -(2**31),
    2**47 - 1,
    -(2**47),
    2**63 - 1,
    -(2**63),
)


def pages_of(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


def rows_of(pages: list[bytes], kinds: bytes) -> Iterator[Row]:
    """(rowid, values...) of all cells in pages of these kinds."""

    def read(number: int) -> bytes | None:
        return pages[number - 1] if 0 < number <= len(pages) else None

    for page in pages:
        at = 100 if page.startswith(b"SQLite format 3\0") else 0
        if page[at] not in kinds or (found := cells(page, at)) is None:
            continue
        assert found[1] == 0
        for cell in found[0]:
            record = whole(page, cell, read)
            assert record is not None
            values = decode(record)
            assert values is not None
            types = serial_types(record)
            assert types is not None
            assert record_size(*types) == cell.size == len(record)
            yield (cell.rowid, *values)


@pytest.mark.parametrize("size", [512, 4096, 65536])
@pytest.mark.req("SQ-4")
def test_all_rows_of_tables_and_of_index_trees_are_read_as_sqlite_wrote_them(tmp_path: Path, size: int) -> None:
    rng, path = Random(size), tmp_path / "a.db"
    connection = apsw.Connection(str(path))
    connection.pragma("page_size", size)
    connection.execute("CREATE TABLE a (n INTEGER PRIMARY KEY, i, t TEXT, b BLOB, r REAL)")
    connection.execute("CREATE TABLE b (k TEXT PRIMARY KEY, i INTEGER, t TEXT, b BLOB, x, y) WITHOUT ROWID")
    lengths = (0, 1, 20, 57, 58, size // 4, size - 40, size - 35, size - 36, size, 3 * size, 9 * size + 1)
    for number in range(600):
        text, blob = "ä" * (rng.choice(lengths) // 2), rng.randbytes(rng.choice(lengths))
        rowid = rng.choice((number, -number - 5, 2**40 + number, -(2**62) + number))
        connection.execute("REPLACE INTO a VALUES (?, ?, ?, ?, ?)", (rowid, rng.choice(INTEGERS), text, blob, 1.5))
        row = (f"{number:05}", rng.choice(INTEGERS), text[:200], blob, None, 7)
        connection.execute("INSERT INTO b VALUES (?, ?, ?, ?, ?, ?)", row)
    expected_a = {(row[0], None, *row[1:]) for row in connection.execute("SELECT * FROM a")}
    expected_b = {(None, *row) for row in connection.execute("SELECT * FROM b")}
    connection.close()
    data = path.read_bytes()
    assert page_size(data[:100]) == size
    pages = pages_of(data, size)
    assert {row for row in rows_of(pages, b"\x0d") if row[2] != "table" and len(row) == 6} >= expected_a
    assert {row for row in rows_of(pages, b"\x0a\x02") if len(row) == 7} == expected_b
    assert size == 65536 or any(page[0] == 2 for page in pages), "rows in inner nodes were tried"


@pytest.mark.req("SQ-4")
def test_every_frame_of_a_log_is_found_and_those_from_before_are_told_by_their_salts(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    connection = apsw.Connection(str(path))
    connection.pragma("journal_mode", "wal")
    connection.execute("CREATE TABLE a (t)")
    for number in range(5):
        connection.execute("INSERT INTO a VALUES (?)", (f"old {number}",))
    connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_RESTART)
    connection.execute("INSERT INTO a VALUES ('new')")
    log = Path(f"{path}-wal").read_bytes()
    connection.close()
    header = wal_header(log[:32])
    assert header is not None
    assert header.page_size == 4096
    frames = [frame(log, frame_offset(index, 4096)) for index in range(frame_count(len(log), 4096))]
    assert len(frames) == 7
    assert [found.salts == header.salts for found in frames] == [True] + [False] * 6
    assert all(found.commit for found in (frames[0], frames[-1]))
    offset = frame_offset(0, 4096) + 24
    found = {row[1] for row in rows_of([log[offset : offset + 4096]], b"\x0d")}
    assert found == {"new", *(f"old {number}" for number in range(5))}
    assert frame_count(len(log) - 1, 4096) == 7, "a page that is cut off is looked at too"
    assert frame_count(0, 4096) == 0


@pytest.mark.req("SQ-4")
def test_a_deleted_row_is_found_in_the_free_part_of_its_page(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    connection = apsw.Connection(str(path))
    connection.execute("CREATE TABLE a (t TEXT, i INTEGER, b BLOB)")
    for number in range(200, 222):
        connection.execute(
            "INSERT INTO a (rowid, t, i, b) VALUES (?, ?, ?, ?)", (number, f"row {number}", number, b"x" * 150)
        )
    connection.execute("DELETE FROM a WHERE i IN (205, 206, 221, 200)")
    connection.close()
    page = path.read_bytes()[4096:8192]
    found = set()
    for start, end in free_parts(page):
        for cell in former_cells(page, start, end, header_pattern("tib")):
            values = decode(page[cell.start : cell.start + cell.size])
            if values is not None and values[2] == b"x" * 150:
                found.add(values[0])
    assert found == {"row 205", "row 206", "row 221", "row 200"}


@pytest.mark.req("SQ-4")
def test_numbers_of_any_length_are_read_and_cut_off_ones_are_told() -> None:
    assert varint(b"\x00", 0) == (0, 1)
    assert varint(b"x\x81\x00", 1) == (128, 3)
    assert varint(b"\xff" * 9, 0) == (-1, 9)
    assert varint(b"\xff" * 8, 0) == (-1, 0)
    assert varint(b"", 0) == (-1, 0)


@pytest.mark.req("SQ-4")
def test_no_bytes_at_all_make_the_reader_fail() -> None:
    rng = Random(1)
    for number in range(3_000):
        size = rng.choice(PAGE_SIZES[:4])
        page = bytearray(rng.randbytes(size) if number % 2 else bytes(size))
        page[0] = rng.choice((0x0D, 0x0A, 0x02))
        page[3:5] = rng.randrange(size // 2).to_bytes(2, "big")
        read = bytes(page)
        found = cells(read)
        for cell in found[0] if found else ():
            record = whole(read, cell, lambda number, read=read: read if number % 2 else None)  # type: ignore[misc]
            decode(record if record is not None else read[cell.start : cell.start + cell.local])
        for start, end in free_parts(read):
            list(former_cells(read, start, end, header_pattern("tiittibi")))


@pytest.mark.req("SQ-4")
def test_a_chain_that_bites_its_tail_ends() -> None:
    page = bytearray(512)
    page[0], page[4], page[8:10], page[200:204] = 0x0D, 1, (200).to_bytes(2, "big"), b"\x8f\xff\x7f\x01"
    found = cells(bytes(page))
    assert found is not None
    [cell] = found[0]
    assert cell.local < cell.size
    again = (5).to_bytes(4, "big") + bytes(508)
    page[cell.start + cell.local : cell.start + cell.local + 4] = (5).to_bytes(4, "big")
    assert whole(bytes(page), cell, lambda number: again) is None
