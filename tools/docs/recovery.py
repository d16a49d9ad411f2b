"""docs/recovery.md: the decision table of a message whose claude process ended in the middle of its turn."""

from __future__ import annotations

from tools.docs.markdown import mark, page, table

from betcode.core.recovery import ANY, EFFECT, MEANING, TABLE, Moment, Row, Way

INTRODUCTION = """\
# What becomes of a message when its process dies

`claude` may crash, be killed, or go down with its keeper or the machine at any moment of a turn. What happens then is
looked up in the table below. Two things decide:

- the **moment**, from the journal (every byte that `claude` printed) and the keeper's records (every line that it was
  given);
- whether Claude's own **transcript** holds what the moment is about. It lags behind what is printed: a block is on the
  disk up to 140 ms after its message has ended, a tool's result up to 115 ms after its line.

BetCode never starts a tool call a second time. `CLAUDE_CODE_RESUME_INTERRUPTED_TURN`, with which `claude` goes on by
itself, calls a tool again whose result is not in the transcript; so it is used only where every result is, and once."""

CLOSING = """\
Beside the table:

- **Whom it concerns.** The end may be a crash, a kill, a reboot, or asked for: the ways are the same. A turn that a
  person had interrupted is cancelled, not continued.
- **The text so far** of a block that was being written stays, marked as interrupted.
- **A message that was steered** into the turn, or merged with it, is never sent again once the transcript has it, since
  `claude` would run it twice: `claude` is told instead.
- **A message that an answer follows** in the transcript, or the filler that `claude` writes when it is resumed after a
  message without one, is not sent again either, since `claude` would drop it: `claude` is told instead.
- **A background task or a subagent** that was alive ends with its process. You are told, and so is `claude`, in a
  message whose sender is `betcode`.
- **Too much memory**: a turn whose `claude` was ended because it and its tools used more than `agent.memory_bytes_max`
  allows is not gone on with, since it would end in the same way. The message is `failed`, or `unknown` if a tool was
  running, and you are told which process used how much. Only a message that `claude` had not got yet is sent again,
  with the delays of a crash.
- **An API error** ends a turn: its message has failed already, and the end of the process after it changes nothing.
- **`supervision.unknown_outcome = "ask"`** puts every tool whose outcome is unknown to you first.
- **How soon**: after 0.5 s, doubling to 30 s with each crash in a row; after 5 of them the session is CRASHED and
  waits for `betcode sessions retry`.
- **Somebody else's `claude`** on the same conversation is noticed by its state file, or by what it left in the
  transcript. The session is held, and `betcode sessions release` lets it go on, with what was said there.

`betcode doctor session ID` tells what happened in a session and what was done about it."""


def render() -> str:
    """The page."""
    return page(
        mark("src/betcode/core/recovery.py"),
        INTRODUCTION,
        "## The table",
        table(("moment", "in the transcript", "way", "the second time", "why"), [_cells(row) for row in TABLE]),
        "## Moments",
        table(("moment", "meaning"), [(moment.value, MEANING[moment]) for moment in Moment]),
        "## Ways",
        table(("way", "meaning"), [(way.value, EFFECT[way]) for way in Way]),
        CLOSING,
    )


def _cells(row: Row) -> tuple[str, ...]:
    stored = "any" if row.stored == ANY else " or ".join(s.value for s in row.stored)
    return row.moment.value, stored, row.way.value, row.again.value, row.why
