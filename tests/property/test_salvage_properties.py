"""Whatever happens to the database and its log: what is salvaged was written, and what was spared comes back."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from betcode.adapters.rescue.pages import DamagedDatabase, RawFile
from betcode.adapters.rescue.salvage import OWN_FACTS, salvage
from betcode.adapters.rescue.sieve import Sieve
from betcode.adapters.rescue.staging import open_staging
from betcode.adapters.sqlite.tables import TABLE, TABLES
from betcode.testing.sealed_rows import Written, without_rowid, write_sample
from betcode.wire.sqlite_pages.cells import cells
from betcode.wire.sqlite_pages.overflow import whole
from betcode.wire.sqlite_pages.records import decode

SEEDS = int(os.environ.get("SALVAGE_SEEDS", "60"))
PAGE_SIZES = (4096, 512, 65536)


class Copy:
    """One place where a version of a row is in the undamaged files, and the bytes that it is made of."""

    def __init__(self, table: str, key: tuple[object, ...], rev: int, spans: list[tuple[str, int, int]]) -> None:
        self.table, self.key, self.rev, self.spans = table, key, rev, spans


class Original:
    """A database before the damage."""

    def __init__(self, folder: Path, page_size: int) -> None:
        self.page_size = page_size
        path = folder / f"{page_size}.db"
        self.written: Written = write_sample(path, Random(page_size), page_size=page_size)
        self.file, self.wal = path.read_bytes(), Path(f"{path}-wal").read_bytes()
        self.copies: list[Copy] = []
        staging = open_staging(folder / "types.db")
        with DamagedDatabase(path) as database:
            database.use(page_size)
            sieve = Sieve(staging)
            for number, page in database.pages():
                self._read(database, sieve, page, None, ("", (number - 1) * page_size, page_size))
            for index, _, page in database.frames():
                offset = 32 + index * (24 + page_size) + 24
                self._read(database, sieve, page, index, ("-wal", offset, page_size))
        staging.close()

    def _read(
        self, database: DamagedDatabase, sieve: Sieve, page: bytes, index: int | None, span: tuple[str, int, int]
    ) -> None:
        is_table = page[0] == 0x0D
        for cell in (cells(page) or ([], 0))[0]:
            for view in database.views(index):
                spans = [span]
                with Recorded(database.file, "", spans), Recorded(database.wal, "-wal", spans):
                    record = whole(page, cell, view)
                values = record and decode(record)
                if values and (shape := sieve.whole(values, cell.rowid, index=not is_table)):
                    row = dict(zip(shape.table.columns, values, strict=True))
                    if shape.name == "meta" and row["name"] in OWN_FACTS:
                        break
                    rev = row["rev"]
                    assert isinstance(rev, int)
                    self.copies.append(Copy(shape.name, tuple(row[name] for name in shape.table.key), rev, spans))
                    break

    def untouched(self, copy: Copy, file: bytes, wal: bytes) -> bool:
        """Whether the damage spared all the bytes of this version."""
        for suffix, offset, size in copy.spans:
            before, after = (self.wal, wal) if suffix else (self.file, file)
            if before[offset : offset + size] != after[offset : offset + size]:
                return False
        return True


class Recorded:
    """Notes which bytes of a file are read; with a page of the log goes its frame's header."""

    def __init__(self, file: RawFile, suffix: str, spans: list[tuple[str, int, int]]) -> None:
        self._file, self._suffix, self._spans, self._read = file, suffix, spans, file.read

    def __enter__(self) -> None:
        def read(offset: int, size: int) -> bytes:
            before = 24 if self._suffix else 0
            self._spans.append((self._suffix, offset - before, size + before))
            return self._read(offset, size)

        self._file.read = read  # type: ignore[method-assign]

    def __exit__(self, *_: object) -> None:
        del self._file.read


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Original]:
    """One of each page size; made once."""
    return {size: Original(tmp_path_factory.mktemp("originals"), size) for size in PAGE_SIZES}


def flip(data: bytearray, rng: Random, page: int) -> None:
    """Single bits, anywhere."""
    for _ in range(rng.choice((1, 20, 300))):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def zero(data: bytearray, rng: Random, page: int) -> None:
    """A stretch of zeros of any length."""
    start, size = rng.randrange(len(data)), rng.choice((16, 512, 4096, 100_000))
    end = min(len(data), start + size)
    data[start:end] = bytes(end - start)


