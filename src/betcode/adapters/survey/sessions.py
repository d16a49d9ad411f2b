"""The folders of sessions: what holds them, what their keepers wrote, what was left behind."""

from __future__ import annotations

import os
from pathlib import Path

from betcode.adapters.survey.locks import Locks, lives, read_locks
from betcode.core.diagnosis.daemon import Held, Lock
from betcode.core.diagnosis.leftovers import Folder
from betcode.core.diagnosis.runs import Run
from betcode.keeper.journal import JournalReader
from betcode.keeper.records import read_records
from betcode.keeper.report import read_report
from betcode.model import limits

SOCKET = "keeper.sock"


def look_at_folders(sessions: Path) -> tuple[list[Folder], int, list[str]]:
    """The newest folders, how many older ones there are, and those that cannot be looked at. Raises OSError."""
    try:
        with os.scandir(sessions) as entries:
            found = [(entry.stat().st_mtime, entry.name) for entry in entries if entry.is_dir(follow_symlinks=False)]
    except FileNotFoundError:
        return [], 0, []
    newest = [name for _, name in sorted(found, reverse=True)]
    locks = read_locks()
    folders: list[Folder] = []
    hidden: list[str] = []
    for name in newest[: limits.DOCTOR_SESSIONS_MAX]:
        try:
            folders.append(_folder(sessions / name, locks))
        except FileNotFoundError:
            continue  # deleted meanwhile
        except OSError:
            hidden.append(str(sessions / name))
    return folders, len(newest[limits.DOCTOR_SESSIONS_MAX :]), hidden


def _folder(folder: Path, locks: Locks) -> Folder:
    lock = locks.look(folder / "lock")
    if lock.state is Held.HIDDEN:
        raise OSError(lock.problem)
    socket = folder / SOCKET
    held = lock.state is Held.HELD
    keeper = claude = None
    if held:
        keeper, claude = _holders(folder)
    return Folder(
        folder.name, str(folder), held, keeper=keeper, claude=claude, socket=str(socket) if socket.exists() else ""
    )


def _holders(folder: Path) -> tuple[int | None, int | None]:
    """Keeper and claude of the newest run of which one lives."""
    for run in _runs(folder):
        facts = read_report(str(folder / f"{run}.run")) or {}
        keeper = _alive(facts.get("keeper_pid"), facts.get("keeper_start"))
        claude = _alive(facts.get("claude_pid"), facts.get("claude_start"))
        if keeper or claude:
            return keeper, claude
    return None, None


def _alive(pid: object, start: object) -> int | None:
    return pid if isinstance(pid, int) and lives(pid, start) else None


def _runs(folder: Path) -> list[int]:
    """The newest runs, newest first. Raises OSError."""
    runs = JournalReader(str(folder)).runs()
    return runs[: -limits.DOCTOR_RUNS_MAX - 1 : -1]


def look_at_lock(folder: Path) -> tuple[Lock, int | None, int | None]:
    """Whether a session's lock is held, and by which keeper and claude."""
    lock = read_locks().look(folder / "lock")
    try:
        return (lock, *_holders(folder)) if lock.state is Held.HELD else (lock, None, None)
    except OSError:
        return lock, None, None


def look_at_runs(folder: Path) -> tuple[list[Run], int]:
    """The newest runs of a session, oldest first, and how many older ones there are. Raises OSError."""
    try:
        total = len(JournalReader(str(folder)).runs())
    except FileNotFoundError:
        return [], 0
    newest = _runs(folder)
    return [_run(folder, run) for run in reversed(newest)], total - len(newest)


def _run(folder: Path, run: int) -> Run:
    begun = read_report(str(folder / f"{run}.run")) or {}
    report = read_report(str(folder / f"{run}.exit"))
    segments = JournalReader(str(folder)).segments(run)
    try:
        records = read_records(str(folder / f"{run}.in"))
    except OSError:
        records = []
    ended = {str(r.get("id")) for r in records if r.get("state") in ("done", "failed")}
    begun_lines = {str(r.get("id")) for r in records if r.get("state") == "intent"}
    keeper, claude = begun.get("keeper_pid"), begun.get("claude_pid")
    started = begun.get("started_unix_s")
    return Run(
        run,
        started_unix_s=float(started) if isinstance(started, int | float) else _made(folder, run),
        keeper=keeper if isinstance(keeper, int) else None,
        claude=claude if isinstance(claude, int) else None,
        keeper_lives=_alive(keeper, begun.get("keeper_start")) is not None,
        claude_lives=_alive(claude, begun.get("claude_start")) is not None,
        report=report,
        out_bytes=sum(length for _, length in segments),
        segments=len(segments),
        lines_written=len(ended),
        lines_in_doubt=len(begun_lines - ended),
    )


def _made(folder: Path, run: int) -> float | None:
    """When the first file of a run was last written, where its keeper noted no time."""
    for ending in ("in", "0.out", "exit"):
        try:
            return (folder / f"{run}.{ending}").stat().st_mtime
        except OSError:
            continue
    return None
