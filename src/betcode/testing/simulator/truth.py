"""What really happened outside the daemon: what claude read, printed and ran, and what people said.

The model claudes, keepers and people report here; each report is checked at once against what is stored, since the
daemon must store first and act afterwards. `reckoning` compares the whole at the end.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from betcode.model.ids import SessionId, permission_id
from betcode.model.states import FINAL_MESSAGE_STATES, PermissionState
from betcode.testing.simulator.ledger import Ledger
from betcode.testing.simulator.stage import Stage


@dataclass(frozen=True, slots=True)
class Printed:
    """One line that must become an event of `kind`; `end` is the offset behind its newline."""

    end: int
    kind: str
    key: str
    text: str


@dataclass(frozen=True, slots=True)
class TurnOutcome:
    """A result line: the messages that it ends, and how."""

    end: int
    uuids: tuple[str, ...]
    outcome: str
    """completed, failed or cancelled"""


@dataclass(slots=True)
class RunTruth:
    """One claude process."""

    session: str
    run: int
    seen_end: Callable[[], int] = lambda: 0
    """How many bytes of its output are or were in the journal."""
    over: bool = False
    was_given: bool = False
    """Whether it has read a message."""
    bytes_printed: int = 0
    printed: list[Printed] = field(default_factory=list)
    outcomes: list[TurnOutcome] = field(default_factory=list)
    tool_lines: list[tuple[int, tuple[str, ...]]] = field(default_factory=list)
    """(end, messages of the turn) of each tool call that was printed."""
    read: Counter[str] = field(default_factory=Counter)
    """What came in on stdin: message or request id -> how often."""

    @property
    def is_fruitless(self) -> bool:
        """Whether it has read a message and finished none."""
        return self.was_given and not self.outcomes

    def is_seen(self, end: int) -> bool:
        """Whether the line that ends there reached the journal; the last newline of a dead process may be missing."""
        return end - (1 if self.over else 0) <= self.seen_end()


@dataclass(slots=True)
class Question:
    """A `can_use_tool` request of a model claude."""

    session: str
    run: int
    request_id: str
    tool: str
    tool_use_id: str
    given: dict[str, object]
    allowed: bool = False

    @property
    def permission(self) -> str:
        """The id under which the daemon stores it."""
        return permission_id(SessionId(self.session), self.run, self.request_id)


@dataclass(slots=True)
class Said:
    """What a person sent about one question."""

    allow: bool
    updated_input: dict[str, object] | None
    for_session: bool
    accepted: bool = False


class Truth:
    """The witness."""

    def __init__(self, stage: Stage, ledger: Ledger) -> None:
        """Nothing has happened."""
        self._stage = stage
        self._ledger = ledger
        self.runs: dict[tuple[str, int], RunTruth] = {}
        self.streamed: dict[str, str] = {}
        """Block -> the text of it that claude has printed so far, as deltas or whole."""
        self.executed: Counter[str] = Counter()
        """tool_use_id -> how often it ran."""
        self.calls: dict[str, tuple[str, ...]] = {}
        """tool_use_id -> the messages of the turn in which it was called."""
        self.said: dict[str, list[Said]] = {}
        """Permission id -> what people sent."""
        self.acknowledged: dict[str, tuple[str, str]] = {}
        """Message id -> session and text, for each that some client was told is stored."""
        self.meddled: set[str] = set()
        """Sessions in which a person interrupted, cleared or closed."""
        self.doomed: set[str] = set()
        """Sessions whose claude could not be started for a lasting reason at some time."""

    def run(self, session: str, run: int) -> RunTruth:
        """The record of one process, made at its start."""
        return self.runs.setdefault((session, run), RunTruth(session, run))

    # --- what claude reads --------------------------------------------------------------------------------------

    def message_read(self, run: RunTruth, uuid: str) -> None:
        """A user line arrived at claude."""
        check = self._stage.check
        run.read[uuid] += 1
        run.was_given = True
        check(run.read[uuid] == 1, "INV-1", f"message {uuid} was written twice to run {run.run} of {run.session}")
        stored = next((m for m in self._ledger.messages.values() if m.uuid == uuid), None)
        if stored is None:
            self._stage.fail("INV-1", f"message {uuid} was given to claude and is not stored")
            return
        check(stored.session == run.session, "INV-4", f"message {uuid} was given to another session's claude")
        handed = stored.run == run.run and stored.state not in FINAL_MESSAGE_STATES
        check(handed, "INV-1", f"message {uuid} was given to claude while stored as {stored.state}, run {stored.run}")
        for earlier in self.runs.values():
            if earlier.session == run.session and earlier.run < run.run:
                used = any(uuid in uuids and earlier.is_seen(end) for end, uuids in earlier.tool_lines)
                check(not used, "INV-1", f"message {uuid} was sent again although its turn had used tools")

    def turn_rerun(self, run: RunTruth, uuid: str, results: frozenset[str]) -> None:
        """claude goes on with the turn of `uuid` by itself; calls without a stored result are made anew."""
        run.was_given = True
        lost = [call for call, uuids in self.calls.items() if uuid in uuids and self.executed[call]]
        again = [call for call in lost if call not in results]
        self._stage.check(not again, "INV-1", f"the turn of {uuid} is re-run and calls {again} again, which had run")

    def answer_read(self, run: RunTruth, question: Question, allow: bool, given: dict[str, object] | None) -> None:
        """An answer to a question arrived at claude."""
        check = self._stage.check
        run.read[question.request_id] += 1
        once = run.read[question.request_id] == 1
        check(once, "INV-3", f"two answers to {question.permission} were written to claude")
        stored = self._ledger.permissions.get(question.permission)
        if stored is None:
            self._stage.fail("INV-3", f"an answer to {question.permission} was given, which is not stored")
            return
        wanted = (PermissionState.ALLOWED,) if allow else (PermissionState.DENIED, PermissionState.EXPIRED)
        check(
            stored.state in wanted,
            "INV-3",
            f"{question.permission} is stored as {stored.state}, allow={allow} was sent",
        )
        if allow:
            said = self.said.get(question.permission, [])
            theirs = any(s.allow and given == (s.updated_input or question.given) for s in said)
            check(theirs, "INV-3", f"{question.permission} was allowed with {given}, which nobody said")
            question.allowed = True

    # --- what claude does ---------------------------------------------------------------------------------------

    def tool_ran(self, run: RunTruth, tool_use_id: str, question: Question | None, *, free: bool) -> None:
        """A tool had its side effect. `free`: claude's rules allow it without a question."""
        self.executed[tool_use_id] += 1
        self._stage.check(self.executed[tool_use_id] == 1, "INV-1", f"the tool call {tool_use_id} ran twice")
        allowed = free or (question is not None and question.allowed)
        self._stage.check(allowed, "INV-3", f"the tool call {tool_use_id} of {run.session} ran without an allow")

    # --- what people are told -----------------------------------------------------------------------------------

    def message_acknowledged(self, session: str, uuid: str, text: str) -> None:
        """A client got the reply to its message."""
        stored = self._ledger.messages.get(uuid)
        is_it = stored is not None and (stored.session, stored.text) == (session, text)
        self._stage.check(is_it, "INV-1", f"message {uuid} was acknowledged and is not stored so")
        self.acknowledged[uuid] = (session, text)

    def answer_sent(self, permission: str, said: Said) -> None:
        """A client sends an answer; from here on the daemon may act on it."""
        self.said.setdefault(permission, []).append(said)

    def answer_acknowledged(self, permission: str, said: Said, state: str) -> None:
        """A client was told that its answer counts."""
        said.accepted = True
        stored = self._ledger.permissions.get(permission)
        wanted = PermissionState.ALLOWED if said.allow else PermissionState.DENIED
        good = stored is not None and stored.state is wanted and state == wanted.value
        self._stage.check(good, "INV-3", f"an answer to {permission} was acknowledged as {state}, stored is {stored}")
        accepted = sum(s.accepted for s in self.said[permission])
        self._stage.check(
            accepted == 1, "INV-3", f"{accepted} people were told that their answer to {permission} counts"
        )
