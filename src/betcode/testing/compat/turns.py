"""Plain turns: the start, a streamed answer, an error of the API, lines that nobody knows, taking up a conversation."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable

from betcode.model.facts import BadLine, Unknown
from betcode.testing.compat.room import Missed, Room
from betcode.testing.compat.seen import Findings, Seen
from betcode.testing.installation import words
from betcode.wire.claude import read_line

WORDS = 12
OVERLOADED = {"status": 400, "error_type": "invalid_request_error", "message": "scripted refusal"}
"""An error that the CLI does not try again."""


def start(room: Room) -> Findings:
    """Start, ask what it is, end."""
    with room.started() as claude:
        body = claude.initialize()
        named = str(body.get("claude_code_version") or "")
        probed = claude.request("get_binary_version", within_s=10.0)
        answer = json.dumps(probed.get("response") or probed.get("error"), sort_keys=True)
        unknown = claude.request("no_such_request", within_s=10.0)
        ended = claude.end()
    offers = [name for name in ("capabilities", "session_state", "hook_on_failure_supported", "pid") if name in body]
    return {
        "start.initialize": Seen(bool(body), ""),
        "start.version": Seen(bool(named), named),
        "start.probe": Seen(probed.get("subtype") == "success", answer[:120]),
        "start.offers": Seen("capabilities" in body, ", ".join(offers)),
        "start.unknown_request": Seen(unknown.get("subtype") == "error", ""),
        "start.ends": Seen(ended.get("code") == 0, f"{ended.get('code')}"),
    }


def stream(room: Room) -> Findings:
    """One answer that is written word by word."""
    with room.started() as claude:
        claude.initialize()
        uuid = claude.say("stream", {"words": WORDS, "delta_ms": 20})
        result = claude.result()
        claude.wait(0.3)
        claude.end()
    deltas = [line for line in claude.lines if line.get("type") == "stream_event" and "delta" in line["event"]]
    text = "".join(line["event"]["delta"].get("text", "") for line in deltas)
    states = [line["state"] for line in claude.lines if line.get("type") == "command_lifecycle"]
    running = [line["state"] for line in claude.lines if line.get("subtype") == "session_state_changed"]
    init = next((line for line in claude.lines if line.get("subtype") == "init"), {})
    named = "user_message_uuids" if result.get("user_message_uuids") == [uuid] else ""
    named = named or ("user_message_uuid" if result.get("user_message_uuid") == uuid else "")
    return {
        "stream.text": Seen(text == words(WORDS) and result["is_error"] is False, ""),
        "stream.init_version": Seen(bool(init.get("claude_code_version")), ""),
        "stream.init_offers": Seen("capabilities" in init, ", ".join(init.get("capabilities") or ())),
        "stream.lifecycle": Seen(states[:1] == ["queued"] and states[-1:] == ["completed"], ", ".join(states)),
        "stream.named": Seen(bool(named), named),
        "stream.states": Seen(running[-1:] == ["idle"], ", ".join(running)),
    }


def readable(lines: Iterable[bytes]) -> Findings:
    """Whether our parser reads every line that was printed (ND-10)."""
    facts = [fact for line in lines for fact in read_line(line)]
    bad = sorted({fact.detail for fact in facts if isinstance(fact, BadLine)})
    unknown = sorted({fact.name for fact in facts if isinstance(fact, Unknown)})
    return {
        "lines.readable": Seen(not bad, "; ".join(bad)),
        "lines.known": Seen(not unknown, ", ".join(unknown)),
    }


def odd_lines(room: Room) -> Findings:
    """A line of a kind that it does not know."""
    with room.started() as claude:
        claude.initialize()
        claude.write("odd", json.dumps({"type": "no_such_line", "uuid": str(uuid.uuid4())}).encode())
        claude.say("after odd lines", {"text": "fine"})
        try:
            ok = claude.result()["is_error"] is False
        except Missed:
            ok = False
    return {"lines.odd": Seen(ok, "" if ok else "it ends")}


def error(room: Room) -> Findings:
    """A turn that the API refuses, and the one after it."""
    with room.started() as claude:
        claude.initialize()
        claude.say("refused", OVERLOADED)
        failed = claude.result()
        at = len(claude.lines)
        claude.say("after the error", {"text": "well again"})
        after = claude.result(after=at)
        claude.end()
    names = ("subtype", "terminal_reason", "api_error_status")
    note = ", ".join(f"{name} {failed[name]}" for name in names if failed.get(name) is not None)
    return {
        "error.told": Seen(failed["is_error"] is True, note),
        "error.status": Seen(failed.get("api_error_status") == 400, ""),
        "error.lives": Seen(after["is_error"] is False, ""),
    }


def resume(room: Room) -> Findings:
    """A second process on the same conversation."""
    with room.started() as claude:
        claude.initialize()
        claude.say("remember this: blue", {"text": "noted"})
        first = claude.result()
        claude.end()
    with room.started(resume=True) as claude:
        claude.initialize()
        claude.say("what was it", {"text": "blue"})
        second = claude.result()
        claude.end()
    said = json.dumps(room.requests()[-1]["messages"])
    return {
        "resume.history": Seen("remember this: blue" in said and "noted" in said, ""),
        "resume.same_id": Seen(first["session_id"] == second["session_id"] == room.conversation, ""),
    }


def duplicate(room: Room) -> Findings:
    """The same message twice: to one process, and to the next one."""
    with room.started() as claude:
        claude.initialize()
        message = claude.say("only once", {"text": "once"})
        claude.result()
        claude.say("only once", {"text": "once"}, message_id=message)
        claude.wait()
        within = len(room.requests())
        claude.end()
    with room.started(resume=True) as claude:
        claude.initialize()
        claude.say("only once", {"text": "once"}, message_id=message)
        claude.wait()
        states = [line["state"] for line in claude.lines if line.get("type") == "command_lifecycle"]
        claude.end()
    return {
        "duplicate.process": Seen(within == 1, f"{within} requests" if within != 1 else ""),
        "duplicate.resumed": Seen(len(room.requests()) == within, ""),
        "duplicate.told": Seen(states == ["completed"], ", ".join(states)),
    }
