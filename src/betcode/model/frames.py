"""The client protocol: requests and frames, as JSON texts over a WebSocket. Version 1.

A client opens the connection with `hello` and gets `welcome`. Each further request carries an `id` of the client's
choice and gets exactly one `reply` or `error` with `re` equal to it; a reply that says a thing is done comes after it
is stored. Unknown fields are ignored by both sides, so both may add some. `docs/protocol.md` is generated from here.
"""

from __future__ import annotations

from typing import Any

from msgspec import Raw, Struct, field

from betcode.model.events import Passing, Preview
from betcode.model.rows import Options
from betcode.model.upstream import ApiWait

PROTOCOL = 1
"""The version this program speaks."""
URGENT_PATH = "/v1/urgent"
"""HTTP path of a connection that attaches to nothing: let in beyond the usual bound, to answer and to stop."""


class Request(Struct, frozen=True, kw_only=True, tag_field="op"):
    """Base of all requests. `id` is repeated in the answer."""

    id: int = 0


class Hello(Request, frozen=True, kw_only=True, tag="hello"):
    """First frame of a connection: the protocol versions the client speaks, and who it is (shown to people)."""

    protocol: list[int]
    client: str = ""
    version: str = ""
    trace_id: str = ""
    """W3C trace id (32 hex digits) that the daemon's log lines for this connection carry."""
    person: bool = False
    """A person looks at it: sessions that it is attached to are no background sessions meanwhile."""


class Create(Request, frozen=True, kw_only=True, tag="create"):
    """Make a session in `directory`. Reply: `session`, a summary. The same `key` again gives the same session."""

    directory: str
    name: str = ""
    options: Options = field(default_factory=Options)
    key: str = ""
    imports: bool = False
    """Take over the conversation that claude has under this `key`: its history is shown, the next message resumes."""


class Attach(Request, frozen=True, kw_only=True, tag="attach"):
    """Get all events after (epoch, seq), then live ones and previews. Reply: `session`, and `epoch`, `seq` of the end.

    `epoch` 0 means: from the beginning of what is stored. `from_end`: only what is new.
    """

    session: str
    epoch: int = 0
    seq: int = 0
    from_end: bool = False
    previews: bool = True


class Detach(Request, frozen=True, kw_only=True, tag="detach"):
    """Get no more of this session."""

    session: str


class Tap(Request, frozen=True, kw_only=True, tag="tap"):
    """Get what claude itself prints, byte by byte, from (run, offset) on; run 0 means: only what is new.

    Reply: `run`, `offset`, where it begins. `raw` frames follow, all with this `place`: a client that taps again
    chooses another one, and so knows which frames belong to the earlier tap. `detach` ends it too.
    """

    session: str
    run: int = 0
    offset: int = 0
    place: int = 0


class Watch(Request, frozen=True, kw_only=True, tag="watch"):
    """Get a `sessions` frame whenever a session's summary changes. Reply: `sessions`, all summaries."""


class ListSessions(Request, frozen=True, kw_only=True, tag="list"):
    """Reply: `sessions`, newest first, at most `limit` (1..1000)."""

    limit: int = 1000
    closed: bool = True


class Show(Request, frozen=True, kw_only=True, tag="show"):
    """Reply: `session`, one summary. `session` may be the unique beginning of an id, four characters or more."""

    session: str


class Events(Request, frozen=True, kw_only=True, tag="events"):
    """Read stored events without attaching. Reply: `epoch`, `events`, `more`."""

    session: str
    epoch: int = 0
    after: int = 0
    limit: int = 500


class Send(Request, frozen=True, kw_only=True, tag="send"):
    """Give a session a message. `key` is a UUID: the same key again does nothing new (INV-1).

    `steer` hands it to the running turn at once instead of after it. Reply: `message_id`, `state`, `duplicate`.
    """

    session: str
    key: str
    text: str
    steer: bool = False


