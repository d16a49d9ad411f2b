"""At the end: is everything at rest, and is what is stored what really happened?"""

from __future__ import annotations

from typing import Any

import msgspec

from betcode.core.life import BUSY, IN_CLAUDE
from betcode.model.ids import attempt_id
from betcode.model.rows import Message
from betcode.model.states import FINAL_MESSAGE_STATES, MessageState
from betcode.testing.simulator.person import Person
from betcode.testing.simulator.store import ModelDisk
from betcode.testing.simulator.town import Town
from betcode.testing.simulator.truth import RunTruth

_decode = msgspec.json.Decoder(dict[str, Any]).decode
THAW_S = 10.0
"""After that long a keeper that was stopped has sent everything, over the slowest link."""


class Reckoning:
    """Looks at the whole of a run."""

    def __init__(self, town: Town, disk: ModelDisk) -> None:
        """Changes nothing."""
        self._town = town
        self._disk = disk
        self._check = town.stage.check

    # --- rest ---------------------------------------------------------------------------------------------------

    def restless(self) -> str:
        """The first thing that still moves or should: a message that waits for no person, a claude at work."""
        ledger = self._town.ledger
        for session, runs in self._town.machine.keepers.items():
            if any(k.alive and k.frozen_until_s + THAW_S > self._town.stage.now_s for k in runs.values()):
                return f"the keeper of {session} is stopped"
        for row in ledger.sessions.values():
            if row.life["cli_state"] in BUSY and not ledger.pending(row.id):
                return f"claude of {row.id} is {row.life['cli_state']}"
        for message in ledger.messages.values():
            if message.state not in FINAL_MESSAGE_STATES and not self._is_held(message):
                life = ledger.sessions[message.session].life
                return f"{message.id} of {message.session} is {message.state} ({message.reason!r}), session {life}"
        return ""

    def _is_held(self, message: Message) -> bool:
        """Whether a person must do something before it goes on, and the message says so."""
        ledger = self._town.ledger
        life = ledger.sessions[message.session].life
        asked = bool(ledger.pending(message.session))
        if message.state in IN_CLAUDE:
            return asked
        return (
            message.state is MessageState.QUEUED and bool(message.reason) and (life["held"] or life["crashed"] or asked)
        )

    def unfinished(self) -> str:
        """The first message without an outcome; empty when there is none."""
        for message in self._town.ledger.messages.values():
            if message.state not in FINAL_MESSAGE_STATES:
                return f"{message.id} of {message.session} is {message.state} ({message.reason!r})"
        return ""

    def behind(self, people: list[Person]) -> str:
        """The first view that does not show everything; empty when there is none."""
        for person in people:
            for viewer in person.viewers.values():
                row = self._town.ledger.sessions[viewer.session]
                seen = (viewer.view.epoch, viewer.view.seq)
                if row.seq and seen != (row.epoch, row.seq):
                    return f"{person.name} sees {viewer.session} up to {seen}, stored is {(row.epoch, row.seq)}"
        return ""

    # --- the whole ----------------------------------------------------------------------------------------------

    def compare(self) -> None:
        """Compare what is stored with what really happened."""
        self._database()
        for uuid, (session, text) in self._town.truth.acknowledged.items():
            message = self._town.ledger.messages.get(uuid)
            kept = message is not None and (message.session, message.text) == (session, text)
            self._check(kept, "INV-1", f"the acknowledged message {uuid} is lost")
        for message in self._town.ledger.messages.values():
            self._outcome(message)
        for session in self._town.ledger.sessions:
            self._shown(session)
        for permission, times in self._settled().items():
            self._check(times == 1, "INV-3", f"question {permission} was shown as settled {times} times")

    def _database(self) -> None:
        """The database agrees with itself and with what was committed."""
        rows = self._disk.connection.execute(
            "SELECT id, seq, (SELECT count(*) FROM events WHERE session = sessions.id AND epoch = sessions.epoch),"
            " (SELECT max(seq) FROM events WHERE session = sessions.id AND epoch = sessions.epoch) FROM sessions"
        )
        for session, seq, count, last in rows.fetchall():
            whole = seq == count == (last or 0)
            self._check(whole, "INV-2", f"session {session} ends at {seq} with {count} events up to {last}")
        found = self._disk.connection.execute("PRAGMA foreign_key_check").fetchall()
        self._check(not found, "INV-2", f"rows refer to nothing: {found}")

    def _runs(self, session: str) -> list[RunTruth]:
        runs = [run for run in self._town.truth.runs.values() if run.session == session]
        return sorted(runs, key=lambda run: run.run)

    def _outcome(self, message: Message) -> None:
        """The outcome that is stored is one that claude or a person gave."""
        runs = self._runs(message.session)
        told = {
            outcome.outcome
            for run in runs
            for outcome in run.outcomes
            if _uuids(message).intersection(outcome.uuids) and run.is_seen(outcome.end)
        }
        name = f"message {message.id} of {message.session} is {message.state} ({message.reason!r}), claude said {told}"
        if message.session in self._town.machine.gentle:
            self._check(message.state is MessageState.COMPLETED, "INV-4", f"{name}, and nothing went wrong there")
        if "completed" in told:
            self._check(message.state is MessageState.COMPLETED, "INV-1", name)
        meddled = message.session in self._town.truth.meddled
        match message.state:
            case MessageState.COMPLETED:
                taken = self._was_taken(message)
                self._check("completed" in told or taken, "INV-1", name)
            case MessageState.FAILED:
                good = "failed" in told or "cancelled" in told or message.session in self._town.truth.doomed
                self._check(good and bool(message.reason), "INV-1", name)
            case MessageState.CANCELLED:
                self._check(meddled and bool(message.reason), "INV-1", name)
            case MessageState.UNKNOWN:
                doubt = any(self._is_doubtful(run) for run in runs if run.run == message.run)
                self._check(doubt and bool(message.reason), "INV-1", name)
            case _:
                self._check(False, "INV-1", name)

    def _is_doubtful(self, run: RunTruth) -> bool:
        """Whether this process called a tool, or printed something that cannot be read and could have been a call."""
        keeper = self._town.machine.keepers[run.session][run.run]
        called = any(run.is_seen(end) for end, _ in run.tool_lines)
        unreadable = any(line.kind == "error" and run.is_seen(line.end) for line in run.printed)
        return called or unreadable or keeper.lost_below > len(keeper.journal) or _is_cut(keeper.half_line())

    def _printed(self, run: RunTruth) -> list[tuple[str, str, str]]:
        """What must have become an event, in the words of `_fact`; a line cut by the end of its process is an error."""
        seen = [line for line in run.printed if run.is_seen(line.end)]
        facts = [(line.kind, line.key, line.text) for line in seen]
        keeper = self._town.machine.keepers[run.session][run.run]
        if _is_cut(keeper.half_line()) and not (seen and seen[-1].end > len(keeper.journal)):
            facts.append(("error", "", ""))
        return facts

    def _was_taken(self, message: Message) -> bool:
        """Whether claude had begun to answer it in an earlier process: then it reports it as completed."""
        conversation = self._town.ledger.sessions[message.session].claude_session_id
        found = self._town.machine.conversation(conversation)
        return any(found.is_answered(uuid) for uuid in _uuids(message))

    def _shown(self, session: str) -> None:
        """Everything that reached the journal became an event, once, in order, with claude's own words."""
        events = [_decode(event.body) for _, event in sorted(self._town.ledger.events.get(session, {}).items())]
        printed = [fact for run in self._runs(session) for fact in self._printed(run)]
        cut = [event for event in events if event.get("interrupted") and _fact(event) not in printed]
        for event in cut:  # the process died while it wrote this block
            streamed = self._town.truth.streamed.get(event["block"], "")
            true = bool(event["text"]) and streamed.startswith(event["text"])
            self._check(true, "INV-2", f"the unfinished text of {event['block']} is not what claude had streamed")
        blocks = [event["block"] for event in cut]
        self._check(len(blocks) == len(set(blocks)), "INV-2", f"an unfinished text is shown twice in {session}")
        shown = [fact for event in events if event not in cut and (fact := _fact(event)) is not None]
        if shown != printed:
            pairs = zip([*shown, None], [*printed, None], strict=False)
            first = next((pair for pair in pairs if pair[0] != pair[1]), None)
            self._check(False, "INV-2", f"the events of {session} differ from what claude printed: {first}")

    def _settled(self) -> dict[str, int]:
        times: dict[str, int] = {}
        for events in self._town.ledger.events.values():
            for event in events.values():
                if event.kind == "permission_settled":
                    name = _decode(event.body)["permission_id"]
                    times[name] = times.get(name, 0) + 1
        return times


def _uuids(message: Message) -> set[str]:
    """All uuids under which claude has known this message."""
    return {message.id, *(attempt_id(message.id, n) for n in range(1, message.attempt + 1))}


def _is_cut(line: bytes) -> bool:
    """Whether this is a part of a line; one that lacks nothing but its newline is whole."""
    try:
        return bool(line) and not _decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return True


def _fact(event: dict[str, Any]) -> tuple[str, str, str] | None:
    """What an event shows of claude's output, in the words of `truth.Printed`."""
    match event["kind"]:
        case "assistant":
            return "assistant", event["block"], event["text"]
        case "tool_call":
            return "tool_call", event["tool_use_id"], ""
        case "tool_result":
            return "tool_result", event["tool_use_id"], event["text"]
        case "error" | "unknown" as kind:
            return str(kind), "", ""
        case _:
            return None
