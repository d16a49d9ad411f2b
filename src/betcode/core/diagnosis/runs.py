"""The runs of a session, each one claude process, as their keepers noted them; and which of them went wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from betcode.core.diagnosis.entry import Entry
from betcode.core.diagnosis.finding import Severity, size_text
from betcode.core.instant import iso
from betcode.model import limits

ASKED = ("close_stdin", "term", "kill", "keeper_terminated")
"""Reasons of an end that somebody wanted."""
IN_WORDS = {
    "close_stdin": "claude was asked to end",
    "term": "claude was ended by the daemon (SIGTERM)",
    "kill": "claude was ended by the daemon (SIGKILL)",
    "keeper_terminated": "claude was ended because its keeper was told to end (SIGTERM)",
    "silence": "claude was ended: no daemon came and nothing was printed for too long",
    "homeless": "claude was ended: the session's folder was removed",
}
"""The reasons that a keeper gives, but for `exited`, which stands for all that nobody asked for."""


@dataclass(frozen=True, slots=True)
class Run:
    """One run. `report` is what its keeper wrote at the end; None when it wrote none."""

    run: int
    started_unix_s: float | None = None
    keeper: int | None = None
    claude: int | None = None
    keeper_lives: bool = False
    claude_lives: bool = False
    report: dict[str, Any] | None = None
    out_bytes: int = 0
    segments: int = 0
    lines_written: int = 0
    lines_in_doubt: int = 0
    """Lines that the keeper began to write and did not note as written."""

    @property
    def started(self) -> str:
        """When it began; empty when that is not known."""
        return _time(self.started_unix_s)

    @property
    def ended(self) -> str:
        """When it ended; empty when that is not known."""
        return _time((self.report or {}).get("ended_unix_s"))

    @property
    def peak_bytes(self) -> int | None:
        """Peak memory of claude and what it waited for."""
        peak = (self.report or {}).get("peak_rss_bytes")
        return peak if isinstance(peak, int) else None

    @property
    def stderr(self) -> list[str]:
        """The last lines of its standard error."""
        lines = (self.report or {}).get("stderr_tail")
        return [str(line) for line in lines][-limits.STDERR_LINES_SHOWN :] if isinstance(lines, list) else []

    @property
    def is_wanted_end(self) -> bool:
        """Whether it ended well, or because somebody wanted it."""
        report = self.report or {}
        return report.get("reason") in ASKED or (report.get("reason") == "exited" and report.get("code") == 0)

    def how(self) -> str:
        """How it ended, or that it runs, in words."""
        report = self.report
        if report is None:
            if self.keeper_lives and self.claude_lives:
                return "runs"
            if self.claude_lives:
                return "runs without its keeper"
            return "claude ended without a report: its keeper was killed, or the machine stopped"
        reason, signal = str(report.get("reason", "")), report.get("signal")
        if reason != "exited":
            return f"{IN_WORDS.get(reason, reason)}: {_exit(report)}"
        return f"claude was killed by signal {signal}" if signal else f"claude ended by itself: {_exit(report)}"

    def fields(self) -> dict[str, object]:
        """As one JSON object."""
        report = self.report or {}
        return {
            "run": self.run,
            "started": self.started,
            "ended": self.ended,
            "how": self.how(),
            "code": report.get("code"),
            "signal": report.get("signal"),
            "reason": report.get("reason"),
            "has_report": self.report is not None,
            "keeper_pid": self.keeper,
            "claude_pid": self.claude,
            "keeper_lives": self.keeper_lives,
            "claude_lives": self.claude_lives,
            "stderr_tail": self.stderr,
            "peak_rss_bytes": self.peak_bytes,
            "journal_bytes": self.out_bytes,
            "journal_files": self.segments,
            "lines_written": self.lines_written,
            "lines_in_doubt": self.lines_in_doubt,
        }


def run_entries(runs: Sequence[Run]) -> list[Entry]:
    """Ends that nobody wanted, and the starts that followed them, in order."""
    entries: list[Entry] = []
    before: Run | None = None
    for run in runs:
        if before is not None and not _is_well(before):
            what = f"claude was started again: run {run.run}, claude pid {run.claude}, keeper pid {run.keeper}"
            entries.append(Entry(run.started, Severity.INFO, "run_started", what, run=run.run))
        if not _is_well(run):
            entries.append(Entry(run.ended or run.started, Severity.WARNING, "run_ended", _told(run), run=run.run))
        before = run
    return entries


def _is_well(run: Run) -> bool:
    return (run.keeper_lives and run.claude_lives and run.report is None) or run.is_wanted_end


def _told(run: Run) -> str:
    parts = [f"run {run.run} (pid {run.claude}, since {run.started or 'unknown'}): {run.how()}"]
    if run.peak_bytes:
        parts.append(f"peak memory {size_text(run.peak_bytes)}")
    if run.lines_in_doubt:
        parts.append(f"{run.lines_in_doubt} lines were begun and perhaps not written")
    if run.stderr:
        parts.append("last words: " + " | ".join(run.stderr))
    return "; ".join(parts)


def _exit(report: dict[str, Any]) -> str:
    if report.get("signal"):
        return f"signal {report['signal']}"
    return f"exit code {report.get('code')}"


def _time(unix_s: object) -> str:
    if not isinstance(unix_s, int | float):
        return ""
    try:
        return iso(unix_s)
    except (ValueError, OverflowError, OSError):
        return ""