class Answer(Request, frozen=True, kw_only=True, tag="answer"):
    """Settle a permission question. The first valid answer counts. Reply: `permission_id`, `state`."""

    permission: str
    allow: bool
    message: str = ""
    updated_input: dict[str, Any] | None = None
    for_session: bool = False
    interrupt: bool = False


class Interrupt(Request, frozen=True, kw_only=True, tag="interrupt"):
    """Stop the running turn; waiting messages are held. Reply: `held`, their number."""

    session: str


class Release(Request, frozen=True, kw_only=True, tag="release"):
    """Let held messages go on. Reply: `waiting`."""

    session: str


class Clear(Request, frozen=True, kw_only=True, tag="clear"):
    """Cancel waiting messages: all, or the one named. Reply: `cancelled`, their ids."""

    session: str
    message_id: str = ""


class Retry(Request, frozen=True, kw_only=True, tag="retry"):
    """Start afresh after CRASHED, or at once instead of waiting, for a delay or the API; with `model` on that one.

    Reply: `waiting`, `retried` (anything was)."""

    session: str
    model: str = ""


class Close(Request, frozen=True, kw_only=True, tag="close"):
    """End a session for good; its events stay readable. Reply: `state`."""

    session: str


class Delete(Request, frozen=True, kw_only=True, tag="delete"):
    """Remove a session with its events and files; its keys are remembered, so that no message of it is run again.

    One that is at work, or in which messages or questions wait, is refused unless `force`, which ends it first. The
    same again does nothing. Reply: `session`, `state`, `deleted_at`.
    """

    session: str
    force: bool = False


class Rename(Request, frozen=True, kw_only=True, tag="rename"):
    """Give a session another name. Reply: `name`."""

    session: str
    name: str


class Permissions(Request, frozen=True, kw_only=True, tag="permissions"):
    """Reply: `permissions`, all open questions (of one session, or of all)."""

    session: str = ""


class Queue(Request, frozen=True, kw_only=True, tag="queue"):
    """What waits in a session. Reply: `messages`, those without an outcome, in order; `held`, `place`, `places`."""

    session: str


class Quarantine(Request, frozen=True, kw_only=True, tag="quarantine"):
    """Lines of claude's output that could not be read. Reply: `session`, `lines`, the newest 1,000 of 7 days.

    Each has `run` and `offset`, its place in the output; `size` in bytes, `time`, `error_type`, `reason`; `text`, its
    beginning, where a byte that is no UTF-8 appears as `\\xff`.
    """

    session: str


class QuarantinedLine(Request, frozen=True, kw_only=True, tag="quarantined_line"):
    """The bytes of such a line from byte `start` of it on. Reply: `data`, at most 1 MiB in base64; `size` of the line.

    `data` is empty where nothing more of it is left: at its end, or when the journal that had it is gone.
    """

    session: str
    run: int
    offset: int
    start: int = 0


class GetDrift(Request, frozen=True, kw_only=True, tag="drift"):
    """What claude printed and this version of BetCode does not know. Reply: `drift`, by version of claude and name.

    Each has `version`, `what` (`kind` or `field`), `name`, `count`, `first_seen`, `last_seen`, and an `example` from a
    `session`; both are empty once that session is deleted.
    """


class GetUsage(Request, frozen=True, kw_only=True, tag="usage"):
    """What turns have used. Reply: `by`, `rows`, `left_off`, `total`, `days`, `session`, `windows`.

    `by` is `day` (local days of the daemon's machine), `session` or `model`. Each row has its `key`, `turns`,
    `input_tokens`, `output_tokens`, `cache_read_tokens`, `cache_write_tokens` and `cost_usd`; `total` the same without
    a key. `days`: only so many days, today included; 0: all.
    """

    session: str = ""
    by: str = "day"
    days: int = 0


class GetStatus(Request, frozen=True, kw_only=True, tag="status"):
    """Reply: `daemon`, `database`, `claude`, `memory`, `pool`, `load`, `sessions`."""


class Stop(Request, frozen=True, kw_only=True, tag="stop"):
    """Stop the daemon. Running turns go on and are adopted by the next one, unless `end_sessions`.

    Reply: `within_s`, seconds that it takes at most.
    """

    end_sessions: bool = False


