"""What became of one message, from the events of its session: done or not, and the exit status of a command (pure)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from betcode.core.inputs import LASTING
from betcode.core.instant import unix_s_of
from betcode.model.errors import CODES, BetcodeError, Refusal
from betcode.model.states import FINAL_MESSAGE_STATES, MessageState, PermissionState, SessionState

HTTP_TOO_MANY_REQUESTS = 429


@dataclass(slots=True)
class Task:
    """One message on its way. Feed it all events of the session after it was sent."""

    message_id: str
    session: str
    working: bool = False
    """Whether claude works on this message now, so that what it writes is the answer."""
    state: str = MessageState.ACCEPTED.value
    reason: str = ""
    turn: dict[str, Any] | None = None
    """The `turn_ended` event that is about this message."""
    calls: list[dict[str, Any]] = field(default_factory=list)
    """`tool_call` events of the present turn, in order."""
    asked: dict[str, str] = field(default_factory=dict)
    """The call that each question is about, by the question's id."""
    settled: dict[str, dict[str, Any]] = field(default_factory=dict)
    """`permission_settled` events, by the call that they are about."""
    notice: dict[str, Any] | None = None
    waits_for_api: bool = True
    """Go on waiting when the API is not asked for a while, instead of giving up."""
    refused: dict[str, Any] | None = None
    """The event that says so."""
    crashed: str = ""
    """Why the session takes no more part in this: it was stopped after too many crashes."""

    @property
    def over(self) -> bool:
        """Whether nothing more will happen by itself."""
        gives_up = self.refused is not None and not self.waits_for_api
        return self.state in FINAL_MESSAGE_STATES or bool(self.crashed) or gives_up

    def take(self, event: dict[str, Any]) -> None:
        """Take one durable event."""
        match event["kind"]:
            case "turn_started":
                self.calls.clear()
                self.working = event["message_id"] == self.message_id
            case "tool_call":
                self.calls.append(event)
            case "permission_asked":
                self.asked[event["permission_id"]] = event.get("tool_use_id", "")
            case "permission_settled":
                self.settled[self.asked.get(event["permission_id"], "")] = event
            case "turn_ended" if self.message_id in event["message_ids"]:
                self.turn = event
            case "message_state" if event["message_id"] == self.message_id:
                self.state, self.reason = event["state"], event.get("reason", "")
                self.working = self.state == MessageState.STARTED
                self.refused = event if event.get("code") else None
            case "notice" if event["severity"] == "error":
                self.notice = event
            case "status" if event["state"] == SessionState.CRASHED:
                self.crashed = event.get("reason") or "claude ended too often"
            case "status":
                self.crashed = ""
            case _:
                pass

    def denied(self) -> str:
        """The tool whose refusal ended the turn; empty when the turn went on to something else."""
        denials = self.turn.get("denials", []) if self.turn is not None else []
        if self.calls and self.calls[-1]["tool_use_id"] in denials:
            return str(self.calls[-1]["tool"])
        return ""

    def error(self) -> BetcodeError | None:
        """Why the task is not done; None when it is."""
        if self.crashed and self.state not in FINAL_MESSAGE_STATES:
            return self._because(
                "agent.crashed", self.crashed, f"Find the cause, then: betcode sessions retry {self.session}"
            )
        if self.refused is not None and not self.waits_for_api:
            return self._gave_up(self.refused)
        if self.state == MessageState.FAILED:
            return self._failed()
        if tool := self.denied():
            return BetcodeError(
                "permission.denied", f"a denied permission ended the task: {tool}", hint=self._after_denial(tool)
            )
        if self.state == MessageState.UNKNOWN:
            return BetcodeError(
                "agent.unknown_outcome",
                self.reason or "claude ended in the middle of a turn; how far it got is unknown",
                hint="Look at what was done, then send a message such as `go on`.",
            )
        if self.state == MessageState.CANCELLED:
            return BetcodeError(
                "run.interrupted",
                f"the message was cancelled: {self.reason}",
                hint="Send it again if it should be done.",
            )
        return None

    def _after_denial(self, tool: str) -> str:
        """What to do about a call that was denied, and cannot be allowed any more."""
        settled = self.settled.get(self.calls[-1]["tool_use_id"])
        again = f"go on with: betcode run --resume {self.session} PROMPT"
        if settled is None:
            return f"A rule or mode of Claude Code forbids {tool} here; see its permission settings. Or {again}"
        if settled["state"] == PermissionState.EXPIRED:
            new = f"Start a new session with --allow {tool} or a longer --permission-ttl"
            return f"{new}, or answer in time (betcode permissions). Or {again}"
        return f"{settled.get('by') or 'Somebody'} denied it. Start a new session with --allow {tool}, or {again}"

    def _failed(self) -> BetcodeError:
        turn = self.turn or {}
        text = self.reason or turn.get("text") or "the turn failed"
        if turn.get("api_error_status") == HTTP_TOO_MANY_REQUESTS:
            return BetcodeError("agent.rate_limited", text, hint="Wait until the limit is lifted, then send it again.")
        code, found, message = self.reason.partition(": ")
        if found and code in CODES:  # the session's own reason, such as a claude that is not there
            return self._because(code, message, "See `betcode daemon logs`.")
        return BetcodeError("agent.error", text, hint=f"The whole conversation: betcode sessions show {self.session}")

    def _gave_up(self, event: dict[str, Any]) -> BetcodeError:
        """The API is not asked for a while, and the caller does not want to wait."""
        code, again_ms = event["code"], 0
        if event.get("retry_at"):
            again_ms = max(0, round((unix_s_of(event["retry_at"]) - unix_s_of(event["time"])) * 1000))
        refusal = Refusal("the API", "upstream", again_ms) if again_ms else None
        hint = "The message was cancelled. Send it again later, or have it wait: --on-rate-limit wait"
        return BetcodeError(code, event["reason"].partition("; it goes on in")[0], hint=hint, refusal=refusal)

    def _because(self, code: str, message: str, hint: str) -> BetcodeError:
        """An error that a notice of the session may explain better."""
        if self.notice is not None and self.notice["code"] == code:
            return BetcodeError(code, self.notice["message"], hint=self.notice.get("hint") or hint)
        return BetcodeError(code, message, hint=hint)


