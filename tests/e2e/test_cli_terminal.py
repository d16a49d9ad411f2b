"""The command line with a person at it: terminal, ctrl-c, questions in place; and what survives the daemon's death."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from betcode.testing.command import Command
from betcode.testing.installation import Installation, scripted, words

SLOW = {"words": 400, "delta_ms": 50}
"""20 s of an answer: long enough to be stopped in the middle."""


def newest(betcode: Command) -> dict[str, object]:
    """The summary of the newest session."""
    found: dict[str, object] = betcode("sessions", "list", "--json").json()["sessions"][0]
    return found


def wait_for_state(betcode: Command, session: object, state: str) -> None:
    end = time.monotonic() + 30
    while time.monotonic() < end:
        if any(s["id"] == session and s["state"] == state for s in sessions(betcode)):
            return
    raise AssertionError(f"{session} did not become {state}")


def sessions(betcode: Command) -> list[dict[str, object]]:
    """What `status` says; nothing while no daemon runs."""
    found: list[dict[str, object]] = betcode("status", "--json").json().get("sessions", [])
    return found


def busy(betcode: Command, *, but: frozenset[object] = frozenset()) -> object:
    """Id of the session that works now, and is none of `but`."""
    end = time.monotonic() + 30
    while time.monotonic() < end:
        for session in sessions(betcode):
            if session["state"] == "ACTIVE" and session["id"] not in but:
                return session["id"]
    raise AssertionError("no session became active")


# --- 124, 130 ----------------------------------------------------------------------------------------------------


def test_124_the_time_is_over_and_the_turn_is_interrupted(betcode: Command) -> None:
    ended = betcode("run", "--timeout", "2", scripted("slow", SLOW))
    assert ended.status == 124
    assert "--timeout" in ended.err
    wait_for_state(betcode, newest(betcode)["id"], "IDLE")


def test_130_ctrl_c_interrupts_the_turn_and_the_session_stays(betcode: Command) -> None:
    with betcode.on_terminal("run", scripted("slow", SLOW)) as terminal:
        terminal.wait_for("w3 ")
        terminal.process.send_signal(signal.SIGINT)
        assert terminal.wait() == 130
        assert "interrupting" in terminal.text
    wait_for_state(betcode, newest(betcode)["id"], "IDLE")
    again = betcode("run", "--continue", scripted("go on", {"text": "here I am"}))
    assert (again.status, again.out) == (0, "here I am\n")


def test_130_a_second_ctrl_c_leaves_at_once(betcode: Command, made: Installation) -> None:
    with betcode.start("run", scripted("deaf", {"text": "x", "delay_s": 10})) as running:
        busy(betcode)
        pid = made.daemon_pid()
        assert pid
        os.kill(pid, signal.SIGSTOP)  # so that the interrupt gets no answer
        try:
            running.send_signal(signal.SIGINT)
            assert running.stderr is not None
            assert b"interrupting" in running.stderr.readline()
            running.send_signal(signal.SIGINT)
            running.communicate(timeout=20)
        finally:
            os.kill(pid, signal.SIGCONT)
        assert running.returncode == 130


def test_130_ctrl_c_while_watching_ends_only_the_watching(betcode: Command) -> None:
    betcode("run", scripted("hello", {"text": "good day"}))
    with betcode.on_terminal("attach", str(newest(betcode)["id"])) as terminal:
        terminal.wait_for("good day")
        terminal.process.send_signal(signal.SIGINT)
        assert terminal.wait() == 130
    assert newest(betcode)["state"] == "IDLE"


# --- questions and text on a terminal ----------------------------------------------------------------------------


@pytest.mark.req("PM-2", "SE-4")
@pytest.mark.parametrize("typed, status, exists", [("a\n", 0, True), ("what?\nd not now\n", 3, False)])
def test_a_question_is_asked_in_place_with_the_whole_input(
    betcode: Command, made: Installation, typed: str, status: int, exists: bool
) -> None:
    command = f"touch asked-{status}.txt # {'long ' * 100}\u202e"
    step = {"tool": {"name": "Bash", "input": {"command": command}}}
    with betcode.on_terminal("run", scripted("touch", step, {"text": "ok"})) as terminal:
        terminal.wait_for("[y]es, [n]o")
        terminal.type(typed)
        assert terminal.wait() == status
    shown = command.replace("\u202e", "\\u202e")
    assert f"command: {shown}" in terminal.text
    assert str(made.project) in terminal.text
    assert (made.project / f"asked-{status}.txt").exists() is exists
    if not exists:
        events = betcode("sessions", "show", "--json", str(newest(betcode)["id"])).lines()
        assert [event["message"] for event in events if event["kind"] == "permission_settled"] == ["not now"]


def test_a_question_that_is_answered_elsewhere_is_not_asked_any_more(betcode: Command) -> None:
    step = {"tool": {"name": "Bash", "input": {"command": "touch elsewhere.txt"}}}
    with betcode.on_terminal("run", scripted("touch", step, {"text": "thank you"})) as terminal:
        terminal.wait_for("[y]es, [n]o")
        (question,) = betcode("permissions", "list", "--json").json()["permissions"]
        assert betcode("permissions", "allow", question["id"]).status == 0
        assert terminal.wait() == 0
    assert "answered elsewhere" in terminal.text
    assert "thank you" in terminal.text


@pytest.mark.req("SE-4")
def test_text_that_steers_a_terminal_is_made_visible_there_and_left_alone_in_a_pipe(betcode: Command) -> None:
    evil = "before \x1b]0;title\x07 \x9b31m \u202etxet\u202c \u200b after"
    prompt = scripted("say", {"text": evil, "chunk": 3})
    with betcode.on_terminal("run", "--name", "odd \u202e name", prompt) as terminal:
        assert terminal.wait() == 0
    with betcode.on_terminal("sessions", "list") as listed:
        listed.wait()
    with betcode.on_terminal("sessions", "show", "--json", str(newest(betcode)["id"])) as shown:
        shown.wait()
    for text in (terminal.text, listed.text, shown.text):
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e]", text), text
    assert "before \\x1b]0;title\\x07 \\x9b31m \\u202etxet\\u202c \\u200b after" in terminal.text
    assert "odd \\u202e name" in listed.text
    assert betcode("run", prompt).out == evil + "\n"


def test_an_answer_is_shown_while_it_is_written(betcode: Command) -> None:
    with betcode.on_terminal("run", scripted("slow", SLOW)) as terminal:
        terminal.wait_for("w9 ")
        assert "w399" not in terminal.text
        assert newest(betcode)["state"] == "ACTIVE"


# --- losses ------------------------------------------------------------------------------------------------------


@pytest.mark.req("INV-1", "INV-2")
@pytest.mark.parametrize("form", ["text", "stream-json"])
def test_a_run_survives_kills_of_the_daemon_and_gives_the_whole_answer_once(
    betcode: Command, made: Installation, form: str
) -> None:
    betcode("daemon", "start")
    count = scripted("count", {"words": 60, "delta_ms": 50})
    with betcode.start("run", "--output-format", form, count) as running:
        for _ in range(2):
            busy(betcode)
            assert made.kill_daemon()
        out, err = running.communicate(timeout=60)
        assert running.returncode == 0, err
    if form == "text":
        assert out.decode() == words(60) + "\n"
        return
    *events, result = [json.loads(line) for line in out.splitlines()]
    assert result["result"] == words(60)
    assert [event["type"] for event in events] == ["system", "assistant"]
    assert [block["text"] for block in events[1]["message"]["content"]] == [words(60)]


@pytest.mark.req("INV-2")
def test_attach_shows_the_same_as_what_is_stored(betcode: Command) -> None:
    betcode("run", scripted("hello", {"text": "good day"}))
    session = str(newest(betcode)["id"])
    assert betcode("send", session, scripted("more", {"words": 30, "delta_ms": 20})).status == 0
    attached = betcode("attach", "--json", "--until-idle", session)
    stored = betcode("sessions", "show", "--json", session)
    assert attached.status == 0
    assert attached.out == stored.out
    assert [event["seq"] for event in stored.lines()] == list(range(1, len(stored.lines()) + 1))
    assert "good day\n" in betcode("attach", "--until-idle", session).out


def test_a_run_in_a_busy_session_prints_only_its_own_answer(betcode: Command, tmp_path: Path) -> None:
    go_on = tmp_path / "go on"
    holds = f"import os, time\nwhile not os.path.exists({str(go_on)!r}): time.sleep(0.05)"
    tool = {"name": "Bash", "input": {"command": f'{sys.executable} -c "{holds}"', "description": "waits"}}
    first = scripted("first", {"tool": tool}, {"words": 120, "prefix": "a"})
    others = frozenset(session["id"] for session in sessions(betcode))
    with betcode.start("run", "--allow", "Bash", first) as running:
        session = str(busy(betcode, but=others))
        with betcode.start("run", "--resume", session, scripted("second", {"words": 3, "prefix": "b"})) as waiting:
            end = time.monotonic() + 60
            while len(betcode("sessions", "queue", "--json", session).json()["messages"]) < 2:
                assert time.monotonic() < end
            go_on.touch()
            second = [part.decode() for part in waiting.communicate(timeout=60)]
        out, _ = running.communicate(timeout=60)
    assert out.decode() == " ".join(f"a{n}" for n in range(120)) + "\n"
    assert second[0] == "b0 b1 b2\n"
    assert "an earlier message is being worked on" in second[1]


@pytest.mark.req("INV-1")
def test_the_same_key_again_sends_nothing_new(betcode: Command) -> None:
    betcode("run", scripted("hello", {"text": "good day"}))
    session = str(newest(betcode)["id"])
    key = "123e4567-e89b-42d3-a456-426614174000"
    first = betcode("send", "--json", "--wait", "--key", key, session, scripted("once", {"text": "once"}))
    assert (first.status, first.json()["result"]) == (0, "once")
    again = betcode("send", "--json", "--key", key.upper(), session, scripted("once", {"text": "once"}))
    assert (again.status, again.json()["duplicate"]) == (0, True)
    other = betcode("send", "--json", "--key", key, session, "something else")
    assert (other.status, other.json()["error"]["code"]) == (5, "message.key_conflict")
    events = betcode("sessions", "show", "--json", session).lines()
    assert [event["kind"] for event in events].count("user_message") == 2


# --- standard input, speed ---------------------------------------------------------------------------------


def test_standard_input_is_the_prompt_or_its_context(betcode: Command) -> None:
    step = scripted("", {"text": "read"})
    betcode("run", "-", stdin=f"from stdin {step}".encode())
    first = betcode("sessions", "show", "--json", str(newest(betcode)["id"])).lines()[0]
    assert first["text"] == f"from stdin {step}"
    betcode("run", "look at this", stdin=f"context {step}".encode())
    second = betcode("sessions", "show", "--json", str(newest(betcode)["id"])).lines()[0]
    assert second["text"] == f"look at this\n\ncontext {step}"


def test_a_pipe_that_nobody_writes_to_is_not_waited_for(betcode: Command) -> None:
    reading, writing = os.pipe()
    try:
        done = subprocess.run(
            betcode.argv("run", scripted("hello", {"text": "good day"})),
            env=betcode.env,
            cwd=betcode.directory,
            stdin=reading,
            capture_output=True,
            timeout=60,
            check=False,
        )
    finally:
        os.close(reading)
        os.close(writing)
    assert done.stdout == b"good day\n"
    assert b"going on without it" in done.stderr


def test_status_does_not_pay_for_what_it_does_not_use(betcode: Command) -> None:
    betcode("daemon", "start")
    program = (
        "import sys; from betcode.cli.main import main; main(['status', '--json']);"
        "print([m for m in ('asyncio', 'websockets', 'msgspec', 'psutil') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], env=betcode.env, capture_output=True, text=True, check=True)
    status, modules = done.stdout.splitlines()
    assert set(json.loads(status)) == {"claude", "daemon", "database", "load", "memory", "pool", "sessions"}
    assert modules == "[]"
