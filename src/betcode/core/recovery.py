"""What becomes of a message whose process ended in the middle of its turn: the decision table (PS-5, INV-1).

Two things are known after a death: the moment, from the journal (every byte that claude printed) and the keeper's
records (every line that it was given); and what Claude's own transcript has stored, which lags behind what is
printed. `TABLE` says for each pair how to go on. docs/recovery.md shows it; it is made from here. Rules:
  1. A tool call is never started a second time by us. Once a call is seen, claude is told about it, or a person is
     asked; claude's own re-run is used only where its transcript proves that every call has its result.
  2. A second death in a tool of the same message is put to a person: perhaps that tool is the cause.
  3. What cannot be read counts as a call that may have run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from betcode.core.turn import Turn
from betcode.model import limits
from betcode.model.conversation import Conversation
from betcode.model.rows import Message
from betcode.model.states import MessageState


class Moment(StrEnum):
    """Where in its turn a message was when its process ended."""

    UNWRITTEN = "unwritten"
    ANSWERING = "answering"
    QUESTION = "question open"
    TOOL_RUNNING = "tool running"
    TOOLS_DONE = "tools done"
    FINISHED = "finished"
    DOUBTFUL = "doubtful"


MEANING = {
    Moment.UNWRITTEN: "not one byte of the message was given to claude",
    Moment.ANSWERING: "claude had it, perhaps wrote text, and called no tool",
    Moment.QUESTION: "a tool call waited for a person's answer, so it cannot have run; all others have results",
    Moment.TOOL_RUNNING: "a tool call that may have run has no result",
    Moment.TOOLS_DONE: "tools were called, all have results, the next answer was under way",
    Moment.FINISHED: "Claude's transcript holds the end of the answer, but its result was never read",
    Moment.DOUBTFUL: "a line of the turn could not be read, or a part of the journal is missing",
}
"""Each moment in words."""


class Stored(StrEnum):
    """Whether Claude's transcript holds what the moment is about: the message, or the results of its calls."""

    YES = "yes"
    NO = "no"
    UNSURE = "unsure"


class Way(StrEnum):
    """How a message goes on."""

    SEND = "send"
    RESEND = "send again"
    RERUN = "let claude re-run"
    TELL = "tell claude"
    FINISH = "take it for done"
    FAIL = "end it as failed"
    ASK = "ask the user"


EFFECT = {
    Way.SEND: "the message waits for the next process as if nothing had happened",
    Way.RESEND: "the next process gets the same message under the same uuid, which claude runs at most once",
    Way.RERUN: "the next process is started so that claude itself goes on from the last stored result",
    Way.TELL: "the next process is told what happened and which outcomes are unknown, and goes on",
    Way.FINISH: "the message is completed; the end of its answer is shown from the transcript, and the user is told so",
    Way.FAIL: "the message ends as `failed`; a person decides whether and how to try again",
    Way.ASK: "the message ends as `unknown`, the queue is held, and a person decides",
}
"""Each way in words."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table. `again`: the way if claude had been told, or left, to go on with the message before."""

    moment: Moment
    stored: tuple[Stored, ...]
    way: Way
    again: Way
    why: str


ANY = (Stored.YES, Stored.NO, Stored.UNSURE)
TABLE = (
    Row(Moment.UNWRITTEN, ANY, Way.SEND, Way.SEND, "claude never saw it"),
    Row(Moment.ANSWERING, ANY, Way.RESEND, Way.RESEND, "nothing but text is lost, and claude drops a copy it has"),
    Row(Moment.QUESTION, ANY, Way.TELL, Way.TELL, "the tool did not run; if it is still wanted, a new question comes"),
    Row(Moment.TOOL_RUNNING, ANY, Way.TELL, Way.ASK, "nobody knows whether it had its effect: it is never repeated"),
    Row(
        Moment.TOOLS_DONE, (Stored.YES,), Way.RERUN, Way.TELL, "every result is in the transcript: no call is repeated"
    ),
    Row(
        Moment.TOOLS_DONE,
        (Stored.NO, Stored.UNSURE),
        Way.TELL,
        Way.TELL,
        "claude may not know the newest results; a re-run could call those tools again",
    ),
    Row(Moment.FINISHED, ANY, Way.FINISH, Way.FINISH, "claude has answered; anything more would be a second turn"),
    Row(Moment.DOUBTFUL, ANY, Way.ASK, Way.ASK, "there may be calls that nobody has seen"),
)
"""The decision table: exactly one row for each moment and each answer of the transcript."""