class Repair(Request, frozen=True, kw_only=True, tag="repair"):
    """Build the database anew from all that is left of it, although nothing was found damaged.

    The status tells when it is done, and what came of it. Reply: `state`.
    """


class Ping(Request, frozen=True, kw_only=True, tag="ping"):
    """Reply: nothing but that the daemon answers."""


AnyRequest = (
    Hello
    | Create
    | Attach
    | Detach
    | Tap
    | Watch
    | ListSessions
    | Show
    | Events
    | Send
    | Answer
    | Interrupt
    | Release
    | Clear
    | Retry
    | Close
    | Delete
    | Rename
    | Permissions
    | Queue
    | Quarantine
    | QuarantinedLine
    | GetDrift
    | GetUsage
    | GetStatus
    | Stop
    | Repair
    | Ping
)


class Summary(Struct, frozen=True, kw_only=True):
    """A session at a glance."""

    id: str
    claude_session_id: str
    state: str
    epoch: int
    seq: int
    keeper_pid: int | None
    claude_pid: int | None
    dir: str
    name: str = ""
    reason: str = ""
    created_at: str = ""
    run: int = 0
    waiting: int = 0
    held: bool = False
    questions: int = 0
    place: int = 0
    """Its place among the sessions that wait for a slot, from 1; 0 if it does not wait for one."""
    api: ApiWait | None = None
    memory_bytes: int = 0
    """What claude and its tools use; 0 without a process."""


class Frame(Struct, frozen=True, kw_only=True, tag_field="type"):
    """Base of what the daemon sends."""


class Welcome(Frame, frozen=True, kw_only=True, tag="welcome"):
    """Answer to `hello`: the version both speak, and what this daemon can do."""

    protocol: int
    version: str
    pid: int
    capabilities: list[str]


class Reply(Frame, frozen=True, kw_only=True, tag="reply"):
    """The request `re` is done; `body` holds what its description names."""

    re: int
    body: dict[str, Any]


class Failed(Frame, frozen=True, kw_only=True, tag="error"):
    """The request `re` was not done (0: the frame could not be read). `code` is in `docs/errors.md`.

    `status` is `RESOURCE_EXHAUSTED` when a limit was reached: then `limit` is its name, `scope` says whose it is
    (`session`, `client` or `daemon`), and the same request may be sent again after `retry_after_ms`.
    """

    re: int
    code: str
    message: str
    hint: str
    status: str = ""
    limit: str = ""
    scope: str = ""
    retry_after_ms: int | None = None


class SessionFrame(Frame, frozen=True, kw_only=True, tag="events"):
    """What is new in an attached session: durable events in order, then previews of unfinished blocks.

    `reset`: the numbering began anew; forget what you hold of this session, `reset` says why.
    """

    session: str
    epoch: int
    events: list[Raw] = field(default_factory=list)
    previews: list[Preview] = field(default_factory=list)
    passing: list[Passing] = field(default_factory=list)
    reset: str = ""


class RawFrame(Frame, frozen=True, kw_only=True, tag="raw"):
    """A stretch of claude's standard output of process number `run`, from byte `offset` on, in base64.

    It may begin or end inside a line. After the last byte of a run the next one follows with offset 0.
    """

    session: str
    run: int
    offset: int
    data: bytes
    place: int = 0


class SessionsFrame(Frame, frozen=True, kw_only=True, tag="sessions"):
    """Summaries that changed, and ids of sessions that were deleted, for a client that watches."""

    sessions: list[Summary]
    deleted: list[str] = field(default_factory=list)


class Goodbye(Frame, frozen=True, kw_only=True, tag="goodbye"):
    """The daemon closes the connection; come back after `retry_after_s` seconds (null: do not)."""

    reason: str
    retry_after_s: float | None = None


AnyFrame = Welcome | Reply | Failed | SessionFrame | RawFrame | SessionsFrame | Goodbye
