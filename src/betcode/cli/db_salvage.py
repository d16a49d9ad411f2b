"""`betcode db salvage`: every whole row of a damaged database into a new one, without the daemon."""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import apsw
import click

from betcode.adapters.durable import sync
from betcode.adapters.rescue import gaps
from betcode.adapters.rescue.salvage import Salvaged, count_rows
from betcode.adapters.rescue.salvage import salvage as salvage_rows
from betcode.adapters.rescue.staging import open_staging
from betcode.adapters.sqlite.errors import translate
from betcode.cli.output import counted, remark, say, say_json
from betcode.cli.output import table as aligned
from betcode.cli.progress import progress_line
from betcode.model.errors import BetcodeError
from betcode.wire.visible import visible

LOST_SHOWN: Final = 20
"""Damaged rows and holes that are named to a person; `--json` has up to `LOST_LISTED`."""
LOST_LISTED: Final = 10_000
"""The same for programs."""


@dataclass(frozen=True, slots=True)
class Result:
    """What was done."""

    salvaged: Salvaged
    rows: dict[str, int]
    holes: list[gaps.Hole]
    orphans: dict[str, dict[str, int]]
    forgotten: int


@click.command()
@click.option("--json", "as_json", is_flag=True, help="For programs: one JSON object.")
@click.argument("source", type=click.Path(path_type=Path))
@click.argument("target", type=click.Path(path_type=Path))
def salvage(*, source: Path, target: Path, as_json: bool) -> int:
    """Read the damaged database SOURCE, and SOURCE-wal beside it, and write all whole rows into the new file TARGET.

    It needs neither the daemon nor a readable header: every page is looked at, and every row has a checksum. SOURCE is
    not changed. Rows of a session whose own row is lost are written too, and named as orphans; what belonged to deleted
    sessions stays deleted. To mend the daemon's database use `betcode db recover`, which knows more sources than this.

    Exit status 0: something was salvaged; 5: SOURCE has nothing of BetCode's in it, or TARGET exists.

    \b
    Examples:
      betcode db salvage daemon.db.corrupt.20261126T120000Z rescued.db
      betcode db salvage daemon.db rescued.db --json
    """
    _check(source, target)
    part = target.with_name(target.name + ".part")
    try:
        result = _build(source, part)
        _refuse_existing(target)
        part.rename(target)
        sync(target.parent)
    except apsw.Error as error:
        raise translate(error) from error
    except OSError as error:
        raise BetcodeError(
            "salvage.failed",
            f"{str(error.filename or target)!r}: {error.strerror}",
            hint="Choose a new file in a directory of yours, on a disk with as much room as the damaged database has.",
        ) from error
    finally:
        with contextlib.suppress(OSError):
            part.unlink()
    if as_json:
        say_json(_as_json(result, target))
    else:
        _tell(result, target)
    return 0


def _check(source: Path, target: Path) -> None:
    """Raise BetcodeError if there is nothing to read, or something where is to be written."""
    sizes = []
    for path in (source, source.with_name(source.name + "-wal")):
        try:
            with path.open("rb") as file:
                sizes.append(file.seek(0, os.SEEK_END))
        except FileNotFoundError:
            continue
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else str(error)
            raise _unreadable(f"{str(path)!r} cannot be read: {why}") from error
    if not sizes:
        raise _unreadable(f"there is no file {str(source)!r}, nor a -wal beside where it would be")
    if not any(sizes):
        raise _unreadable(f"{str(source)!r} is empty, and there is nothing in a -wal beside it")
    _refuse_existing(target)


def _unreadable(message: str) -> BetcodeError:
    return BetcodeError("salvage.source", message, hint="Give the path of a damaged database of BetCode.")


def _refuse_existing(target: Path) -> None:
    if os.path.lexists(target):
        raise BetcodeError(
            "salvage.exists", f"{str(target)!r} exists already", hint="Choose the path of a file that does not exist."
        )


def _build(source: Path, part: Path) -> Result:
    """Write the new database. Raises BetcodeError, apsw.Error, OSError."""
    with contextlib.closing(open_staging(part)) as staging, progress_line() as progress:
        salvaged = salvage_rows(source, staging, progress=progress)
        if not sum(salvaged.rows.values()):
            raise _nothing(source, salvaged)
        progress("check", 0, 1)
        with staging:
            forgotten = gaps.forget_deleted(staging)
        holes, orphans = list(gaps.holes(staging)), gaps.orphans(staging)
        rows = count_rows(staging)
        found = staging.execute("PRAGMA integrity_check").get
        if found != "ok":
            raise BetcodeError(
                "salvage.failed",
                f"the new database is damaged itself: {found}",
                hint="Try it on another disk; look at this one (`dmesg`, `smartctl`).",
            )
    sync(part)
    return Result(salvaged, rows, holes, orphans, forgotten)


