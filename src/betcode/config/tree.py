"""The typed tree of all settings: for each its type, range, default and a sentence.

A setting is added here and nowhere else: loading, `betcode config show` and docs/settings.md read this tree. Two marks
say how a setting may be used:
  reload   a running daemon takes the new value on SIGHUP; without the mark it takes it at its next start.
  project  a project's own files may give it. They come with a repository, which may be hostile: only what a session's
           owner cannot be harmed by is marked, and never what names a program, a variable, a directory or a total.
"""

from __future__ import annotations

import os
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct, field

from betcode.model import limits

LogLevel = Literal["debug", "info", "warning", "error"]
UnknownOutcome = Literal["tell", "ask"]

MIB = 1024 * 1024
DAY_S = 86_400.0
SLOTS_MAX = 64
PATH_PATTERN = "^([/~].*)?$"
"""Absolute or in the home directory: in a file a relative path has no meaning."""
PROGRAM_PATTERN = "^([/~].*|[A-Za-z0-9_][^/]*)?$"
"""The same, or a name to be looked up on PATH."""
MODEL_PATTERN = r"^([A-Za-z0-9][A-Za-z0-9._:/@\[\]-]*)?$"
"""Aliases, API names and cloud identifiers. It does not begin with a hyphen: claude would read it as an option."""
VARIABLE_PATTERN = r"^[A-Za-z_][A-Za-z0-9_]*\*?$"
"""A name, or the beginning of names with a star after it."""
VARIABLES_MAX = 200
"""Names in `agent.env_pass`; an environment has about 100 variables."""
DOLLARS_MAX = 1_000_000.0
"""Beyond it a limit is a typing error."""
NAME_CHARS_MAX = limits.NAME_CHARS_MAX

Variable = Annotated[str, Meta(pattern=VARIABLE_PATTERN, max_length=NAME_CHARS_MAX)]


WORDS = ("default_text", "range_text", "is_path")


def about(sentence: str, *, reload: bool, project: bool = False, **more: Any) -> Meta:
    """The sentence and marks of a setting, and what msgspec checks (`ge`, `le`, `pattern`, `max_length`).

    `range_text` says in words what a pattern allows, `default_text` what a default that depends on the machine is;
    `is_path` has `~` expanded.
    """
    extra = {"reload": reload, "project": project} | {word: more.pop(word) for word in WORDS if word in more}
    return Meta(description=sentence, extra=extra, **more)


def default_slots() -> int:
    """Twice the processors: a turn mostly waits for the API (PS-8)."""
    return min(SLOTS_MAX, max(2, 2 * (os.cpu_count() or 1)))


class AgentConfig(Struct, frozen=True, kw_only=True):
    """How claude is found and started."""

    claude: Annotated[
        str,
        about(
            "The claude executable; empty: the one on PATH, else the one of the package `claude-agent-sdk`.",
            reload=True,
            range_text="an absolute path, one that begins with ~, or a name on PATH",
            is_path=True,
            pattern=PROGRAM_PATTERN,
            max_length=limits.PATH_CHARS_MAX,
        ),
    ] = ""
    config_dir: Annotated[
        str,
        about(
            "`CLAUDE_CONFIG_DIR` of new sessions, that is the account they use; empty: as in the environment.",
            reload=True,
            range_text="an absolute path or one that begins with ~",
            is_path=True,
            pattern=PATH_PATTERN,
            max_length=limits.PATH_CHARS_MAX,
        ),
    ] = ""
    model: Annotated[
        str,
        about(
            "Model of new sessions, an alias or a full name; empty: the choice of claude.",
            reload=True,
            project=True,
            range_text=f"at most {NAME_CHARS_MAX} letters, digits and ._:/@[]-, no hyphen first",
            pattern=MODEL_PATTERN,
            max_length=NAME_CHARS_MAX,
        ),
    ] = ""
    env_pass: Annotated[
        tuple[Variable, ...],
        about(
            "Variables that claude gets beside the documented ones; a star at the end stands for any rest of the name.",
            reload=True,
            range_text=f"at most {VARIABLES_MAX} names of variables",
            max_length=VARIABLES_MAX,
        ),
    ] = ()
    ready_wait_s: Annotated[
        float, about("Longest time from starting claude to its first answer.", reload=True, ge=5, le=600)
    ] = limits.READY_WAIT_S
    memory_bytes_max: Annotated[
        int,
        about(
            "Memory of a session's processes, tools and MCP servers included, above what claude itself was measured"
            " to need; at this limit they are ended, with the turn.",
            reload=True,
            ge=32 * MIB,
            le=1024 * 1024 * MIB,
        ),
    ] = limits.SESSION_MEMORY_BYTES_MAX
    files_max: Annotated[
        int,
        about(
            "Open files of each process of a session. A program may raise that itself, to"
            f" {limits.FILES_MAX:,} or to what is set here.",
            reload=True,
            ge=64,
            le=1_000_000,
        ),
    ] = limits.PROCESS_FILES_MAX
    starts_at_once: Annotated[
        int, about("Processes of claude that may be starting at the same time.", reload=False, ge=1, le=32)
    ] = limits.STARTS_AT_ONCE


