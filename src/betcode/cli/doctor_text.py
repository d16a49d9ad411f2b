"""Findings and histories of trouble as text for people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from betcode.cli.output import say, table
from betcode.core.diagnosis.entry import Entry
from betcode.core.diagnosis.finding import Finding, Severity, size_text, summary
from betcode.core.diagnosis.runs import Run

WIDTH = len(Severity.WARNING)


def show_findings(findings: Sequence[Finding]) -> None:
    """By group, each with what mends it below it, and a summary at the end."""
    group = ""
    for finding in findings:
        if finding.group != group:
            group = finding.group
            say(group)
        _advised(f"  {finding.severity:{WIDTH}}  ", finding.what, finding.hint)
    say(summary(findings))


def _advised(before: str, what: str, hint: str) -> None:
    """A text whose lines are aligned, and what to do about it."""
    margin = " " * len(before)
    say(before + what.replace("\n", "\n" + margin))
    if hint:
        say(f"{margin}-> {hint}")


def show_history(entries: Sequence[Entry], left_out: int) -> None:
    """What happened, oldest first."""
    say("history")
    if left_out:
        say(f"  {left_out} earlier entries are left out")
    for entry in entries:
        time = entry.time.replace("T", " ").removesuffix("Z")
        _advised(f"  {time:23}  {entry.severity:{WIDTH}}  ", entry.what, entry.hint)
    if not entries:
        say("  no trouble")


def show_runs(runs: Sequence[Run], older: int) -> None:
    """One line a run."""
    if not runs:
        say("runs\n  none")
        return
    say("runs" + (f" (the newest; {older} older ones are left out)" if older else ""))
    rows = [["  RUN", "STARTED", "ENDED", "KEEPER", "CLAUDE", "PEAK", "PRINTED", "HOW"]]
    for run in runs:
        rows.append(
            [
                f"  {run.run}",
                _short(run.started),
                _short(run.ended),
                str(run.keeper or "?"),
                str(run.claude or "?"),
                size_text(run.peak_bytes) if run.peak_bytes else "",
                size_text(run.out_bytes),
                run.how(),
            ]
        )
    say(table(rows))


def show_lock(lock: dict[str, Any]) -> None:
    """Who holds the session."""
    if lock["held"] is None:
        say(f"lock  not known: {lock['problem']}")
    elif lock["held"]:
        say(f"lock  held: keeper pid {lock['keeper_pid'] or 'unknown'}, claude pid {lock['claude_pid'] or 'unknown'}")
    else:
        say("lock  free: no claude runs")


def _short(time: str) -> str:
    return time.replace("T", " ")[:19]
