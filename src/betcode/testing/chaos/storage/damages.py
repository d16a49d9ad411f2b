"""Ways to damage a data directory. Each is a function of the directory and of chance, and changes files in place."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random

import apsw

PAGE = 4096


@dataclass(frozen=True, slots=True)
class Damage:
    """One way."""

    id: str
    injected: str
    do: Callable[[Path, Random], None]
    all_back: bool = True
    """Whether all of it is still held by something, so that nothing may be missing."""
    log: bool = False
    """Whether the write-ahead log is left as the daemon's death left it; else it is brought into the file first."""
    deletions: bool = True
    """Whether anything is left that tells what was deleted."""
    silent: bool = False
    """Whether nothing need be told: SQLite mends it itself, or nothing is left that could prove a loss."""


def database(data: Path) -> Path:
    """The file."""
    return data / "daemon.db"


def checkpoint(data: Path) -> None:
    """Bring the log into the file, as an orderly stop does."""
    with contextlib.closing(apsw.Connection(str(database(data)))) as connection:
        connection.execute("SELECT count(*) FROM sqlite_schema").fetchall()  # before that there is no log for it
        connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)


def overwrite(path: Path, offset: int, content: bytes) -> None:
    """Replace bytes in the middle of a file."""
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(content)


def root_of(data: Path, name: str) -> int:
    """The page, from 1, at which a table or an index begins."""
    with contextlib.closing(apsw.Connection(str(database(data)))) as connection:
        return int(connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = ?", (name,)).get)


def _pages(data: Path) -> int:
    return database(data).stat().st_size // PAGE


def _random_pages(data: Path, rng: Random, count: int) -> None:
    for number in rng.sample(range(1, _pages(data)), count):
        overwrite(database(data), number * PAGE, rng.randbytes(PAGE))


def _leaf(data: Path, rng: Random) -> int:
    """The number, from 0, of a page that holds rows."""
    content = database(data).read_bytes()
    leaves = [n for n in range(1, len(content) // PAGE) if content[n * PAGE] == 0x0D]
    return rng.choice(leaves)


def header_zeroed(data: Path, _rng: Random) -> None:
    """The first 100 bytes."""
    overwrite(database(data), 0, bytes(100))


def first_page_random(data: Path, rng: Random) -> None:
    """The whole first page."""
    overwrite(database(data), 0, rng.randbytes(PAGE))


def schema_random(data: Path, rng: Random) -> None:
    """All of the first page behind the header: it leads to the names of the tables."""
    overwrite(database(data), 100, rng.randbytes(PAGE - 100))


def page_size_wrong(data: Path, _rng: Random) -> None:
    """The field of the header that says how large pages are."""
    overwrite(database(data), 16, (8192).to_bytes(2, "big"))


def interior_page(data: Path, rng: Random) -> None:
    """The root of the table of events."""
    overwrite(database(data), (root_of(data, "events") - 1) * PAGE, rng.randbytes(PAGE))


def leaf_page(data: Path, rng: Random) -> None:
    """A page full of rows."""
    overwrite(database(data), _leaf(data, rng) * PAGE, rng.randbytes(PAGE))


def index_root(data: Path, _rng: Random) -> None:
    """The root of an index."""
    overwrite(database(data), (root_of(data, "events_by_position") - 1) * PAGE, bytes(PAGE))


def table_root_of_sessions(data: Path, _rng: Random) -> None:
    """The root of the table of sessions."""
    overwrite(database(data), (root_of(data, "sessions") - 1) * PAGE, bytes(PAGE))


def payload_flip(data: Path, rng: Random) -> None:
    """Sixteen bytes inside a row's text."""
    content = database(data).read_bytes()
    at = content.index(b'"text":"', rng.randrange(len(content) // 2))
    overwrite(database(data), at + 20, rng.randbytes(16))


def fifty_pages(data: Path, rng: Random) -> None:
    """Fifty random pages."""
    _random_pages(data, rng, 50)


def tenth_of_pages(data: Path, rng: Random) -> None:
    """A tenth of all pages."""
    _random_pages(data, rng, _pages(data) // 10)


def cut_to_60(data: Path, _rng: Random) -> None:
    """The end of the file is gone."""
    os.truncate(database(data), _pages(data) * PAGE * 6 // 10)


def cut_in_a_page(data: Path, _rng: Random) -> None:
    """The last megabyte is gone, and not at the border of a page."""
    os.truncate(database(data), database(data).stat().st_size - 1_000_001)


def emptied(data: Path, _rng: Random) -> None:
    """A file of no bytes."""
    os.truncate(database(data), 0)


def removed(data: Path, _rng: Random) -> None:
    """The database and its log are gone."""
    for suffix in ("", "-wal", "-shm"):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(data / f"daemon.db{suffix}")


def replaced_by_noise(data: Path, rng: Random) -> None:
    """Another file of the same size stands there."""
    size = database(data).stat().st_size
    database(data).write_bytes(rng.randbytes(size))


def replaced_by_older(data: Path, _rng: Random) -> None:
    """Somebody put back last week's copy, the backup."""
    removed(data, _rng)
    shutil.copy(next((data / "backups").glob("*.db")), database(data))


def log_zeroed(data: Path, _rng: Random) -> None:
    """The write-ahead log is zeros."""
    path = data / "daemon.db-wal"
    path.write_bytes(bytes(path.stat().st_size))


def log_random(data: Path, rng: Random) -> None:
    """The write-ahead log is noise."""
    path = data / "daemon.db-wal"
    path.write_bytes(rng.randbytes(path.stat().st_size))


def log_removed(data: Path, _rng: Random) -> None:
    """The write-ahead log is gone, with its index."""
    for suffix in ("-wal", "-shm"):
        (data / f"daemon.db{suffix}").unlink(missing_ok=True)


def log_cut(data: Path, _rng: Random) -> None:
    """Half of the write-ahead log is gone."""
    path = data / "daemon.db-wal"
    os.truncate(path, path.stat().st_size // 2)


def log_hole(data: Path, rng: Random) -> None:
    """One page of noise in the middle of the write-ahead log."""
    path = data / "daemon.db-wal"
    overwrite(path, path.stat().st_size // 2, rng.randbytes(PAGE))


def index_garbage(data: Path, rng: Random) -> None:
    """The index of the write-ahead log is noise; SQLite makes it anew."""
    (data / "daemon.db-shm").write_bytes(rng.randbytes(32768))


def emptied_beside_log(data: Path, _rng: Random) -> None:
    """A file of no bytes beside a full log."""
    os.truncate(database(data), 0)


def backup_too(data: Path, rng: Random) -> None:
    """The header of the database, and half the pages of the backup."""
    header_zeroed(data, rng)
    path = next((data / "backups").glob("*.db"))
    for number in rng.sample(range(path.stat().st_size // PAGE), path.stat().st_size // PAGE // 2):
        overwrite(path, number * PAGE, rng.randbytes(PAGE))


def intake_too(data: Path, rng: Random) -> None:
    """Fifty pages of the database, and a stretch of the intake log."""
    fifty_pages(data, rng)
    path = sorted((data / "intake").glob("*.log"))[0]
    used = len(path.read_bytes().rstrip(b"\0"))
    overwrite(path, used // 2, rng.randbytes(5_000))


def journal_too(data: Path, rng: Random) -> None:
    """Fifty pages of the database, and the newest journal of one session is cut."""
    fifty_pages(data, rng)
    path = max((data / "sessions").glob("*/*.out"), key=lambda found: found.stat().st_size)
    os.truncate(path, path.stat().st_size // 3)


def journals_gone(data: Path, rng: Random) -> None:
    """Fifty pages of the database, and all journals."""
    fifty_pages(data, rng)
    for path in (data / "sessions").glob("*/*.out"):
        path.unlink()


def database_and_intake_gone(data: Path, rng: Random) -> None:
    """The database, its log and the whole intake log: a backup and the journals are left."""
    removed(data, rng)
    shutil.rmtree(data / "intake")


def everything_but_journals_gone(data: Path, rng: Random) -> None:
    """Nothing but the sessions' own files is left."""
    database_and_intake_gone(data, rng)
    shutil.rmtree(data / "backups")


def wrong_permissions(data: Path, _rng: Random) -> None:
    """Nobody may read the database."""
    database(data).chmod(0)


def marks_gone(data: Path, rng: Random) -> None:
    """The log is cut, and no mark tells of it."""
    log_cut(data, rng)
    for path in (data / "sessions").glob("*/mark"):
        path.unlink()


WAYS = (
    Damage("header-zeroed", "the first 100 bytes are zeros", header_zeroed),
    Damage("header-zeroed-log", "the same beside a write-ahead log", header_zeroed, log=True),
    Damage("first-page-random", "the first page is noise", first_page_random),
    Damage("schema-random", "the first page behind the header is noise", schema_random),
    Damage("page-size-wrong", "the header names a wrong size of pages", page_size_wrong),
    Damage("interior-page", "the root of the table of events is noise", interior_page),
    Damage("leaf-page", "a page full of rows is noise", leaf_page),
    Damage("index-root", "the root of an index is zeros", index_root),
    Damage("sessions-root", "the root of the table of sessions is zeros", table_root_of_sessions),
    Damage("payload-flip", "16 bytes of a row's text are others", payload_flip),
    Damage("fifty-pages", "50 random pages are noise", fifty_pages),
    Damage("tenth-of-pages", "a tenth of all pages is noise", tenth_of_pages),
    Damage("cut-to-60", "the file is cut to 60 %", cut_to_60),
    Damage("cut-to-60-log", "the same beside a write-ahead log", cut_to_60, log=True),
    Damage("cut-in-a-page", "the last megabyte is gone, not at a page's border", cut_in_a_page),
    Damage("emptied", "the file is empty", emptied),
    Damage("emptied-beside-log", "the file is empty beside a full log", emptied_beside_log, log=True),
    Damage("removed", "database and log are gone", removed),
    Damage("replaced-by-noise", "a file of noise stands in its place", replaced_by_noise),
    Damage("replaced-by-older", "an older copy stands in its place", replaced_by_older),
    Damage("log-zeroed", "the write-ahead log is zeros", log_zeroed, log=True),
    Damage("log-random", "the write-ahead log is noise", log_random, log=True),
    Damage("log-removed", "the write-ahead log is gone", log_removed, log=True),
    Damage("log-cut", "half of the write-ahead log is gone", log_cut, log=True),
    Damage("log-hole", "a page of noise in the write-ahead log", log_hole, log=True),
    Damage("log-index-garbage", "the index of the log is noise", index_garbage, log=True, silent=True),
    Damage("marks-gone", "half of the log is gone, and all marks", marks_gone, log=True, silent=True),
    Damage("backup-too", "the header, and half the pages of the backup", backup_too),
    Damage("intake-too", "50 pages, and a stretch of the intake log", intake_too, all_back=False),
    Damage("journal-too", "50 pages, and two thirds of the newest journal", journal_too, all_back=False),
    Damage("journals-gone", "50 pages, and all journals", journals_gone, all_back=False),
    Damage("intake-gone", "database and intake log are gone", database_and_intake_gone, False, deletions=False),
    Damage(
        "only-journals",
        "database, intake log and backups are gone",
        everything_but_journals_gone,
        False,
        deletions=False,
    ),
)
