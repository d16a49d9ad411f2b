"""Settings do what they say: in a daemon that starts with them, and in one that reads them again."""

from __future__ import annotations

import json
import os
import signal
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from betcode.testing.command import Command
from betcode.testing.installation import Installation, installation, scripted

SLOW = {"words": 400, "delta_ms": 50}


@pytest.fixture
def made() -> Iterator[Installation]:
    with installation() as one:
        yield one


@pytest.fixture
def betcode(made: Installation) -> Command:
    return Command(made.env, made.project)


def write(made: Installation, **sections: dict[str, Any]) -> None:
    made.paths.config.mkdir(exist_ok=True)
    made.paths.settings.write_text(json.dumps(sections))


def reload(made: Installation) -> None:
    """Have the daemon read the settings again, and wait until it has."""
    before = made.paths.log.read_text().count("settings read again")
    pid = made.daemon_pid()
    assert pid
    os.kill(pid, signal.SIGHUP)
    end = time.monotonic() + 30
    while made.paths.log.read_text().count("settings read again") == before:
        assert time.monotonic() < end


def active(betcode: Command) -> dict[str, Any]:
    end = time.monotonic() + 30
    while time.monotonic() < end:
        for session in betcode("status", "--json").json().get("sessions", []):
            if session["state"] == "ACTIVE":
                return dict(session)
    raise AssertionError("no session became active")


@pytest.mark.req("CF-1", "RS-4", "INV-8")
def test_the_bound_of_a_sessions_queue_is_obeyed_and_can_be_changed_while_it_runs(
    betcode: Command, made: Installation
) -> None:
    write(made, daemon={"messages_waiting_max": 1})
    with betcode.start("run", scripted("slow", SLOW)) as running:
        session = active(betcode)["id"]
        refused = betcode("send", session, "more")
        assert (refused.status, "already wait in this session" in refused.err) == (4, True)
        write(made, daemon={"messages_waiting_max": 2})
        reload(made)
        assert betcode("send", session, "more").status == 0
        assert betcode("send", session, "still more").status == 4
        running.kill()
    assert betcode("sessions", "delete", "--yes", "--force", session).status == 0


@pytest.mark.req("CF-1", "PS-3")
def test_the_number_of_crashes_that_stop_a_session_is_the_one_that_is_set(betcode: Command, made: Installation) -> None:
    write(made, supervision={"crashes_max": 1})
    with betcode.start("run", scripted("slow", SLOW)) as running:
        session = active(betcode)
        os.kill(session["claude_pid"], signal.SIGKILL)
        _, err = running.communicate(timeout=60)
        assert running.returncode == 1
        assert err.count(b"1 times") == 1, "why it ended is told once"
        assert err.count(b"hint: ") == 1
        assert f"betcode sessions retry {session['id']}".encode() in err
    (now,) = betcode("status", "--json").json()["sessions"]
    assert now["state"] == "CRASHED"


@pytest.mark.req("CF-1", "PM-2")
def test_a_question_lives_as_long_as_the_settings_say(betcode: Command, made: Installation) -> None:
    write(made, permission={"headless_ttl_s": 1})
    step = {"tool": {"name": "Bash", "input": {"command": "touch never.txt"}}}
    ended = betcode("run", scripted("touch", step, {"text": "no"}))
    assert ended.status == 3
    assert not (made.project / "never.txt").exists()


