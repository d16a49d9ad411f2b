"""`betcode` alone: a conversation at a terminal, with real parts, and with what goes wrong in the middle of it."""

from __future__ import annotations

import os
import re
import signal
import time

import pytest

from betcode.testing.command import Command, Terminal
from betcode.testing.installation import Installation, scripted, words

SLOW = {"words": 400, "delta_ms": 50}
"""20 s of an answer: long enough to be stopped in the middle."""


def begin(terminal: Terminal) -> str:
    """Wait for the prompt of a new conversation; returns the session's id."""
    terminal.wait_for("new session ")
    terminal.wait_for("\n> ")
    found = re.search(r"new session (\w+)", terminal.text)
    assert found
    return found[1]


def ctrl_c(terminal: Terminal) -> None:
    """As from the keyboard: the terminals of these tests control no process."""
    terminal.process.send_signal(signal.SIGINT)


def state(betcode: Command, session: str) -> dict[str, object]:
    found = betcode("sessions", "list", "--all", "--json").json()["sessions"]
    return next(s for s in found if s["id"] == session)


def wait_for_state(betcode: Command, session: str, wanted: str) -> None:
    end = time.monotonic() + 30
    while state(betcode, session)["state"] != wanted:
        assert time.monotonic() < end, f"{session} did not become {wanted}"


def wait_for_queue(betcode: Command, session: str, text: str) -> None:
    """Until the daemon has a message that begins so."""
    end = time.monotonic() + 30
    while not any(
        m["text"].startswith(text) for m in betcode("sessions", "queue", "--json", session).json()["messages"]
    ):
        assert time.monotonic() < end, f"no message {text!r} in the queue"


def texts(betcode: Command, session: str) -> list[str]:
    """All that claude said in the session."""
    return [e["text"] for e in betcode("sessions", "show", "--json", session).lines() if e["kind"] == "assistant"]


def test_without_a_terminal_it_points_to_run(betcode: Command) -> None:
    ended = betcode(stdin=b"hello\n")
    assert ended.status == 5
    assert "betcode run" in ended.err
    assert ended.out == ""
    assert betcode("--continue", "--new").status == 5
    assert betcode("--new", "status").status == 5


def test_a_conversation_goes_back_and_forth_and_is_taken_up_again(betcode: Command) -> None:
    tool = {"tool": {"name": "Bash", "input": {"command": "echo from the tool"}}}
    with betcode.on_terminal("--new", "--allow", "Bash(echo *)", "--name", "talk") as terminal:
        session = begin(terminal)
        terminal.type(scripted("one", {"text": "first answer"}) + "\n")
        terminal.wait_for("first answer\n> ")
        terminal.type(scripted("two", tool, {"text": "second answer"}) + "\n")
        terminal.wait_for("second answer\n> ")
        assert terminal.text.count("* Bash: echo from the tool") == 1
        terminal.type("\x04")
        assert terminal.wait() == 0
        assert f"come back with: betcode --resume {session}" in terminal.text
    with betcode.on_terminal() as again:
        again.wait_for(f"continuing session {session} 'talk'")
        again.wait_for("second answer")
        again.wait_for("\n> ")
        assert "first answer" not in again.text
        again.type(scripted("three", {"text": "third answer"}) + "\n")
        again.wait_for("third answer\n> ")
        again.type("/quit\n")
        assert again.wait() == 0
    assert texts(betcode, session) == ["first answer", "second answer", "third answer"]


@pytest.mark.req("SE-4", "PM-8")
@pytest.mark.parametrize(
    "typed, exists", [("y\n", True), ("what is this?\nn not now\n", False), ("s\n", True)], ids=["yes", "no", "session"]
)
def test_a_question_is_asked_in_place(betcode: Command, made: Installation, typed: str, exists: bool) -> None:
    name = f"{typed[0]}.txt"
    step = {"tool": {"name": "Bash", "input": {"command": f"touch {name} # \u202e"}}}
    with betcode.on_terminal("--new") as terminal:
        session = begin(terminal)
        terminal.type(scripted("touch", step, {"text": "all right"}) + "\n")
        terminal.wait_for("[y]es, [n]o")
        assert f"command: touch {name} # \\u202e" in terminal.text
        assert "if nobody answers" in terminal.text
        for line in typed.splitlines(keepends=True):
            terminal.type(line)
            if line.startswith("what"):
                terminal.wait_for("claude waits for an answer about Bash")
        terminal.wait_for("all right\n> ")
        if typed == "s\n":
            terminal.type(scripted("again", step, {"text": "done again"}) + "\n")
            terminal.wait_for("done again\n> ")
            assert terminal.text.count("[y]es, [n]o") == 1
    assert (made.project / name).exists() is exists
    settled = [e for e in betcode("sessions", "show", "--json", session).lines() if e["kind"] == "permission_settled"]
    assert [e["message"] for e in settled] == (["not now"] if not exists else [""])


@pytest.mark.req("PM-9", "INV-3")
def test_a_question_that_is_settled_elsewhere_or_withdrawn_says_so(betcode: Command, made: Installation) -> None:
    step = {"tool": {"name": "Bash", "input": {"command": "touch not-here.txt"}}}
    with betcode.on_terminal("--new") as terminal:
        session = begin(terminal)
        terminal.type(scripted("touch", step, {"text": "so be it"}) + "\n")
        terminal.wait_for("[y]es, [n]o")
        (question,) = betcode("permissions", "list", "--json").json()["permissions"]
        assert betcode("permissions", "deny", question["id"]).status == 0
        terminal.wait_for("answered elsewhere: DENIED by cli")
        terminal.wait_for("so be it\n> ")
        terminal.type(scripted("touch", step, {"text": "never said"}) + "\n")
        while terminal.text.count("[y]es, [n]o") < 2:
            terminal.wait_for("[y]es, [n]o")
            terminal.read()
        ctrl_c(terminal)
        terminal.wait_for("about Bash was withdrawn")
        wait_for_state(betcode, session, "IDLE")
    assert not (made.project / "not-here.txt").exists()


