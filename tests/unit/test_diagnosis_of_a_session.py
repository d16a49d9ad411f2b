"""A session's history of trouble, from events and keepers' notes; and what it waits for."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from betcode.core.diagnosis.entry import Entry, merged
from betcode.core.diagnosis.finding import Severity
from betcode.core.diagnosis.runs import Run, run_entries
from betcode.core.diagnosis.trouble import Troubles
from betcode.core.diagnosis.waiting import Standing, waits_for
from betcode.model import limits


def troubles(*events: dict[str, Any]) -> Troubles:
    """Fed with these events, numbered."""
    found = Troubles("k3jqabcdef")
    for seq, event in enumerate(events, 1):
        found.feed({"epoch": 1, "seq": seq, "time": f"2026-01-01T00:00:{seq % 60:02}.000Z", **event})
    return found


def message(state: str, reason: str = "", name: str = "m") -> dict[str, Any]:
    return {"kind": "message_state", "message_id": name, "state": state, "reason": reason}


@pytest.mark.parametrize(
    "event, severity, words",
    [
        ({"kind": "notice", "severity": "warning", "message": "odd"}, "warning", "odd"),
        ({"kind": "notice", "severity": "error", "message": "bad"}, "error", "bad"),
        ({"kind": "notice", "severity": "info", "code": "keeper.well", "message": "well again"}, "info", "well again"),
        ({"kind": "status", "state": "BACKING_OFF", "reason": "signal 9"}, "warning", "BACKING_OFF: signal 9"),
        ({"kind": "status", "state": "CRASHED", "reason": "too often"}, "error", "CRASHED: too often"),
        ({"kind": "gap", "unit": "bytes", "first": 3, "last": 9, "cause": "lost"}, "error", "bytes 3 to 9"),
        ({"kind": "error", "code": "invalid_json", "message": "cut", "raw": "{"}, "warning", "invalid_json: cut"),
        (message("failed", "API error 500"), "warning", "failed: API error 500"),
        (message("unknown", "a tool ran"), "error", "unknown: a tool ran"),
        ({"kind": "permission_settled", "permission_id": "p1", "state": "EXPIRED", "by": "time"}, "warning", "p1"),
        ({"kind": "permission_settled", "permission_id": "p1", "state": "CANCELLED", "by": "claude"}, "warning", "p1"),
        ({"kind": "turn_ended", "outcome": "failed", "message_ids": [], "errors": ["x"]}, "warning", "x"),
    ],
)
def test_each_kind_of_trouble_is_kept(event: dict[str, Any], severity: str, words: str) -> None:
    (entry,) = troubles(event).entries
    assert (entry.severity, words in entry.what, entry.seq, entry.epoch) == (severity, True, 1, 1)
    assert entry.kind == event["kind"]


@pytest.mark.parametrize(
    "event",
    [
        {"kind": "notice", "severity": "info", "code": "session.renamed", "message": "x"},
        {"kind": "status", "state": "ACTIVE"},
        {"kind": "assistant", "text": "hello"},
        message("completed"),
        message("queued", "claude is starting"),
        message("cancelled", "by a person"),
        {"kind": "permission_settled", "permission_id": "p1", "state": "ALLOWED"},
        {"kind": "turn_ended", "outcome": "completed", "message_ids": ["m"]},
        {"kind": "something of a later version"},
        {},
    ],
)
def test_what_is_no_trouble_is_left_out(event: dict[str, Any]) -> None:
    assert troubles(event).entries == []


def test_what_was_done_about_it_is_told_too() -> None:
    found = troubles(
        message("delivered"),
        message("started"),
        message("queued", "claude ended; the message is sent again"),
        {"kind": "status", "state": "BACKING_OFF", "reason": "signal 9"},
        {"kind": "status", "state": "SPAWNING"},
        {"kind": "status", "state": "ACTIVE"},
        message("completed"),
        message("completed", name="another"),
    )
    assert [entry.what for entry in found.entries] == [
        "message m queued: claude ended; the message is sent again",
        "the session became BACKING_OFF: signal 9",
        "the session became SPAWNING",
        "message m completed",
    ]


def test_the_question_names_its_tool_and_a_hint_names_the_session() -> None:
    found = troubles(
        {"kind": "permission_asked", "permission_id": "p1", "tool": "Bash"},
        {"kind": "permission_settled", "permission_id": "p1", "state": "EXPIRED", "by": "time"},
        {"kind": "notice", "severity": "error", "message": "x", "hint": "retry it: betcode sessions retry ID"},
    )
    assert "about Bash" in found.entries[0].what
    assert found.entries[1].hint == "retry it: betcode sessions retry k3jqabcdef"


def test_an_unknown_outcome_is_undecided_until_something_is_completed() -> None:
    assert troubles(message("unknown")).undecided == ["m"]
    assert troubles(message("unknown"), message("completed", name="n")).undecided == []


@pytest.mark.req("INV-8")
def test_of_a_long_history_the_newest_are_kept_and_the_others_counted() -> None:
    found = troubles(*[{"kind": "gap", "first": n} for n in range(limits.DOCTOR_HISTORY_MAX + 5)])
    assert (len(found.entries), found.left_out) == (limits.DOCTOR_HISTORY_MAX, 5)
    assert found.entries[-1].seq == limits.DOCTOR_HISTORY_MAX + 5


def test_two_histories_become_one_in_order_of_time_and_each_keeps_its_own() -> None:
    def entry(time: str, what: str) -> Entry:
        return Entry(time, Severity.INFO, "notice", what)

    first = [entry("2", "a"), entry("1", "b"), entry("4", "c")]  # a clock that was set back
    second = [entry("1", "x"), entry("3", "y"), entry("9", "z")]
    assert [e.what for e in merged(first, second)] == ["x", "a", "b", "y", "c", "z"]


# --- runs -----------------------------------------------------------------------------------------------------------

KILLED = {"reason": "exited", "signal": 9, "code": None, "ended_unix_s": 1.8e9, "peak_rss_bytes": 2**28}
RUNS = Run(1, 1.79e9, keeper=5, claude=6, keeper_lives=True, claude_lives=True)


@pytest.mark.parametrize(
    "changes, how, is_trouble",
    [
        ({}, "runs", False),
        ({"keeper_lives": False}, "runs without its keeper", True),
        ({"keeper_lives": False, "claude_lives": False}, "without a report", True),
        ({"report": KILLED}, "killed by signal 9", True),
        ({"report": {"reason": "exited", "code": 1, "signal": None}}, "by itself: exit code 1", True),
        ({"report": {"reason": "exited", "code": 0, "signal": None}}, "by itself: exit code 0", False),
        ({"report": {"reason": "term", "code": None, "signal": 15}}, "by the daemon (SIGTERM): signal 15", False),
        ({"report": {"reason": "silence", "code": 0}}, "no daemon came", True),
        ({"report": {"reason": "homeless", "code": 0}}, "folder was removed", True),
        ({"report": {"reason": "of a later version", "code": 3}}, "of a later version: exit code 3", True),
    ],
)
def test_a_run_says_how_it_ended(changes: dict[str, Any], how: str, is_trouble: bool) -> None:
    run = replace(RUNS, **changes)
    assert how in run.how()
    assert bool(run_entries([run])) is is_trouble
    assert run.fields()["how"] == run.how()


def test_a_run_that_went_wrong_is_followed_by_the_start_of_the_next() -> None:
    dead = replace(RUNS, report={**KILLED, "stderr_tail": ["first", "last"]}, lines_in_doubt=1)
    ended, started = run_entries([dead, replace(RUNS, run=2)])
    assert (ended.kind, ended.run, started.kind, started.run) == ("run_ended", 1, "run_started", 2)
    assert "peak memory 256.0 MiB; 1 lines were begun and perhaps not written; last words: first | last" in ended.what


def test_odd_times_of_a_run_are_left_out() -> None:
    assert (replace(RUNS, started_unix_s=1e300).started, replace(RUNS, started_unix_s=None).started) == ("", "")
    assert replace(RUNS, report={"ended_unix_s": "soon", "stderr_tail": "x"}).ended == ""


# --- what it waits for ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes, command, needs_you",
    [
        ({}, "betcode send s TEXT", False),
        ({"state": "NEW"}, "betcode send s TEXT", False),
        ({"undecided": True}, "betcode send s 'go on'", True),
        ({"state": "CRASHED"}, "betcode sessions retry s", True),
        ({"state": "CRASHED", "has_daemon": False}, "betcode daemon start", True),
        ({"state": "CLOSED", "has_daemon": False}, "betcode sessions show s", False),
        ({"state": "ACTIVE"}, "betcode attach s", False),
        ({"state": "ACTIVE", "questions": ["p1"]}, "betcode permissions allow p1", True),
        ({"state": "SPAWNING"}, "betcode attach s", False),
        ({"state": "WAITING_API"}, "betcode attach s", False),
        ({"state": "BACKING_OFF"}, "betcode sessions retry s", False),
        ({"held": True, "messages": [("queued", "held")]}, "betcode sessions release s", True),
        ({"messages": [("queued", "other sessions have all slots")]}, "betcode sessions queue s", False),
        ({"has_daemon": False}, "betcode send s TEXT", False),
        ({"has_daemon": False, "process_lives": True}, "betcode daemon start", False),
        ({"has_daemon": False, "messages": [("queued", "x")]}, "betcode daemon start", False),
        ({"has_daemon": False, "state": ""}, "betcode daemon start", False),
        ({"state": "A STATE OF A LATER VERSION"}, "betcode send s TEXT", False),
    ],
)
def test_the_last_line_says_what_it_waits_for(changes: dict[str, Any], command: str, needs_you: bool) -> None:
    now = waits_for(replace(Standing("s", "IDLE"), **changes))
    assert (now.command, now.needs_you) == (command, needs_you), now
    assert not needs_you or now.severity in (Severity.WARNING, Severity.ERROR)
