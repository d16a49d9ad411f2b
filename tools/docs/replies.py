"""What the body of each reply holds. By hand: in the code a body is an open object.

`check` holds it against the docstrings of the requests and against the code that makes the larger objects.
"""

from __future__ import annotations

import re
from typing import get_args

from tools.docs.reading import meaning

from betcode.engine.registry import question_view
from betcode.model.frames import AnyRequest
from betcode.model.ids import PermissionId, SessionId
from betcode.model.rows import Permission
from betcode.model.states import PermissionState

Rows = tuple[tuple[str, str, str], ...]
"""name, type, meaning"""

NOTHING: Rows = ()
WAITING: Rows = (("waiting", "whole number", "Messages that wait for their turn."),)
SUMMARY: Rows = (("session", "[Summary](#object-summary)", "The session as it is now."),)
SUMMARIES = "list of [Summary](#object-summary)"

BODIES: dict[str, Rows] = {
    "Create": SUMMARY,
    "Attach": (
        *SUMMARY,
        ("epoch", "whole number", "The session's present epoch."),
        ("seq", "whole number", "Number of its last event; with `from_end` this is where you begin."),
    ),
    "Tap": (
        ("run", "whole number", "The run it begins in."),
        ("offset", "whole number", "The byte of that run it begins with."),
    ),
    "Detach": NOTHING,
    "Watch": (("sessions", SUMMARIES, "All sessions, newest first, at most 1,000."),),
    "ListSessions": (("sessions", SUMMARIES, "The sessions asked for, newest first."),),
    "Show": SUMMARY,
    "Events": (
        ("epoch", "whole number", "The epoch that was read."),
        ("events", "list of [events](#events)", "In order, `after` not included."),
        ("more", "true or false", "There may be more: ask again, with the last `seq` as `after`."),
    ),
    "Send": (
        ("message_id", "text", "The key you sent."),
        ("state", "text", "A [state of messages](#states-of-messages)."),
        ("duplicate", "true or false", "This key was accepted before; nothing new was done."),
    ),
    "Answer": (
        ("permission_id", "text", "The question."),
        ("state", "text", "`ALLOWED` or `DENIED`."),
    ),
    "Interrupt": (("held", "whole number", "Waiting messages, which stay until `release` or `clear`."),),
    "Release": WAITING,
    "Clear": (("cancelled", "list of text", "Ids of the messages that were cancelled."),),
    "Retry": (*WAITING, ("retried", "true or false", "Something was started afresh; false: nothing had to be.")),
    "Close": (("state", "text", "`CLOSED`, or `closing` while its process still ends."),),
    "Delete": (
        ("session", "text", "Its id."),
        ("state", "text", "`DELETED`."),
        ("deleted_at", "text", "When it was deleted: ISO 8601, UTC."),
    ),
    "Rename": (("name", "text", "The new name."),),
    "Permissions": (("permissions", "list of [Question](#object-question)", "Oldest first, at most 1,000."),),
    "Queue": (
        (
            "messages",
            "list of objects",
            "`id`; `text`, its beginning; `state`, `reason` as in `message_state`; `client`; `accepted_at`.",
        ),
        ("held", "true or false", "What waits goes on only after `release`."),
        (
            "place",
            "whole number",
            "The session's place among those that wait for a slot, from 1; 0: it waits for none.",
        ),
        ("places", "whole number", "How many sessions wait for a slot."),
    ),
    "Quarantine": (
        ("session", "text", "Its whole id."),
        (
            "lines",
            "list of objects",
            "In the order in which they were printed: `run`, `offset`, `size` in bytes, `time`, `error_type` "
            "(`invalid_utf8`, `invalid_json`, `schema`, `oversize`), `reason`; `text`, the beginning for people.",
        ),
    ),
    "QuarantinedLine": (
        ("data", "text", "Bytes of the line in base64; empty where nothing more of it is left."),
        ("size", "whole number", "Bytes of the whole line, its newline not counted."),
    ),
    "GetDrift": (
        (
            "drift",
            "list of objects",
            "`version` of claude, empty before it has told it; `what`: `kind` or `field`; `name`; `count`; "
            "`first_seen`, `last_seen`; `session` and `example`, empty once that session is deleted.",
        ),
    ),
    "GetUsage": (
        ("by", "text", "As asked: `day`, `session` or `model`."),
        ("days", "whole number", "As asked; 0: all that is stored."),
        ("session", "text", "The session's id; empty: all sessions that are not deleted."),
        (
            "rows",
            "list of objects",
            "`key` (a local day, a session's id or a model), `turns`, `input_tokens`, `output_tokens`,"
            " `cache_read_tokens`, `cache_write_tokens`, `cost_usd`.",
        ),
        ("left_off", "whole number", "Rows beyond the 1,000 newest days, or dearest sessions; they are in `total`."),
        ("total", "object", "The same of all together, without `key`; a turn that used two models is one turn."),
        (
            "windows",
            "list of objects",
            "Usage windows that the API told of and that have not ended: `upstream`, `name`, `status`, `resets_at`,"
            " `utilization` (0 to 1), `told_at`.",
        ),
    ),
    "GetStatus": (
        ("daemon", "object", "`pid`, `version`, `started_at`."),
        (
            "database",
            "object",
            "`path`; `state`: `ok`, `degraded` (commits fail at present), `repairing`, `damaged` or `stopped`; "
            "`intake_bytes`, the size of the intake log; `warnings`, sentences for people; `repair`, how far a repair "
            "is; `rescue`, the report of the newest one: `at`, `cause`, `outcome`, `sentences`, `missing`, `kept`.",
        ),
        (
            "pool",
            "object",
            "`slots`, turns that may run at the same time; `working`, those that do; `waiting`, sessions that wait for "
            "a slot; `processes` of claude that live, and `processes_max`, how many may.",
        ),
        (
            "load",
            "object",
            "Messages that run or wait in all sessions: `messages` and `message_bytes`, the memory of their text; "
            "`messages_max` and `message_bytes_max`, how much that may be.",
        ),
        (
            "memory",
            "object",
            "`used_bytes` by the processes of all sessions; `max_bytes`, how much that may be; `not_by_kernel`, why "
            "only the keepers hold each session's memory, empty where the kernel does so too.",
        ),
        (
            "claude",
            "object",
            "`path` and `version` of the claude of the next processes; `warnings`, sentences for people; `before`, "
            "its version at the daemon's start, if another; `problem` and `hint`, where no new process is started.",
        ),
        ("sessions", SUMMARIES, "All sessions, newest first, at most 1,000."),
    ),
    "Stop": (("within_s", "number", "Seconds until it has ended, at most."),),
    "Repair": (("state", "text", "The state of the database, as in the status: `repairing`."),),
    "Ping": NOTHING,
}
"""By the name of the request's type; `hello` is answered by a frame of its own."""

