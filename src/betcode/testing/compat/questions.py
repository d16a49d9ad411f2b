"""Questions: held, allowed, denied, answered with nonsense, lost; and hooks, which let some versions fail open."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator

from betcode.model.rows import Options
from betcode.testing.compat.room import Claude, Line, Missed, Room
from betcode.testing.compat.seen import Findings, Seen
from betcode.testing.limits import COMPAT_HOOK_S, COMPAT_NEWS_S

ALLOWED = Options(allow=("Bash",))
"""With this rule of the user, claude asks nobody but its hooks."""


def tool(word: str = "ran") -> Line:
    """A step of the model: a call that leaves a word in the file `ran` each time that it runs."""
    command = f"echo {word} >> ran; touch {word}.done"
    return {"tool": {"name": "Bash", "input": {"command": command, "description": "leave a trace"}}}


@contextlib.contextmanager
def held(room: Room, findings: Findings, hold_s: float) -> Iterator[None]:
    """A question that nobody answers while other scenarios run, and for `hold_s` at least; then it is allowed."""
    with room.started() as claude:
        begun = time.monotonic()
        claude.initialize()
        claude.say("hold it", tool(), {"text": "done"})
        asked = claude.asked()
        yield
        claude.wait(max(0.0, hold_s - (time.monotonic() - begun)))
        early, waited = claude.ran, time.monotonic() - begun
        _allow(claude, asked)
        result = claude.result()
        claude.end()
        findings["question.held"] = Seen(not early, f"{waited:.0f} s{', it ran' if early else ''}")
        findings["question.allowed"] = Seen(claude.ran == ["ran"] and result["is_error"] is False, "")


def edited(room: Room) -> Findings:
    """Allowed with another input than the model's."""
    with room.started() as claude:
        claude.initialize()
        claude.say("edit it", tool("first"), {"text": "done"})
        asked = claude.asked()
        _allow(claude, asked, command="echo second >> ran")
        claude.result()
        claude.end()
    fields = asked["request"]
    return {
        "question.edited": Seen(claude.ran == ["second"], ", ".join(claude.ran)),
        "question.person": Seen("requires_user_interaction" in fields or "description" in fields, ""),
    }


def deny(room: Room) -> Findings:
    """A denial with words."""
    with room.started() as claude:
        claude.initialize()
        claude.say("deny it", tool(), {"text": "so be it"})
        asked = claude.asked()
        claude.answer(asked, {"behavior": "deny", "message": "not today, said Ada"})
        result = claude.result()
        claude.end()
    told = "not today, said Ada" in json.dumps(room.requests()[-1]["messages"])
    listed = [denial.get("tool_use_id") for denial in result.get("permission_denials") or ()]
    return {
        "deny.not_run": Seen(not claude.ran, ""),
        "deny.told": Seen(told and result["is_error"] is False, ""),
        "deny.listed": Seen(listed == [asked["request"]["tool_use_id"]], ""),
    }


def nonsense(room: Room) -> Findings:
    """Answers to a question that mean nothing."""
    with room.started() as claude:
        claude.initialize()
        claude.say("nonsense", tool(), {"text": "so be it"})
        claude.answer(claude.asked(), {"behavior": "perhaps"})
        claude.result()
        claude.end()
    return {"question.nonsense": Seen(not claude.ran, "it ran" if claude.ran else "")}


def input_lost(room: Room) -> Findings:
    """The host goes away while a question waits."""
    with room.started() as claude:
        claude.initialize()
        claude.say("lose it", tool(), {"text": "so be it"})
        claude.asked()
        claude.end()
    return {"question.input_lost": Seen(not claude.ran, "it ran" if claude.ran else "")}