@pytest.mark.req("CF-1", "PS-10")
def test_sessions_of_two_accounts_live_beside_each_other(betcode: Command, made: Installation, tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    for folder in (one, two):
        folder.mkdir()
    write(made, agent={"config_dir": str(one)})
    said = scripted("hello", {"text": "hello"})
    assert betcode("run", said).status == 0
    assert betcode("run", "--claude-config-dir", str(two), said).status == 0
    ids = [s["claude_session_id"] for s in betcode("sessions", "list", "--json").json()["sessions"]]
    kept = [sorted(f.stem for f in folder.glob("projects/*/*.jsonl")) for folder in (one, two)]
    assert kept == [[ids[1]], [ids[0]]]
    refused = betcode("run", "--continue", "--claude-config-dir", str(one), said)
    assert (refused.status, "only for a new session" in refused.err) == (5, True)


@pytest.mark.req("OB-2")
def test_the_callers_trace_reaches_the_log_and_claudes_own_environment(betcode: Command, made: Installation) -> None:
    trace = uuid.uuid4().hex
    caller = betcode.with_env(TRACEPARENT=f"00-{trace}-00f067aa0ba902b7-01")
    show = {"tool": {"name": "Bash", "input": {"command": "printenv TRACEPARENT"}}}
    ended = caller("run", "--allow", "Bash(printenv *)", "--output-format", "json", scripted("x", show, {"text": "ok"}))
    assert ended.status == 0, ended
    session = betcode.session_of(ended)
    events = betcode("sessions", "show", "--json", session).lines()
    (result,) = [e["text"] for e in events if e["kind"] == "tool_result"]
    version, got, span, flags = result.strip().split("-")
    assert (version, got, flags) == ("00", trace, "01")
    assert len(span) == 16
    assert span != "00f067aa0ba902b7", "a span of its own"
    lines = [json.loads(line) for line in made.paths.log.read_text().splitlines()]
    of_session = [line for line in lines if line.get("session_id") == session]
    assert of_session
    assert {line["trace_id"] for line in of_session} == {trace}
    assert all(len(line["trace_id"]) == 32 for line in lines), "every line has one"


@pytest.mark.req("CF-1")
def test_the_settings_can_be_looked_at_and_checked_without_a_daemon(betcode: Command, made: Installation) -> None:
    assert betcode("config", "path").out.strip() == str(made.paths.settings)
    assert betcode("config", "check").status == 0
    write(made, supervision={"crashes_max": 7, "crash_max": 1})
    checked = betcode("config", "check")
    assert checked.status == 0
    assert "supervision.crashes_max" in checked.out + checked.err, "an unknown key warns, with the nearest known one"
    shown = betcode("config", "show", "--json").json()["settings"]["supervision.crashes_max"]
    assert shown["value"] == 7
    assert str(made.paths.settings) in shown["source"]
    assert betcode("status").status == 2


@pytest.mark.req("CF-1", "RS-4", "OB-1")
def test_an_unknown_key_is_told_at_each_start_and_reload_on_the_terminal_and_in_the_log(
    betcode: Command, made: Installation
) -> None:
    def logged() -> list[str]:
        lines = [json.loads(line) for line in made.paths.log.read_text().splitlines()]  # whole lines of JSON only
        assert all(len(line["trace_id"]) == 32 for line in lines)
        return [line["detail"] for line in lines if line["message"] == "a setting is not used as it stands"]

    write(made, daemon={"connection_max": 7})
    warned = (
        f'{made.paths.settings}:1:13: unknown setting "daemon.connection_max"; did you mean "daemon.connections_max"?'
    )
    assert betcode("daemon", "start").err == f"warning: {warned}\n"
    assert logged() == [warned]
    reload(made)
    assert logged() == [warned] * 2
    assert betcode("daemon", "upgrade").err == f"warning: {warned}\n"
    assert logged() == [warned] * 3
    assert betcode("daemon", "start").err == "", "one runs already"


@pytest.mark.req("CF-1", "RS-1")
def test_a_check_for_programs_has_each_problem_in_pieces_and_one_for_people_tells_the_warnings_too(
    betcode: Command, made: Installation
) -> None:
    made.paths.config.mkdir(exist_ok=True)
    made.paths.settings.write_text('{"daemon": {"unknown": 1,\n  "queue": 501}}')
    ended = betcode.with_env(BETCODE_DAEMON_SLOTS="many")("config", "check", "--json")
    assert (ended.status, ended.err) == (78, "")
    first, second = ended.json()["problems"]
    assert {**first, "message": "", "hint": ""} == {
        "file": str(made.paths.settings),
        "line": 2,
        "column": 3,
        "key": "daemon.queue",
        "value": "501",
        "range": "whole number, 0 to 500",
        "message": "",
        "hint": "",
    }
    assert (second["file"], second["line"], second["key"], second["value"]) == (None, None, "daemon.slots", '"many"')
    assert ended.json()["error"]["code"] == "config.invalid"
    (warning,) = ended.json()["warnings"]
    people = betcode("config", "check")
    assert (people.status, people.err.splitlines()[0]) == (78, f"warning: {warning}")
    made.paths.settings.write_text('{"daemon": {"unknown": 1}}')
    assert betcode("config", "check").out == "the settings are valid; 1 warning\n"


@pytest.mark.req("CF-1")
def test_at_a_cost_limit_a_message_waits_and_goes_on_when_the_limit_is_raised(
    betcode: Command, made: Installation
) -> None:
    write(made, limits={"cost_per_session_usd": 0.00005})
    first = betcode("run", scripted("one", {"text": "first"}))
    assert (first.status, first.out) == (0, "first\n")
    (session,) = [s["id"] for s in betcode("sessions", "list", "--json").json()["sessions"]]
    told = [e for e in betcode("sessions", "show", "--json", session).lines() if e["kind"] == "notice"]
    assert [notice["code"] for notice in told] == ["limit.cost_reached"]
    assert betcode("send", session, scripted("two", {"text": "second"})).status == 0
    (message,) = betcode("sessions", "queue", "--json", session).json()["messages"]
    assert message["state"] == "queued"
    assert "`limits.cost_per_session_usd` allows; raise it" in message["reason"]
    write(made, limits={"cost_per_session_usd": 5})
    reload(made)
    end = time.monotonic() + 30
    while betcode("usage", "--session", session, "--json").json()["total"]["turns"] < 2:
        assert time.monotonic() < end
    assert betcode("sessions", "queue", "--json", session).json()["messages"] == []