def moment_of(message: Message, turn: Turn | None, written: frozenset[str], known: Conversation) -> Moment:
    """Where `message`, which the ended process was to get or had, was in its turn.

    Args:
        message: in one of the states of `life.IN_CLAUDE`.
        turn: what was seen of the turn.
        written: ids of the lines that the keeper had begun to write.
        known: what the transcript says.
    """
    seen = turn is not None and turn.message_id == message.id and (turn.begun or turn.tools > 0 or bool(turn.done))
    given = message.uuid in written or message.uuid in known.messages  # to this process, or to an earlier one
    if not given and message.state is MessageState.DELIVERING and not seen:
        return Moment.UNWRITTEN
    if known.answered and message.uuid in known.messages:
        return Moment.FINISHED
    if turn is None or not (turn.tools or turn.doubt):
        return Moment.ANSWERING
    if turn.doubt:
        return Moment.DOUBTFUL
    if any(call.may_have_run for call in turn.calls):
        return Moment.TOOL_RUNNING
    return Moment.QUESTION if turn.calls else Moment.TOOLS_DONE


def stored_of(moment: Moment, message: Message, turn: Turn | None, known: Conversation) -> Stored:
    """Whether the transcript holds what decides at this moment."""
    if moment is Moment.TOOLS_DONE and turn is not None:
        there = not turn.unstored(known.results) and message.uuid in known.messages
    else:
        there = message.uuid in known.messages
    if there:
        return Stored.YES
    return Stored.NO if known.whole else Stored.UNSURE


def way_of(moment: Moment, stored: Stored, *, again: bool, asks: bool) -> Way:
    """Look up the table.

    Args:
        moment: where the turn was.
        stored: what the transcript says.
        again: claude had been told, or left, to go on with this message before.
        asks: the user wants to be asked whenever an outcome is unknown (`supervision.unknown_outcome`).
    """
    [row] = [r for r in TABLE if r.moment is moment and stored in r.stored]
    way = row.again if again else row.way
    return Way.ASK if asks and moment is Moment.TOOL_RUNNING else way


def after_stop(moment: Moment, way: Way) -> Way:
    """The way when claude was ended for what it and its tools used: nobody goes on by himself into the same wall.

    Args:
        moment: where the turn was.
        way: what the table says.
    """
    if way in (Way.SEND, Way.FINISH):  # it has not begun, or is over: it was not what used so much
        return way
    return Way.ASK if moment in (Moment.TOOL_RUNNING, Moment.DOUBTFUL) else Way.FAIL


def told(
    message: Message, moment: Moment, turn: Turn | None, known: Conversation, cause: str, tasks: Sequence[str] = ()
) -> str:
    """What claude is told instead of the message, so that it can go on without repeating anything blindly.

    Args:
        message: with its own text, which is repeated where the transcript may lack it.
        moment: where its turn was.
        turn: the calls that were seen.
        known: what the transcript says.
        cause: how the turn came to its end, as a sentence without a full stop.
        tasks: what ran in the background and ended with the process.
    """
    parts = [f"[BetCode] {cause}, in the middle of your work on the user's last message. This is not from the user."]
    calls = turn.calls if turn is not None else ()
    for call in calls:
        parts.append(f"Your call of {call.tool} {call.brief} {_outcome(call.may_have_run)}")
    for call in turn.unstored(known.results) if turn is not None and moment is not Moment.ANSWERING else ():
        parts.append(f"Your call of {call.tool} {call.brief} had ended, but its result may be missing above.")
    if tasks:
        parts.append(f"What ran in the background has ended too; how far it got is unknown: {', '.join(tasks)}.")
    parts.append("Go on from where you stopped. Do not repeat a call whose outcome is unknown before you have checked.")
    if message.uuid not in known.messages:
        parts.append(f"The user's message was:\n\n{message.said}")
    text = "\n".join(parts)
    return text if len(text.encode()) <= limits.PROMPT_BYTES_MAX else "\n".join(parts[:-1])


def told_of_own_work(what: str, turn: Turn | None, cause: str) -> str:
    """What claude is told when no message of a user was under way, but `what` was: a background task, a subagent."""
    parts = [f"[BetCode] {cause}, while this ran in the background: {what}. This is not from the user."]
    for call in turn.calls if turn is not None else ():
        parts.append(f"Its call of {call.tool} {call.brief} {_outcome(call.may_have_run)}")
    parts.append("It ended with the process; how far it got is unknown. Check before you repeat anything, then go on.")
    return "\n".join(parts)


def _outcome(may_have_run: bool) -> str:
    if may_have_run:
        return "has no result: its outcome is unknown. It may have run wholly, in part, or not at all."
    return "was not run: nobody had answered its permission question. Call it again if you still need it."
