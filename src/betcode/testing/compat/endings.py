"""Interrupts, kills and what a new process makes of them: what recovery and the decision table rest on."""

from __future__ import annotations

import contextlib
import json
import os
import signal

from betcode.adapters.launcher import RERUN_VARIABLE
from betcode.testing.compat.questions import ALLOWED, tool
from betcode.testing.compat.room import Claude, Line, Missed, Room
from betcode.testing.compat.seen import Findings, Seen
from betcode.testing.keeper_process import is_running, wait_until

SLOW = {"words": 400, "delta_ms": 50}
"""An answer that takes 20 s: long enough to be cut."""
TOLD = "outcome is unknown"
"""Words of the CLI about a call whose end it did not see."""


def interrupt(room: Room) -> Findings:
    """Cut an answer, with a message waiting that is taken back; then another turn."""
    with room.started() as claude:
        claude.initialize()
        claude.say("cut it", SLOW)
        _streaming(claude)
        waiting = claude.say("never mind", {"text": "never"})
        claude.wait(0.3)
        taken = claude.request("cancel_async_message", message_uuid=waiting)
        answer = claude.request("interrupt")
        result = claude.result()
        at = len(claude.lines)
        claude.say("go on", {"text": "fine"})
        after = claude.result(after=at)
        claude.end()
    body = answer.get("response") or {}
    reason = str(result.get("terminal_reason") or "")
    return {
        "interrupt.ends": Seen(after["is_error"] is False and after.get("result") == "fine", ""),
        "interrupt.named": Seen(reason.startswith("aborted"), reason or str(result.get("subtype"))),
        "interrupt.receipt": Seen("still_queued" in body, ""),
        "interrupt.withdraw": Seen((taken.get("response") or {}).get("cancelled") is True, ""),
    }


def interrupt_tool(room: Room) -> Findings:
    """Interrupt a running tool."""
    with room.started(options=ALLOWED) as claude:
        claude.initialize()
        pid = _running_tool(claude)
        claude.request("interrupt")
        claude.result()
        gone = _gone(pid)
        claude.end()
    return {"interrupt.tool": Seen(gone, "" if gone else "its tool lives on")}


def sigterm_tool(room: Room) -> Findings:
    """SIGTERM while a tool runs, to claude alone: does it end its tool?"""
    with room.started(options=ALLOWED) as claude:
        claude.initialize()
        pid = _running_tool(claude)
        os.kill(claude.keeper.claude_pid, signal.SIGSTOP)
        os.kill(claude.keeper.keeper_pid, signal.SIGSTOP)  # it would end the tool itself
        os.kill(claude.keeper.claude_pid, signal.SIGTERM)
        os.kill(claude.keeper.claude_pid, signal.SIGCONT)
        wait_until(lambda: not is_running(claude.keeper.claude_pid), what="the end of claude")
        gone = _gone(pid)
        os.kill(claude.keeper.keeper_pid, signal.SIGCONT)
    return {"kill.sigterm_tool": Seen(gone, "" if gone else "its tool lives on")}


def resend(room: Room) -> Findings:
    """kill -9 in the middle of an answer; the same message under the same uuid to the next process."""
    with room.started() as claude:
        claude.initialize()
        claude.say("warm up", {"text": "warm"})
        claude.result()
        at = len(claude.lines)
        message = claude.say("again", {"words": 100, "delta_ms": 50})
        _streaming(claude, at)
        claude.die()
    with room.started(resume=True) as claude:
        claude.initialize()
        claude.say("again", {"text": "answered"}, message_id=message)
        with contextlib.suppress(Missed):
            claude.until(lambda line: line.get("type") == "result", what="a result", within_s=15.0)
        results = [line for line in claude.lines if line.get("type") == "result" and line.get("num_turns")]
        states = [line["state"] for line in claude.lines if line.get("type") == "command_lifecycle"]
        claude.end("term")
    ok = any(line["is_error"] is False for line in results)
    lost = "lost, and called completed" if "completed" in states else "lost"
    return {"kill.resend": Seen(ok, "" if ok else lost)}


def rerun(room: Room) -> Findings:
    """kill -9 after a tool's result is stored; the next process goes on with the turn by itself."""
    with room.started(options=ALLOWED) as claude:
        claude.initialize()
        claude.say("go on by yourself", tool(), {"words": 100, "delta_ms": 50}, {"text": "done"})
        claude.until(lambda line: "tool_result" in json.dumps(line), what="the tool's result")
        claude.wait(1.5)  # it is stored up to 0.2 s later
        claude.die()
    before = claude.ran
    with room.started(resume=True, env={RERUN_VARIABLE: "1"}, options=ALLOWED) as claude:
        claude.initialize()
        with contextlib.suppress(Missed):
            claude.until(lambda line: line.get("type") == "result", what="a result", within_s=25.0)
        done = any(line.get("type") == "result" and line["is_error"] is False for line in claude.lines)
        claude.end("term")
    once = before == claude.ran == ["ran"]
    return {"kill.rerun": Seen(done and once, "" if done and once else "the tool ran again" if done else "it waits")}


def question_lost(room: Room) -> Findings:
    """kill -9 while a question waits; the next process gets another message."""
    with room.started() as claude:
        claude.initialize()
        claude.say("ask me", tool(), {"text": "done"})
        claude.asked()
        claude.wait(1.0)
        claude.die()
    with room.started(resume=True) as claude:
        claude.initialize()
        claude.wait(1.5)
        asked = [line for line in claude.lines if line.get("type") == "control_request"]
        claude.say("and now", {"text": "fine"})
        claude.result()
        claude.end()
    said = json.dumps(room.requests()[-1]["messages"])
    return {
        "kill.quiet": Seen(not asked and not claude.ran, ""),
        "kill.told": Seen(TOLD in said, "" if TOLD in said else "the model hears nothing of the lost call"),
    }


def _streaming(claude: Claude, after: int = 0) -> None:
    claude.until(lambda line: _delta(line) and "w3" in line["event"]["delta"].get("text", ""), what="text", after=after)


def _delta(line: Line) -> bool:
    return line.get("type") == "stream_event" and "delta" in line["event"]


def _running_tool(claude: Claude) -> int:
    """Have a tool run that does not end; the pid of its shell."""
    command = "echo $$ > pid.new; mv pid.new pid; tail -f /dev/null"
    claude.say("wait", {"tool": {"name": "Bash", "input": {"command": command, "description": "wait"}}}, {"text": "ok"})
    wait_until((claude.project / "pid").exists, what="the tool")
    return int((claude.project / "pid").read_text())


def _gone(pid: int) -> bool:
    try:
        wait_until(lambda: not is_running(pid), what="the end of the tool", deadline_s=5.0)
    except TimeoutError:
        return False
    return True
