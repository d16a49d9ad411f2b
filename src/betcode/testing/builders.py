"""Short ways to make what the core decides with, for tests."""

from __future__ import annotations

from random import Random
from uuid import UUID

from betcode.core.draft import Decision
from betcode.core.inputs import Input, Saw, Started, Submit
from betcode.core.instant import Instant
from betcode.core.life import Session
from betcode.core.session import step
from betcode.model.capabilities import Capabilities
from betcode.model.facts import ControlAnswer, Fact, Lifecycle, PermissionRequest, ToolCall, TurnResult, TurnStarted
from betcode.model.ids import ClaudeSessionId, MessageId, PermissionId, SessionId, permission_id
from betcode.model.rows import Message, Options
from betcode.model.states import MessageState

SESSION = SessionId("abcdefgh23")
NOON_UNIX_S = 1_800_000_000.0
"""Where the wall clock of tests stands when their steady clock is at 0."""


def at(steady_s: float = 0.0, *, wall_jump_s: float = 0.0) -> Instant:
    """A reading of both clocks, `steady_s` after the start of the test."""
    return Instant(NOON_UNIX_S + steady_s + wall_jump_s, steady_s)


def uuid(number: int) -> MessageId:
    """The id of the message called `number`."""
    return MessageId(str(UUID(int=number)))


def new_session(options: Options | None = None) -> Session:
    """A session that was just created."""
    return Session(
        id=SESSION,
        claude_session_id=ClaudeSessionId(str(UUID(int=0))),
        directory="/home/user/project",
        name="",
        created_at=at().iso,
        options=options or Options(),
    )


def submit(number: int, *, text: str = "", steer: bool = False, known: Message | None = None) -> Submit:
    """A message of the client `ann`; the ticket is its number."""
    return Submit(number, uuid(number), text or f"do {number}", "ann", known, steer)


def question_id(request_id: str, run: int = 1) -> PermissionId:
    """The id under which people know the question `request_id` of `run`."""
    return permission_id(SESSION, run, request_id)


def ready() -> ControlAnswer:
    """claude answers the readiness probe."""
    return ControlAnswer("init", ok=True, offer=Capabilities(version="2.1.330"))


def life(number: int, state: str) -> Lifecycle:
    """claude's report on message `number`."""
    return Lifecycle(uuid(number), state)


def began() -> TurnStarted:
    """`system/init`."""
    return TurnStarted("opus", "")


def call(name: str = "Bash", use: str = "toolu_1") -> ToolCall:
    """The model calls a tool."""
    return ToolCall("", "msg_1", use, name, {"command": "make"})


def ask(request_id: str = "r1", tool: str = "Bash") -> PermissionRequest:
    """claude asks whether it may run `make`."""
    return PermissionRequest(request_id, tool, {"command": "make"}, tool_use_id="toolu_1")


def result(*numbers: int, origin: str = "") -> TurnResult:
    """A good result that names these messages."""
    ids = tuple(uuid(n) for n in numbers)
    return TurnResult("success", False, "completed", "done", message_ids=ids, origin=origin, num_turns=1)


def api_error(*numbers: int, status: int = 529) -> TurnResult:
    """A turn that ended with an error of the API: its subtype says success."""
    ids = tuple(uuid(n) for n in numbers)
    return TurnResult("success", True, "api_error", "Overloaded", api_error_status=status, message_ids=ids)


def aborted(*numbers: int) -> TurnResult:
    """An interrupted turn."""
    ids = tuple(uuid(n) for n in numbers)
    return TurnResult("error_during_execution", True, "aborted_streaming", message_ids=ids, num_turns=1)


class Script:
    """A session that is fed inputs one by one; it keeps the last decision and the newest version of every row."""

    def __init__(self, session: Session | None = None) -> None:
        """Begin with a new session unless one is given."""
        self.session = session or new_session()
        self.now = at()
        self.rng = Random(7)
        self.last = Decision(self.session, (), (), ())
        self.messages: dict[str, Message] = {}

    def feed(self, *inputs: Input | Fact) -> Decision:
        """Step through the inputs, facts as `Saw`; the last decision."""
        for item in inputs:
            news = Saw(item) if isinstance(item, Fact) else item
            self.last = step(self.session, news, self.now, self.rng)
            self.session = self.last.session
            self.messages |= {row.id: row for row in self.last.rows if isinstance(row, Message)}
        return self.last

    def wait(self, seconds: float) -> None:
        """Let both clocks run on."""
        self.now = Instant(self.now.unix_s + seconds, self.now.steady_s + seconds)

    def state(self, number: int) -> MessageState:
        """Where message `number` stands."""
        return self.messages[uuid(number)].state

    def working(self, number: int = 1) -> Script:
        """Bring a new session to the middle of the turn of message `number`."""
        self.feed(submit(number))
        self.feed(Started(self.session.run), ready())
        self.feed(life(number, "queued"), life(number, "started"), began())
        return self
