"""The daemon and what it writes: who runs, whether it answers, the database, the intake log."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from betcode.core.diagnosis.finding import Finding, command, error, info, ok, size_text, some, warning

AGAIN = "; it is built anew from all that is left, and the damaged files are kept"
"""What becomes of a damaged database."""
RECOVER = "betcode db recover"
"""With or without a daemon."""


class Held(StrEnum):
    """Whether anybody holds a lock."""

    NO_FILE = "no_file"
    FREE = "free"
    HELD = "held"
    HIDDEN = "hidden"
    """It could not be found out."""


@dataclass(frozen=True, slots=True)
class Lock:
    """A lock file, looked at without taking the lock. `pids` are those that the kernel names as holders."""

    state: Held
    pids: tuple[int, ...] = ()
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Daemon:
    """What is known of the daemon of this data directory."""

    lock: Lock
    noted_pid: int | None = None
    """The pid in the lock file."""
    noted_lives: bool = False
    socket: str = ""
    socket_exists: bool = False
    socket_problem: str = ""
    socket_hint: str = ""
    answers: bool = False
    problem: str = ""
    """Why it does not answer."""
    pid: int | None = None
    version: str = ""
    started_at: str = ""
    database_path: str = ""
    database_state: str = ""

    @property
    def runs(self) -> bool:
        """Whether a daemon of this data directory lives, as far as anybody can tell."""
        return self.lock.state is Held.HELD or (self.answers and self.lock.state is Held.HIDDEN)


@dataclass(frozen=True, slots=True)
class Database:
    """What was found in the database file, looked at without changing it."""

    path: str
    exists: bool
    size: int = 0
    log_size: int = 0
    header: str = ""
    """What is wrong with the beginning of the file."""
    not_looked: str = ""
    """Why it could not be looked at; nothing is known of it then."""
    damage: str = ""
    finished: bool = True
    """Whether the whole file was checked in the time there was."""
    schema: int | None = None
    newest_schema: int = 0
    foreign: bool = False
    rows: int = 0
    bad_rows: tuple[str, ...] = ()
    """Rows whose checksum is wrong: their table and key."""
    holes: tuple[str, ...] = ()
    """Sessions that lack events between others; only where that was looked for."""
    behind: tuple[str, ...] = ()
    """Sessions of which the database knows less than was committed."""
    strangers: tuple[str, ...] = ()
    """Sessions that have a folder and are not in the database."""
    others_left: bool = False
    """Whether sessions' folders or an intake log are there."""


@dataclass(frozen=True, slots=True)
class Damage:
    """A stretch of the intake log that cannot be read. `torn_end`: an append was interrupted, nobody was told of it."""

    segment: int
    offset: int
    lost_bytes: int
    torn_end: bool
    detail: str


@dataclass(frozen=True, slots=True)
class Intake:
    """The intake log as it was read, newest segment first."""

    directory: str
    exists: bool
    records: int = 0
    segments: int = 0
    unread: int = 0
    """Segments for which there was no time."""
    damage: tuple[Damage, ...] = ()
    problem: str = ""
    live: bool = False
    """A daemon writes to it meanwhile."""


def judge_daemon(found: Daemon, *, client_version: str, database_path: str) -> list[Finding]:
    """Whether a daemon runs, answers, is the one of this data directory and of this version."""
    findings = [_judge_lock(found)]
    if found.socket_problem:
        findings.append(error("daemon.socket", found.socket_problem, found.socket_hint))
    if not found.answers:
        return [*findings, _judge_silence(found)]
    findings.append(ok("daemon.running", f"the daemon answers: pid {found.pid}, since {found.started_at}"))
    if found.version == client_version:
        findings.append(ok("daemon.version", f"the daemon is betcode {found.version}, as this command"))
    else:
        what = f"the daemon is betcode {found.version}, this command is {client_version}"
        findings.append(warning("daemon.version", what, "betcode daemon upgrade"))
    if found.database_path and found.database_path != database_path:
        what = f"the daemon on {found.socket} serves another data directory: its database is {found.database_path}"
        findings.append(error("daemon.data", what, "unset BETCODE_RUNTIME_DIR"))
    return findings


def _judge_lock(found: Daemon) -> Finding:
    name, lock = "daemon.lock", found.lock
    if lock.state is Held.HIDDEN:
        return warning(name, f"whether a daemon holds the lock is not known: {lock.problem}", "betcode daemon status")
    if lock.state is Held.HELD:
        holder = found.pid or found.noted_pid
        if found.answers and found.noted_pid not in (None, found.pid):
            what = f"the daemon that answers is pid {found.pid}, and the lock was taken by pid {found.noted_pid}"
            return error(name, what, "betcode daemon stop && betcode daemon start")
        return ok(name, f"one daemon has this data directory: pid {holder}")
    if found.answers:
        what = f"the daemon (pid {found.pid}) does not hold the lock of this data directory: it was removed or replaced"
        return error(name, what, "betcode daemon stop && betcode daemon start")
    return ok(name, "no daemon has this data directory")


def _judge_silence(found: Daemon) -> Finding:
    name = "daemon.running"
    if found.lock.state is Held.HELD:
        pid = found.noted_pid or next(iter(found.lock.pids), None)
        why = found.problem or "it has no socket"
        what = f"a daemon runs (pid {pid or 'unknown'}) and does not answer: {why}. Sessions go on without it"
        end = f"kill -9 {pid}" if pid else f"fuser -k {command(found.socket)}"
        return error(name, what, f"{end}; betcode daemon start")
    if found.socket_exists:
        what = f"no daemon runs; the last one left its socket {found.socket}, which the next one replaces"
        return info(name, what, "betcode daemon start")
    return info(name, "no daemon runs; the next command that needs one starts it", "betcode daemon start")


