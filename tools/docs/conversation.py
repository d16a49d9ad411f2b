"""The example in docs/protocol.md: made of real requests and frames, so it cannot show what does not exist."""

from __future__ import annotations

import msgspec
from tools.docs.markdown import code

from betcode.model import events, frames
from betcode.model.ids import ClaudeSessionId, PermissionId, SessionId, permission_id

SESSION = SessionId("k3vq7m2xta")
CLAUDE_SESSION = ClaudeSessionId("0d7b6a3e-5c41-4e0a-9f6b-2f3f8f1f4a77")
MESSAGE = "6f1f1bd1-3c1b-4c6e-8f53-0a54b4f4c2de"
QUESTION: PermissionId = permission_id(SESSION, 1, "1")
BLOCK = "msg_01:0"
DIRECTORY = "/home/ada/project"
TIME = "2026-01-31T12:00:0{}.000Z"

Line = frames.Request | frames.Frame

SUMMARY = frames.Summary(
    id=SESSION,
    claude_session_id=CLAUDE_SESSION,
    state="NEW",
    epoch=1,
    seq=0,
    keeper_pid=None,
    claude_pid=None,
    dir=DIRECTORY,
    created_at=TIME.format(0),
)


def render() -> str:
    """The conversation as Markdown."""
    parts: list[str] = []
    for text, lines in PARTS:
        parts += [text, code("\n".join(_line(line) for line in lines))]
    return "\n\n".join(parts)


def _line(line: Line) -> str:
    """One text of the WebSocket after the name of its sender. A client may leave out what has its default."""
    if isinstance(line, frames.Frame):
        return f"daemon  {msgspec.json.encode(line).decode()}"
    given = msgspec.to_builtins(line)
    for field in msgspec.structs.fields(line):
        default = field.default_factory() if callable(field.default_factory) else field.default
        if getattr(line, field.name) == default:
            del given[field.encode_name]
    return f"client  {msgspec.json.encode(given).decode()}"


def _events(*new: events.Event, first: int) -> frames.SessionFrame:
    """A frame with these events, numbered from `first`."""
    stamped = [
        msgspec.structs.replace(event, epoch=1, seq=seq, time=TIME.format(seq // 5))
        for seq, event in enumerate(new, first)
    ]
    return frames.SessionFrame(session=SESSION, epoch=1, events=[msgspec.Raw(msgspec.json.encode(e)) for e in stamped])


def _preview(offset: int, text: str) -> frames.SessionFrame:
    preview = events.Preview(block=BLOCK, part="text", offset=offset, text=text)
    return frames.SessionFrame(session=SESSION, epoch=1, previews=[preview])


ASKED = {"command": "rm -r build"}

PARTS: list[tuple[str, list[Line]]] = [
    (
        "Say hello, make a session, and attach to it. Its last event has the number 0: there is none yet.",
        [
            frames.Hello(id=1, protocol=[frames.PROTOCOL], client="my-client"),
            frames.Welcome(protocol=frames.PROTOCOL, version="0.1.0", pid=4711, capabilities=["attach", "watch"]),
            frames.Create(id=2, directory=DIRECTORY, key=CLAUDE_SESSION),
            frames.Reply(re=2, body={"session": msgspec.to_builtins(SUMMARY)}),
            frames.Attach(id=3, session=SESSION),
            frames.Reply(re=3, body={"session": msgspec.to_builtins(SUMMARY), "epoch": 1, "seq": 0}),
        ],
    ),
    (
        "Send a message, with a key of your own. The reply and the first events may come in either order.",
        [
            frames.Send(id=4, session=SESSION, key=MESSAGE, text="remove the build folder"),
            _events(
                events.UserMessage(message_id=MESSAGE, text="remove the build folder", client="my-client"),
                events.MessageProgress(message_id=MESSAGE, state="queued", reason="claude is starting"),
                events.Status(state="SPAWNING"),
                first=1,
            ),
            frames.Reply(re=4, body={"message_id": MESSAGE, "state": "queued", "duplicate": False}),
            _events(
                events.Status(state="ACTIVE"),
                events.MessageProgress(message_id=MESSAGE, state="delivered"),
                events.MessageProgress(message_id=MESSAGE, state="started"),
                events.TurnBegun(message_id=MESSAGE, model="claude-sonnet-4-5", version="2.1.300"),
                first=4,
            ),
        ],
    ),
    (
        "The answer, first as it is written, then whole. The whole block replaces its previews.",
        [
            _preview(0, "I will"),
            _preview(6, " remove it."),
            _events(events.Assistant(block=BLOCK, part="text", text="I will remove it."), first=8),
        ],
    ),
    (
        "claude asks. The first answer counts; a second one hears that it came too late.",
        [
            _events(
                events.ToolCalled(block="msg_01:1", tool_use_id="toolu_01", tool="Bash", input=ASKED),
                events.PermissionAsked(
                    permission_id=QUESTION,
                    tool="Bash",
                    input=ASKED,
                    tool_use_id="toolu_01",
                    expires_at="2026-02-07T12:00:02.000Z",
                ),
                first=9,
            ),
            frames.Answer(id=5, permission=QUESTION, allow=True),
            frames.Reply(re=5, body={"permission_id": QUESTION, "state": "ALLOWED"}),
            _events(events.PermissionSettled(permission_id=QUESTION, state="ALLOWED", by="my-client"), first=11),
            frames.Answer(id=6, permission=QUESTION, allow=False),
            frames.Failed(
                re=6,
                code="permission.already_settled",
                message="the question was already settled: ALLOWED by my-client",
                hint="Nothing more to do; the first answer counts.",
            ),
        ],
    ),
    (
        "The turn ends. Then the daemon is stopped; on the next connection the client goes on behind its last event.",
        [
            _events(
                events.ToolEnded(tool_use_id="toolu_01", text=""),
                events.TurnEnded(outcome="completed", message_ids=[MESSAGE], text="Done.", num_turns=2),
                events.MessageProgress(message_id=MESSAGE, state="completed"),
                events.Status(state="IDLE"),
                first=12,
            ),
            frames.Goodbye(reason="the daemon is stopping", retry_after_s=0.05),
            frames.Hello(id=1, protocol=[frames.PROTOCOL], client="my-client"),
            frames.Welcome(protocol=frames.PROTOCOL, version="0.1.0", pid=4790, capabilities=["attach", "watch"]),
            frames.Attach(id=2, session=SESSION, epoch=1, seq=15),
        ],
    ),
]