def test_ctrl_c_interrupts_and_holds_the_queue_which_is_shown_released_and_cleared(betcode: Command) -> None:
    with betcode.on_terminal("--new") as terminal:
        session = begin(terminal)
        terminal.type(scripted("slow", SLOW) + "\n")
        terminal.wait_for("w3 ")
        for name in ("later", "last"):
            terminal.type(scripted(name, {"text": f"{name} answer"}) + "\n")
            terminal.wait_for(f"{name} @script")
            wait_for_queue(betcode, session, name)
        assert terminal.text.count("message queued: an earlier message is being worked on") > 0
        terminal.type("/queue\n")
        terminal.wait_for("queued: an earlier message is being worked on\n     last @script")
        ctrl_c(terminal)
        terminal.wait_for("messages held: 2; /resume")
        terminal.wait_for("message cancelled: interrupted by a person")
        terminal.type("/queue\n")
        terminal.wait_for("what waits is held")
        waiting = re.findall(r"([0-9a-f-]{36})  queued: held", terminal.text)
        terminal.type(f"/clear {waiting[-1]}\n")
        terminal.wait_for("messages cancelled: 1")
        terminal.type("/resume\n")
        terminal.wait_for("\nlater answer\n")
        terminal.type("/quit\n")
        assert terminal.wait() == 0
        assert "last answer\n>" not in terminal.text


def test_a_second_ctrl_c_leaves_and_the_session_goes_on(betcode: Command) -> None:
    with betcode.on_terminal("--new") as terminal:
        session = begin(terminal)
        ctrl_c(terminal)
        terminal.wait_for("claude does nothing now")
        terminal.type(scripted("slow", {"words": 60, "delta_ms": 50}) + "\n")
        terminal.wait_for("w3 ")
        terminal.type("\x04")
        assert terminal.wait() == 0
        assert "claude goes on working" in terminal.text
    with betcode.on_terminal("--resume", session) as again:
        again.wait_for("w59\n> ")
        ctrl_c(again)
        again.wait_for("ctrl-c again")
        ctrl_c(again)
        assert again.wait() == 130
    assert texts(betcode, session) == [words(60)]


@pytest.mark.req("INV-1", "INV-2")
def test_a_conversation_survives_kill_9_of_the_daemon_in_the_middle_of_an_answer(
    betcode: Command, made: Installation
) -> None:
    with betcode.on_terminal("--new") as terminal:
        session = begin(terminal)
        terminal.type(scripted("count", {"words": 80, "delta_ms": 50}) + "\n")
        terminal.wait_for("w5 ")
        assert made.kill_daemon()
        terminal.wait_for("connection to the daemon is lost")
        terminal.wait_for("connected again")
        terminal.wait_for("w79\n> ")
        terminal.type(scripted("next", {"text": "and it goes on"}) + "\n")
        terminal.wait_for("and it goes on\n> ")
        said = re.sub(r"\n?--[^\n]*\n", "", terminal.text[terminal.text.index("w0 ") :].replace("\n[claude wrote", ""))
    assert texts(betcode, session) == [words(80), "and it goes on"]
    assert [int(n) for n in re.findall(r"\bw(\d+)\b", said)] == list(range(80))


def test_what_is_typed_while_the_daemon_is_away_is_sent_when_it_is_back(betcode: Command, made: Installation) -> None:
    with betcode.on_terminal("--new") as terminal:
        session = begin(terminal)
        pid = made.daemon_pid()
        assert pid
        os.kill(pid, signal.SIGSTOP)  # it is there and does not answer
        terminal.type(scripted("kept", {"text": "I got it"}) + "\n")
        terminal.wait_for("no answer from the daemon yet; what you typed is kept")
        os.kill(pid, signal.SIGKILL)
        terminal.wait_for("I got it\n> ")
    assert texts(betcode, session) == ["I got it"]


def test_lines_that_are_pasted_together_are_one_message_and_a_cut_line_is_not_sent(betcode: Command) -> None:
    with betcode.on_terminal("--new") as terminal:
        session = begin(terminal)
        terminal.type(f"first line\nsecond \\\nthird {scripted('', {'text': 'one message'})}\n")
        terminal.wait_for("one message\n> ")
        terminal.type("x" * 4_095 + "\n")
        terminal.wait_for("not sent: a terminal keeps only")
        terminal.type("/nonsense\n")
        terminal.wait_for("/nonsense is none of the commands")
        terminal.type("/name pasted\n")
        terminal.wait_for("now called pasted")
    events = betcode("sessions", "show", "--json", session).lines()
    sent = [e["text"] for e in events if e["kind"] == "user_message"]
    assert len(sent) == 1
    assert sent[0].startswith("first line\nsecond \nthird ")


def test_messages_of_others_are_shown_and_a_closed_session_ends_the_conversation(betcode: Command) -> None:
    with betcode.on_terminal("--new") as terminal:
        session = begin(terminal)
        assert betcode("send", session, scripted("hi", {"text": "to both"})).status == 0
        terminal.wait_for("-- a message from cli pid")
        terminal.wait_for("to both\n> ")
        terminal.type("/close\n")
        assert terminal.wait() == 5
        assert "the session was closed" in terminal.text
    assert betcode("--resume", session).status == 5