class SupervisionConfig(Struct, frozen=True, kw_only=True):
    """What is done about a claude that crashes, is silent, goes on or prints nonsense (PS-2 to PS-5, ND-6, ND-7)."""

    backoff_first_s: Annotated[
        float, about("First delay before claude is started again after a crash.", reload=True, ge=0.1, le=5)
    ] = limits.BACKOFF_FIRST_S
    backoff_max_s: Annotated[
        float, about("Longest delay; each is twice the one before it.", reload=True, ge=5, le=600)
    ] = limits.BACKOFF_MAX_S
    crashes_max: Annotated[
        int, about("Crashes within `crash_window_s` after which nothing is started again.", reload=True, ge=1, le=100)
    ] = limits.CRASHES_MAX
    crash_window_s: Annotated[float, about("See `crashes_max`.", reload=True, ge=10, le=3_600)] = limits.CRASH_WINDOW_S
    interrupt_grace_s: Annotated[
        float, about("From the interrupt of a turn to SIGTERM.", reload=True, ge=1, le=120)
    ] = limits.INTERRUPT_GRACE_S
    stop_grace_s: Annotated[
        float, about("From SIGTERM to SIGKILL of the process and its tools.", reload=True, ge=1, le=60)
    ] = limits.STOP_GRACE_S
    stall_s: Annotated[
        float,
        about(
            "Silence of the API inside a turn after which the turn is interrupted, and goes on later.",
            reload=True,
            ge=30,
            le=900,
        ),
    ] = limits.STALL_S
    hang_s: Annotated[
        float,
        about(
            "Any other silence of a turn, with no tool running and nobody asked, after which it is interrupted.",
            reload=True,
            ge=60,
            le=7_200,
        ),
    ] = limits.HANG_S
    idle_process_s: Annotated[
        float,
        about(
            "A process of claude that has nothing to do, no background tasks and no open question for that long is "
            "ended; the next message starts it again. 0: never.",
            reload=True,
            ge=0,
            le=DAY_S,
        ),
    ] = limits.IDLE_PROCESS_S
    parse_errors_max: Annotated[
        int,
        about(
            "Unreadable lines of claude within `parse_error_window_s` after which its process is replaced.",
            reload=True,
            ge=2,
            le=1_000,
        ),
    ] = limits.PARSE_ERRORS_MAX
    parse_error_window_s: Annotated[float, about("See `parse_errors_max`.", reload=True, ge=10, le=3_600)] = (
        limits.PARSE_ERROR_WINDOW_S
    )
    unknown_outcome: Annotated[
        UnknownOutcome,
        about(
            "When claude died with a tool running: tell the next claude that the outcome is unknown, or ask you first.",
            reload=True,
        ),
    ] = "tell"
    max_payload_bytes: Annotated[
        int, about("A longer line of claude is cut and marked as cut.", reload=False, ge=MIB, le=100 * MIB)
    ] = limits.LINE_BYTES_MAX