def judge_database(found: Database, *, daemon_state: str, data: str) -> list[Finding]:
    """Whether the database can be read, is whole and of this version, and whether the daemon can write it."""
    findings = _judge_state(daemon_state)
    if not found.exists and found.others_left:
        what = f"{found.path} is missing, but not sessions' files: the next start makes it anew from what is left"
        return [*findings, error("database.file", what, RECOVER)]
    if not found.exists:
        return [*findings, ok("database.file", f"{found.path} does not exist yet")]
    sizes = f"{size_text(found.size)}, write-ahead log {size_text(found.log_size)}"
    if found.header:
        return [*findings, error("database.file", f"{found.header} ({found.path}, {sizes}){AGAIN}", RECOVER)]
    findings.append(ok("database.file", f"{found.path}, {sizes}"))
    if found.not_looked:
        what = f"the content was not checked: {found.not_looked}"
        return [*findings, info("database.check", what, "betcode daemon start")]
    if found.damage:
        return [*findings, error("database.check", f"the database is damaged: {found.damage}{AGAIN}", RECOVER)]
    findings += _judge_schema(found)
    if found.bad_rows:
        what = f"{len(found.bad_rows)} rows are not what was written: {some(found.bad_rows)}{AGAIN}"
        findings.append(error("database.rows", what, RECOVER))
    if found.holes:
        what = f"{len(found.holes)} sessions lack events between others: {some(found.holes)}{AGAIN}"
        findings.append(error("database.holes", what, RECOVER))
    if found.behind:
        what = f"the database has lost the end of {len(found.behind)} sessions: {some(found.behind)}"
        findings.append(error("database.behind", what, "betcode daemon start"))
    if found.strangers:
        what = f"{len(found.strangers)} sessions have files and are not in the database: {some(found.strangers)}"
        findings.append(info("database.strangers", what, command("ls", "-l", f"{data}/sessions/{found.strangers[0]}")))
    if not found.finished:
        hint = command("sqlite3", "-readonly", found.path, "PRAGMA quick_check")
        what = f"no damage was found in the time there was ({found.rows:,} rows)"
        findings.append(info("database.check", what, hint))
    elif not found.bad_rows and not found.holes:
        findings.append(ok("database.check", f"the database is whole ({found.rows:,} rows, each with its checksum)"))
    return findings


def _judge_state(state: str) -> list[Finding]:
    """What the daemon says of its database."""
    name = "database.state"
    match state:
        case "":
            return []
        case "ok":
            return [ok(name, "the daemon reads and writes it")]
        case "degraded":
            what = "the daemon cannot write to the database just now; nothing is acknowledged until the cause is gone"
            return [error(name, what, "df -h; betcode daemon logs -n 20")]
        case _:
            what = f"the daemon has stopped using its database: {state}"
            return [error(name, what, "betcode daemon logs -n 50; betcode daemon stop; betcode daemon start")]


def _judge_schema(found: Database) -> list[Finding]:
    name, newest = "database.schema", found.newest_schema
    if found.foreign:
        what = f"{found.path} is the database of another program"
        return [error(name, what, command("mv", found.path, f"{found.path}.foreign"))]
    if found.schema is None:
        return []
    if found.schema == 0:
        return [ok(name, "the database is empty; the daemon makes its tables")]
    if found.schema > newest:
        what = f"the database has schema {found.schema}; this version knows schemas up to {newest}"
        return [error(name, what, "pip install --upgrade betcode")]
    if found.schema < newest:
        what = f"schema {found.schema}; the next start of a daemon brings it to {newest}"
        return [info(name, what, "betcode daemon upgrade")]
    return [ok(name, f"schema {found.schema}, the newest")]


def judge_intake(found: Intake, *, data: str) -> list[Finding]:
    """Whether what was acknowledged can be read a second time."""
    name = "intake.readable"
    if found.problem:
        mend = command("chmod", "-R", "u+rwX", found.directory)
        return [error(name, f"the intake log cannot be read: {found.problem}", mend)]
    if not found.exists:
        return [ok(name, "there is no intake log yet")]
    findings = []
    bad = [d for d in found.damage if not d.torn_end]
    torn = [d for d in found.damage if d.torn_end]
    if bad:
        where = some([f"{d.lost_bytes} bytes at {d.offset} of segment {d.segment} ({d.detail})" for d in bad])
        what = f"{len(bad)} places of the intake log cannot be read; only a whole database has what they held: {where}"
        files = sorted({f"{found.directory}/{d.segment}.log" for d in bad})
        moves = " && ".join(command("mv", file, f"{file}.damaged") for file in files)
        hint = f"betcode daemon stop; cp -a {command(data)} BACKUP && {moves}"
        findings.append(error(name, what, hint))
    if torn and not found.live:
        what = "the last append to the intake log was interrupted and never acknowledged; the next start cuts it off"
        findings.append(info("intake.end", what, "betcode daemon start"))
    if not bad:
        rest = f"; {found.unread} older ones were not read" if found.unread else ""
        findings.append(ok(name, f"{found.records:,} records in {found.segments} segments can be read{rest}"))
    return findings
