"""Blocks have the same names after a restart of the daemon, wherever in an answer it comes."""

import pytest

from betcode.core.life import from_rows, to_row
from betcode.core.transcript import Transcript
from betcode.model.events import Assistant
from betcode.testing.sample_rows import session_row
from betcode.testing.simulator import claude_lines as lines
from betcode.wire.claude import read_line

PRINTED = [
    lines.message_start("m"),
    lines.block_start(0, "thinking"),
    lines.delta(0, "thinking", "hm"),
    lines.assistant("m", {"type": "thinking", "thinking": "hm"}),
    lines.block_stop(0),
    lines.block_start(1, "text"),
    lines.delta(1, "text", "so"),
    lines.assistant("m", {"type": "text", "text": "so"}),
    lines.block_stop(1),
    lines.message_stop(),
]


def _names(transcript: Transcript, printed: list[bytes]) -> list[str]:
    shown = [event for line in printed for _, events in transcript.read(read_line(line.strip())) for event in events]
    return [event.block for event in shown if isinstance(event, Assistant)]


@pytest.mark.req("INV-2")
@pytest.mark.parametrize("cut", range(len(PRINTED)))
def test_blocks_keep_their_names_when_the_daemon_begins_again_in_an_answer(cut: int) -> None:
    before = Transcript()
    names: list[str] = []
    checkpoint, answers = 0, dict(before.answers)
    for number, line in enumerate(PRINTED[:cut], 1):
        names += _names(before, [line])
        if before.clean:
            checkpoint, answers = number, dict(before.answers)
    after = Transcript(answers=answers)
    _names(after, PRINTED[checkpoint:cut])
    assert names + _names(after, PRINTED[cut:]) == ["m:0", "m:1"]


@pytest.mark.req("INV-2")
def test_the_unfinished_answers_are_stored_with_the_session() -> None:
    row = session_row()
    session = from_rows(row, (), ())
    assert session.answers == ()
    row.life["answers"] = [["", "m", 1]]
    session = from_rows(row, (), ())
    assert session.answers == (("", "m", 1),)
    assert from_rows(to_row(session), (), ()).answers == session.answers