def random_pages(data: bytearray, rng: Random, page: int) -> None:
    """Whole pages of noise."""
    for _ in range(rng.choice((1, 5, 50))):
        start = rng.randrange(max(1, len(data) // page)) * page
        data[start : start + page] = rng.randbytes(len(data[start : start + page]))


def truncate(data: bytearray, rng: Random, page: int) -> None:
    """Cut off anywhere."""
    del data[rng.randrange(len(data)) :]


def no_header(data: bytearray, rng: Random, page: int) -> None:
    """The first page, or its beginning, is gone or lies about the size of the pages."""
    match rng.randrange(4):
        case 0:
            data[:100] = bytes(100)
        case 1:
            data[:page] = rng.randbytes(page)
        case 2:
            data[16:18] = rng.choice((512, 1024, 8192, 32768, 1, 0, 77)).to_bytes(2, "big")
        case _:
            data[:32] = rng.randbytes(32)


def empty(data: bytearray, rng: Random, page: int) -> None:
    """Nothing is left of this file."""
    data.clear()


def all_zeros(data: bytearray, rng: Random, page: int) -> None:
    """As long as before, and zero."""
    data[:] = bytes(len(data))


def swap(data: bytearray, rng: Random, page: int) -> None:
    """A page stands in another one's place too."""
    pages = max(1, len(data) // page)
    a, b = rng.randrange(pages) * page, rng.randrange(pages) * page
    data[a : a + page] = data[b : b + page]


Damage = Callable[[bytearray, Random, int], None]
DAMAGES: tuple[Damage, ...] = (flip, flip, zero, random_pages, truncate, no_header, no_header, empty, all_zeros, swap)


@pytest.mark.limit(1200)
@pytest.mark.parametrize("part", range(4))
@pytest.mark.req("SQ-4")
def test_what_is_salvaged_was_written_and_what_was_spared_comes_back(
    originals: dict[int, Original], tmp_path: Path, part: int
) -> None:
    for seed in range(part, SEEDS, 4):
        rng = Random(seed)
        original = originals[rng.choice(PAGE_SIZES)]
        file, wal = bytearray(original.file), bytearray(original.wal)
        done = []
        for _ in range(rng.choice((1, 1, 2, 3))):
            target = rng.choice((file, file, wal))
            damage = rng.choice(DAMAGES)
            done.append(f"{damage.__name__} of {'file' if target is file else 'wal'}")
            if target:
                damage(target, rng, original.page_size)
        (tmp_path / "d.db").write_bytes(file)
        (tmp_path / "d.db-wal").write_bytes(wal)
        check(original, tmp_path, bytes(file), bytes(wal), f"seed {seed}: pages of {original.page_size}: {done}")


def check(original: Original, folder: Path, file: bytes, wal: bytes, told: str) -> None:
    """Salvage, and compare with all that was ever written."""
    staging = open_staging(folder / "out.db")
    result = salvage(folder / "d.db", staging)
    revs: dict[tuple[str, tuple[object, ...]], int] = {}
    for table in TABLES:
        for row in staging.execute(f'SELECT * FROM "{table.name}" WHERE rev > 0'):
            if table.name == "meta" and row[0] in OWN_FACTS:
                continue
            assert without_rowid(table, row) in original.written.versions[table.name], f"{told}: never written: {row}"
            named = dict(zip(table.columns, row, strict=True))
            revs[table.name, tuple(named[name] for name in table.key)] = named["rev"]
    assert sum(result.rows.values()) == len(revs), told
    for copy in original.copies:
        if revs.get((copy.table, copy.key), 0) < copy.rev and original.untouched(copy, file, wal):
            pytest.fail(f"{told}: a whole row is missing: {copy.table} {copy.key} rev {copy.rev} {copy.spans}")
    assert staging.execute("PRAGMA integrity_check").get == "ok", told
    staging.close()


@pytest.mark.req("SQ-4")
def test_all_that_was_written_comes_back_from_files_that_are_whole(
    originals: dict[int, Original], tmp_path: Path
) -> None:
    for original in originals.values():
        (tmp_path / "d.db").write_bytes(original.file)
        (tmp_path / "d.db-wal").write_bytes(original.wal)
        staging = open_staging(tmp_path / "out.db")
        result = salvage(tmp_path / "d.db", staging)
        assert result.page_size == original.page_size
        assert (result.damaged, result.unsealed, result.pages_damaged) == ({}, 0, 0)
        assert result.stale_frames > 0
        newest = max(original.written.newest.values())
        assert result.newest_rev == newest
        assert staging.execute("SELECT value FROM meta WHERE name = 'rev'").get == str(newest), "revisions go on rising"
        for (name, key), rev in original.written.newest.items():
            where = " AND ".join(f'"{column}" = ?' for column in TABLE[name].key)
            assert staging.execute(f'SELECT rev FROM "{name}" WHERE {where}', key).get == rev
        staging.close()