def tells_the_end(event: dict[str, Any]) -> bool:
    """Whether this is a notice that a task's error says again, when it ends because of it."""
    return event["kind"] == "notice" and event["severity"] == "error" and event["code"] in {"agent.crashed", *LASTING}


def result(task: Task, session: dict[str, Any], error: BetcodeError | None) -> dict[str, Any]:
    """The object that ends `run --output-format json` and `stream-json`; fields as far as claude told them."""
    turn = task.turn or {}
    calls = {call["tool_use_id"]: call for call in task.calls}
    denials = [
        {"tool_use_id": name, "tool_name": calls[name]["tool"], "tool_input": calls[name]["input"]}
        for name in turn.get("denials", [])
        if name in calls
    ]
    failed = error is not None and error.code != "permission.denied"
    return {
        "type": "result",
        "subtype": turn.get("subtype") or ("error_during_execution" if failed else "success"),
        "is_error": failed,
        "duration_ms": turn.get("duration_ms", 0),
        "num_turns": turn.get("num_turns", 0),
        "result": turn.get("text", "") or (str(error) if error is not None and failed else ""),
        "session_id": session["claude_session_id"],
        "total_cost_usd": turn.get("cost_usd", 0.0),
        "usage": turn.get("usage", {}),
        "permission_denials": denials,
        "terminal_reason": turn.get("terminal_reason", ""),
        "betcode": {
            "session": session["id"],
            "message_id": task.message_id,
            "state": task.state,
            "error": None if error is None else error.view(),
            "exit_status": 0 if error is None else error.exit_status,
        },
    }