QUESTION: Rows = (
    ("id", "text", "What `answer` names as `permission`."),
    ("session", "text", "The session that waits."),
    ("dir", "text", "Its working directory, where the tool would run."),
    ("tool", "text", "The tool that claude wants to run."),
    ("input", "object", "What it would run with."),
    ("description", "text", "claude's own description of the call, or empty."),
    ("reason", "text", "Why claude asks, or empty."),
    ("agent_id", "text", "The subagent that asks; empty for the main conversation."),
    ("state", "text", "A [state of questions](#states-of-questions); here always `PENDING`."),
    ("asked_at", "text", "When it was asked: ISO 8601, UTC."),
    ("expires_at", "text", "When silence becomes a denial."),
)


def check() -> None:
    """Raise ValueError where the tables above and the code disagree."""
    requests = {cls.__name__: cls for cls in get_args(AnyRequest)}
    if BODIES.keys() | {"Hello"} != requests.keys():
        wrong = BODIES.keys() ^ (requests.keys() - {"Hello"})
        raise ValueError(f"tools/docs/replies.py: BODIES has too much, or lacks, {sorted(wrong)}")
    for name, rows in BODIES.items():
        told = re.search(r"Reply: (.*?)\.(?:\s|$)", meaning(requests[name]), re.DOTALL)
        words = set(re.findall(r"`(\w+)`", told[1])) if told else set()
        names = {row[0] for row in rows}
        if not names <= words or words - names - set(requests[name].__struct_fields__):
            listed = f"its docstring names {sorted(words)}, the table {sorted(names)}"
            raise ValueError(f"tools/docs/replies.py: the reply to {name}: {listed}")
    made = question_view(
        Permission(
            id=PermissionId("p"),
            session=SessionId("s"),
            run=1,
            request_id="r",
            tool="Bash",
            input={},
            state=PermissionState.PENDING,
            asked_at_unix_s=0.0,
            deadline_unix_s=0.0,
        ),
        "/",
    )
    if set(made) != {row[0] for row in QUESTION}:
        raise ValueError(f"tools/docs/replies.py: a question has {sorted(made)}")
