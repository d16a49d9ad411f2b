"""How a command ends, from the events of its session alone; and when a session is at rest."""

from typing import Any

import pytest

from betcode.cli.idle import Idle
from betcode.cli.outcome import Task, result
from betcode.client.session_view import Durable
from betcode.client.stream import Attached

OURS = "ours"
SESSION = {"id": "abcdefghij", "claude_session_id": "c"}


def state(name: str, reason: str = "", message: str = OURS) -> dict[str, Any]:
    return {"kind": "message_state", "message_id": message, "state": name, "reason": reason}


def call(name: str) -> dict[str, Any]:
    return {"kind": "tool_call", "tool_use_id": name, "tool": "Bash", "input": {}}


def ended(message: str = OURS, **more: Any) -> dict[str, Any]:
    return {"kind": "turn_ended", "message_ids": [message], "outcome": "completed", **more}


BEGUN = {"kind": "turn_started", "message_id": OURS}
DONE = [ended(), state("completed")]


def task_after(*events: dict[str, Any]) -> Task:
    task = Task(OURS, "abcdefghij")
    for event in events:
        task.take(event)
    return task


@pytest.mark.parametrize(
    "events, code",
    [
        ([BEGUN, *DONE], None),
        ([BEGUN, call("a"), ended(denials=["a"]), state("completed")], "permission.denied"),
        ([BEGUN, call("a"), call("b"), ended(denials=["a"]), state("completed")], None),
        ([BEGUN, call("a"), call("b"), ended(denials=["b"]), state("completed")], "permission.denied"),
        ([call("a"), BEGUN, ended(denials=["a"]), state("completed")], None),
        ([BEGUN, call("a"), ended(denials=["a"]), state("cancelled", "interrupted")], "permission.denied"),
        ([BEGUN, ended(api_error_status=429), state("failed", "API error 429: x")], "agent.rate_limited"),
        ([BEGUN, ended(api_error_status=500), state("failed", "API error 500: x")], "agent.error"),
        ([BEGUN, call("a"), ended(denials=["a"]), state("failed", "x")], "agent.error"),
        ([state("failed", "claude.not_found: no claude")], "claude.not_found"),
        ([state("failed", "moon.full: no claude")], "agent.error"),
        ([BEGUN, call("a"), state("unknown", "claude ended")], "agent.unknown_outcome"),
        ([state("cancelled", "by a person")], "run.interrupted"),
        ([{"kind": "status", "state": "CRASHED", "reason": "exit code 1"}], "agent.crashed"),
        ([ended(message="other", api_error_status=429), state("failed", "x", "other"), BEGUN, *DONE], None),
    ],
)
def test_the_end_of_a_message_decides_the_exit_status(events: list[dict[str, Any]], code: str | None) -> None:
    task = task_after(*events)
    error = task.error()
    assert task.over
    assert (error and error.code) == code
    assert result(task, SESSION, error)["betcode"]["exit_status"] == (error.exit_status if error else 0)


def test_nothing_is_over_before_the_message_is() -> None:
    assert not task_after(state("queued"), BEGUN, ended(message="other"), state("completed", "", "other")).over
    assert not task_after({"kind": "status", "state": "CRASHED"}, {"kind": "status", "state": "SPAWNING"}).over


def test_a_notice_explains_an_error_better_than_its_reason() -> None:
    notice = {
        "kind": "notice",
        "severity": "error",
        "code": "agent.crashed",
        "message": "ended 5 times",
        "hint": "look",
    }
    error = task_after(notice, {"kind": "status", "state": "CRASHED", "reason": "exit code 1"}).error()
    assert error is not None
    assert (str(error), error.hint) == ("ended 5 times", "look")


def test_only_what_claude_does_for_this_message_is_its_answer() -> None:
    task = Task(OURS, "abcdefghij")
    seen = []
    for event in (
        {"kind": "turn_started", "message_id": "other"},
        state("queued"),
        BEGUN,
        state("started"),
        {"kind": "turn_started", "message_id": ""},
        BEGUN,
        *DONE,
    ):
        task.take(event)
        seen.append(task.working)
    assert seen == [False, False, True, True, False, True, True, False]


def test_a_session_is_at_rest_when_all_is_seen_and_nothing_waits() -> None:
    def durable(seq: int, **event: Any) -> Durable:
        return Durable({"epoch": 1, "seq": seq, **event}, b"")

    idle = Idle()
    news: list[tuple[object, bool]] = [
        (Attached({"state": "IDLE"}, 1, 2, False), False),
        (durable(1, kind="note"), False),
        (durable(2, kind="note"), True),
        (durable(3, kind="user_message", message_id=OURS), False),
        (durable(4, kind="status", state="ACTIVE"), False),
        (durable(5, **state("completed")), False),
        (durable(6, kind="status", state="IDLE"), True),
    ]
    for item, at_rest in news:
        idle.take(item)
        assert idle.now is at_rest, item


def test_a_session_without_events_is_at_rest() -> None:
    idle = Idle()
    idle.take(Attached({"state": "NEW"}, 1, 0, False))
    assert idle.now


@pytest.mark.req("PM-2")
@pytest.mark.parametrize(
    "state, by, words",
    [
        ("EXPIRED", "time", "answer in time (betcode permissions)"),
        ("DENIED", "cli /dev/pts/3", "cli /dev/pts/3 denied it."),
        ("", "", "A rule or mode of Claude Code forbids Bash here"),
    ],
)
def test_the_hint_after_a_denial_is_about_what_can_still_be_done(state: str, by: str, words: str) -> None:
    asked = {"kind": "permission_asked", "permission_id": "p1", "tool_use_id": "a"}
    settled = {"kind": "permission_settled", "permission_id": "p1", "state": state, "by": by}
    denied_end = [ended(denials=["a"]), {"kind": "message_state", "message_id": OURS, "state": "completed"}]
    question = [asked, settled] if state else []
    error = task_after(BEGUN, call("a"), *question, *denied_end).error()
    assert error is not None
    assert words in error.hint
    assert "go on with: betcode run --resume abcdefghij PROMPT" in error.hint
    assert "answer the question" not in error.hint