def withdrawn(room: Room) -> Findings:
    """Interrupted while a question waits; then it is allowed, too late."""
    with room.started() as claude:
        claude.initialize()
        claude.say("withdraw it", tool(), {"text": "so be it"})
        asked = claude.asked()
        claude.request("interrupt")
        claude.result()
        _allow(claude, asked)
        claude.wait()
        claude.end()
    gone = [line for line in claude.lines if line.get("type") == "control_cancel_request"]
    return {
        "question.withdrawn": Seen(any(line.get("request_id") == asked["request_id"] for line in gone), ""),
        "question.late_allow": Seen(not claude.ran, "it ran" if claude.ran else ""),
    }


# --- hooks --------------------------------------------------------------------------------------------------------


def hook_unanswered(room: Room) -> Findings:
    """A hook that nobody answers in its time, under a rule that allows the tool."""
    with room.started(options=ALLOWED) as claude:
        claude.initialize({"timeout": COMPAT_HOOK_S})
        claude.say("ask the hook", tool(), {"text": "so be it"})
        claude.asked(subtype="hook_callback")
        with contextlib.suppress(Missed):
            claude.result()
        claude.end()
    return {"hook.unanswered": Seen(not claude.ran, "it runs" if claude.ran else "")}


def hook_input_lost(room: Room) -> Findings:
    """The host goes away while a hook waits."""
    with room.started(options=ALLOWED) as claude:
        claude.initialize({"timeout": COMPAT_NEWS_S})
        claude.say("ask the hook", tool(), {"text": "so be it"})
        claude.asked(subtype="hook_callback")
        claude.end()
    return {"hook.input_lost": Seen(not claude.ran, "it runs" if claude.ran else "")}


def hook_error(room: Room) -> Findings:
    """A hook that is answered with an error, where that must block."""
    with room.started(options=ALLOWED) as claude:
        claude.initialize({"timeout": COMPAT_NEWS_S, "onFailure": "block"})
        claude.say("ask the hook", tool(), {"text": "so be it"})
        asked = claude.asked(subtype="hook_callback")
        response = {"subtype": "error", "request_id": asked["request_id"], "error": "it broke"}
        claude.write("broken", json.dumps({"type": "control_response", "response": response}).encode())
        claude.result()
        claude.end()
    return {"hook.error": Seen(not claude.ran, "it runs" if claude.ran else "")}


def defer(room: Room) -> Findings:
    """A call that is put off by a hook, and asked for again by the next process."""
    with room.started() as claude:
        claude.initialize({"timeout": COMPAT_NEWS_S})
        claude.say("put it off", tool(), {"text": "done"})
        asked = claude.asked(subtype="hook_callback")
        answer = {"hookEventName": "PreToolUse", "permissionDecision": "defer", "permissionDecisionReason": "later"}
        claude.answer(asked, {"hookSpecificOutput": answer})
        with contextlib.suppress(Missed):
            claude.until(_follows, what="what follows", after=len(claude.lines))
        results = [line for line in claude.lines if line.get("type") == "result"]
        claude.end("term")
    parked = [line for line in results if line.get("terminal_reason") == "tool_deferred"]
    wanted = parked[0]["deferred_tool_use"]["id"] if parked else ""
    again = _asked_again(room, wanted) if parked else ""
    return {
        "defer.parked": Seen(bool(parked), "" if parked else "not put off"),
        "defer.asked_again": Seen(again == "ran", again),
    }


def _asked_again(room: Room, call: str) -> str:
    with room.started(resume=True) as claude:
        claude.initialize()
        try:
            asked = claude.asked()
        except Missed:
            return "not asked again"
        if asked["request"].get("tool_use_id") != call:
            return "asked under another id"
        _allow(claude, asked)
        claude.result()
        claude.end()
    return " ".join(claude.ran)


def _allow(claude: Claude, asked: Line, **changes: str) -> None:
    claude.answer(asked, {"behavior": "allow", "updatedInput": {**asked["request"]["input"], **changes}})


def _follows(line: Line) -> bool:
    return line.get("type") in ("result", "control_request")