def _nothing(source: Path, salvaged: Salvaged) -> BetcodeError:
    if salvaged.unsealed:
        return BetcodeError(
            "salvage.nothing",
            f"all {counted(salvaged.unsealed, 'row')} in {str(source)!r} are of a version of BetCode without checksums",
            hint="If the database opens, a daemon of this version adds them. If not, restore a backup.",
        )
    if salvaged.newest_rev:
        return BetcodeError(
            "salvage.nothing",
            f"{str(source)!r} is a database of BetCode without a whole row of a session",
            hint="If there were sessions in it, restore a backup: `betcode db restore`.",
        )
    damaged = sum(salvaged.damaged.values())
    also = f"; {counted(damaged, 'record')} in it cannot be read" if damaged else ""
    return BetcodeError(
        "salvage.nothing",
        f"{str(source)!r} has no whole row of BetCode's in it{also}",
        hint="Is it the right file? If it is, restore a backup: `betcode db restore`.",
    )


def _as_json(result: Result, target: Path) -> dict[str, Any]:
    found = result.salvaged
    return {
        "database": str(target),
        "rows": result.rows,
        "damaged": found.damaged,
        "lost": [
            {"table": row.table, "session": row.session, "key": [_plain(value) for value in row.key]}
            for row in found.lost[:LOST_LISTED]
        ],
        "orphans": result.orphans,
        "missing": [
            {"session": hole.session, "epoch": hole.epoch, "first": hole.first, "last": hole.last}
            for hole in result.holes[:LOST_LISTED]
        ],
        "missing_events": sum(hole.count for hole in result.holes),
        "deleted": result.forgotten,
        "unsealed": found.unsealed,
        "page_size": found.page_size,
        "pages": found.pages,
        "pages_damaged": found.pages_damaged,
        "frames": found.frames,
        "stale_frames": found.stale_frames,
        "unreadable_bytes": found.unreadable_bytes,
        "newest_rev": found.newest_rev,
        "sentences": [*found.sentences, *_sentences(result)],
    }


def _plain(value: Any) -> Any:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def _tell(result: Result, target: Path) -> None:
    damaged = result.salvaged.damaged
    lines = [["TABLE", "ROWS", "DAMAGED"]]
    lines += [[name, str(count), str(damaged.get(name, 0))] for name, count in result.rows.items()]
    say(aligned(lines))
    for sentence in [*result.salvaged.sentences, *_sentences(result)]:
        say(sentence)
    for row in result.salvaged.lost[:LOST_SHOWN]:
        key = visible(" ".join(str(_plain(value)) for value in row.key), keep_newlines=False)[:200]
        remark(f"damaged: {row.table} {key}")
    if (more := len(result.salvaged.lost) - LOST_SHOWN) > 0:
        remark(f"and {more} more damaged rows, which --json names")
    say(f"Saved in {target}.")


def _sentences(result: Result) -> list[str]:
    said = []
    by_session: dict[tuple[str, int], list[gaps.Hole]] = {}
    for hole in result.holes:
        by_session.setdefault((hole.session, hole.epoch), []).append(hole)
    for (session, epoch), holes in list(by_session.items())[:LOST_SHOWN]:
        spans = [str(hole.first) if hole.first == hole.last else f"{hole.first}-{hole.last}" for hole in holes[:10]]
        more = f" and {len(holes) - 10} more ranges" if len(holes) > 10 else ""
        number = sum(hole.count for hole in holes)
        said.append(f"Session {session} lacks {counted(number, 'event')} of epoch {epoch}: {', '.join(spans)}{more}.")
    if len(by_session) > LOST_SHOWN:
        said.append(f"{len(by_session) - LOST_SHOWN} more sessions lack events.")
    for session, tables in list(result.orphans.items())[:LOST_SHOWN]:
        rows = ", ".join(f"{count} of {name}" for name, count in sorted(tables.items()))
        said.append(f"Session {session} has no row of its own; written all the same: {rows}.")
    if len(result.orphans) > LOST_SHOWN:
        counts = sum((Counter(tables) for tables in result.orphans.values()), Counter[str]())
        said.append(f"{len(result.orphans)} such sessions in all, with {counted(counts.total(), 'row')}.")
    if not said and not result.salvaged.damaged and not result.salvaged.pages_damaged:
        said.append("As far as the rows tell, nothing is missing.")
    if result.forgotten:
        said.append(f"{counted(result.forgotten, 'row')} of deleted sessions stay deleted.")
    return said