class DaemonConfig(Struct, frozen=True, kw_only=True):
    """The daemon: its log, and how much it admits (PS-9)."""

    log_level: Annotated[LogLevel, about("Least severity that is written to the log.", reload=True)] = "info"
    log_bytes_max: Annotated[
        int,
        about("Size at which a log file is renamed to `.1` and a new one begun.", reload=False, ge=MIB, le=1024 * MIB),
    ] = limits.LOG_BYTES_MAX
    slots: Annotated[
        int,
        about(
            "Turns that may run at the same time.",
            reload=True,
            ge=1,
            le=SLOTS_MAX,
            default_text="twice the processors, at least 2",
        ),
    ] = field(default_factory=default_slots)
    queue: Annotated[int, about("Sessions that may wait for a slot.", reload=True, ge=0, le=500)] = 50
    processes_per_slot: Annotated[
        int,
        about(
            "Processes of claude that may live, for each slot: those that work, rest or wait for a person.",
            reload=True,
            ge=1,
            le=64,
        ),
    ] = limits.PROCESSES_PER_SLOT
    memory_share: Annotated[
        float,
        about("Share of the system's memory that all sessions together may use.", reload=True, ge=0.1, le=1),
    ] = limits.MEMORY_SHARE
    connections_max: Annotated[int, about("Clients connected at the same time.", reload=False, ge=1, le=10_000)] = (
        limits.CONNECTIONS_MAX
    )
    clients_per_session_max: Annotated[int, about("Clients attached to one session.", reload=True, ge=1, le=10_000)] = (
        limits.CLIENTS_PER_SESSION_MAX
    )
    messages_waiting_max: Annotated[
        int, about("Messages of one session that may wait; more are refused.", reload=True, ge=1, le=1_000)
    ] = limits.MESSAGES_WAITING_MAX


class PermissionConfig(Struct, frozen=True, kw_only=True):
    """How long a question waits for an answer before it is denied (PM-2)."""

    ttl_s: Annotated[
        float,
        about(
            "Life of a question of a session with a person at it.", reload=True, project=True, ge=3_600, le=30 * DAY_S
        ),
    ] = limits.PERMISSION_TTL_S
    headless_ttl_s: Annotated[
        float,
        about("Life of a question of a session without a terminal.", reload=True, project=True, ge=1, le=DAY_S),
    ] = limits.PERMISSION_TTL_HEADLESS_S


class LimitsConfig(Struct, frozen=True, kw_only=True):
    """What turns may cost, by claude's own list of prices (see `betcode usage`)."""

    cost_per_session_usd: Annotated[
        float,
        about(
            "Dollars that the turns of one session may cost: people are told at 80 %, and at the limit no new turn"
            " begins; what waits stays queued. 0: no limit.",
            reload=True,
            ge=0,
            le=DOLLARS_MAX,
        ),
    ] = 0.0
    cost_per_day_usd: Annotated[
        float,
        about("The same for all sessions together in one local day.", reload=True, ge=0, le=DOLLARS_MAX),
    ] = 0.0


class StorageConfig(Struct, frozen=True, kw_only=True):
    """The database."""

    message_key_days: Annotated[
        int, about("How long the keys of deleted messages are remembered.", reload=True, ge=30, le=3_650)
    ] = limits.MESSAGE_KEY_DAYS
    allow_network_disk: Annotated[
        bool,
        about("Use a data directory on a network disk; a database is damaged there sooner or later.", reload=False),
    ] = False


class Config(Struct, frozen=True, kw_only=True):
    """All settings, by section."""

    agent: AgentConfig = field(default_factory=AgentConfig)
    supervision: SupervisionConfig = field(default_factory=SupervisionConfig)
    daemon: DaemonConfig = field(default_factory=DaemonConfig)
    permission: PermissionConfig = field(default_factory=PermissionConfig)
    limits: LimitsConfig = field(default_factory=LimitsConfig)
    storage: StorageConfig = field(default_factory=StorageConfig)
