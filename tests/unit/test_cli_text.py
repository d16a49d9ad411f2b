"""What people read and type: lines of events, questions, tables, log lines; and how errors look."""

import io
import json
import sys
import time
from random import Random
from typing import Any

import pytest

from betcode.cli import live, output
from betcode.cli.decision import Decision, decision
from betcode.cli.lines import (
    ONE_LINE_CHARS,
    cut,
    event_lines,
    how_to_answer,
    question_lines,
    result_lines,
    tool_line,
)
from betcode.cli.live import Live
from betcode.cli.local_time import local
from betcode.cli.log_file import readable
from betcode.cli.output import counted
from betcode.client.patience import Patience
from betcode.client.session_view import Dropped, Durable, Increment
from betcode.model import limits
from betcode.model.errors import BetcodeError


@pytest.mark.parametrize(
    "typed, given",
    [
        ("a", Decision(allow=True)),
        ("Allow\n", Decision(allow=True)),
        ("y", Decision(allow=True)),
        ("s", Decision(allow=True, for_session=True)),
        ("d", Decision(allow=False)),
        ("deny use the other one", Decision(allow=False, message="use the other one")),
        ("n ", Decision(allow=False)),
        ("s please", None),
        ("", None),
        ("allow it?", None),
        ("sure", None),
    ],
)
@pytest.mark.req("INV-3")
def test_only_a_clear_yes_allows(typed: str, given: Decision | None) -> None:
    assert decision(typed) == given


@pytest.mark.req("SE-4")
def test_a_question_shows_the_whole_input_however_long_it_is() -> None:
    given = {"command": "first\n" + "x" * 100_000, "timeout": 5, "env": {"A": ["b"]}}
    lines = question_lines({"tool": "Bash", "input": given, "description": "first"}, "/work")
    assert lines[0] == "? claude asks to use Bash in /work"
    assert lines[1:] == ["  command: first", "    " + "x" * 100_000, "  timeout: 5", '  env: {"A": ["b"]}']


@pytest.mark.req("SE-4")
def test_what_is_shortened_says_so() -> None:
    assert cut("short") == "short"
    assert cut("a  b\n c") == "a b c"
    assert cut("x" * (ONE_LINE_CHARS + 7)).endswith("x[... 7 more characters]")
    text = "\n".join(f"line {n}" for n in range(9))
    assert result_lines({"text": text, "is_error": True})[0] == "  | failed: line 0"
    assert result_lines({"text": text})[-1] == "  | [... 5 more lines]"
    assert result_lines({"text": ""}) == ["  | (nothing)"]


def test_a_tool_call_is_one_line_with_what_matters() -> None:
    assert tool_line({"tool": "Bash", "input": {"description": "d", "command": "ls\n-l"}}) == "* Bash: ls -l"
    assert tool_line({"tool": "X", "input": {"n": 1}, "scope": "t"}) == '    * X: {"n": 1}'


def test_an_event_of_a_newer_daemon_is_a_line_and_no_error() -> None:
    assert event_lines({"kind": "from_the_future"}) == ["  (from_the_future)"]


def test_a_table_keeps_each_cell_in_its_column() -> None:
    assert output.table([["ID", "NAME"], ["abc", "two\nlines\x1b[2J"]]) == "ID   NAME\nabc  two\\x0alines\\x1b[2J"


def test_a_log_line_is_readable_and_a_foreign_line_is_kept() -> None:
    line = {"timestamp": "2026-01-02T03:04:05.678Z", "level": "info", "target": "betcode", "message": "m", "pid": 7}
    assert readable(json.dumps(line)) == "2026-01-02 03:04:05.678 INFO    m  pid=7"
    assert readable("Traceback (most recent call last):") == "Traceback (most recent call last):"
    assert readable("[1]") == "[1]"


@pytest.mark.parametrize(
    "argv, expected",
    [
        ([], False),
        (["status", "--json"], True),
        (["run", "--output-format", "json", "x"], True),
        (["run", "--output-format=stream-json"], True),
        (["run", "--output-format", "text"], False),
        (["run", "--", "--json"], False),
    ],
)
def test_a_program_gets_its_errors_as_json_even_when_the_arguments_are_wrong(argv: list[str], expected: bool) -> None:
    assert output.wants_json(argv) is expected


def test_an_error_is_two_lines_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    error = BetcodeError("session.not_found", "no \x1b[2J session", hint="look")
    assert output.fail(error, as_json=False) == 6
    assert capsys.readouterr() == ("", "error: no \\x1b[2J session\nhint: look\n")


def test_text_that_the_terminal_cannot_show_is_escaped(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="latin-1"))
    output.say("caf\xe9 \u2026 \ud800")
    assert raw.getvalue() == b"caf\xe9 \\u2026 \\ud800\n"


# --- an answer while it is written -------------------------------------------------------------------------------


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Everything that is printed, in order."""
    printed: list[str] = []
    monkeypatch.setattr(live, "write", printed.append)
    return printed


def shower(screen: list[str], *, streams: bool = True) -> Live:
    return Live(streams=streams, tell=lambda text: screen.append(f"<{text}>\n"), describe=event_lines)


def more(text: str, offset: int, block: str = "m:0", scope: str = "", part: str = "text") -> Increment:
    return Increment(block, part, scope, offset, text)


def whole(text: str, block: str = "m:0", **fields: Any) -> Durable:
    return Durable({"kind": "assistant", "block": block, "part": "text", "text": text, "scope": "", **fields}, b"")


TOOL = Durable({"kind": "tool_call", "tool": "Bash", "input": {"command": "ls"}, "tool_use_id": "t"}, b"")


@pytest.mark.parametrize(
    "news, expected",
    [
        ([more("Hel", 0), more("lo", 3), whole("Hello there")], "Hello there\n"),
        ([more("Hello\n", 0), whole("Hello\n")], "Hello\n"),
        ([whole("Hello"), TOOL], "Hello\n<* Bash: ls>\n"),
        ([more("Hel", 0), TOOL, whole("Hello")], "Hel\n<* Bash: ls>\nlo\n"),
        ([more("sub", 0, scope="t"), more("hm", 0, part="thinking")], ""),
        ([more("Hel", 0), more("ya", 1)], "Hel\n<[claude wrote this anew]>\nHya"),
        (
            [more("Hel", 0), Dropped("m:0", "", "Hel"), more("Hi", 0, "n:0")],
            "Hel\n<[claude begins this answer again]>\nHi",
        ),
        ([whole("Hal", interrupted=True)], "Hal\n<[interrupted]>\n"),
    ],
)
def test_the_screen_shows_each_answer_once(screen: list[str], news: list[object], expected: str) -> None:
    shown = shower(screen)
    for item in news:
        shown.take(item)
    assert "".join(screen) == expected


def test_without_streaming_only_whole_blocks_are_printed(screen: list[str]) -> None:
    shown = shower(screen, streams=False)
    for item in (more("Hel", 0), more("ya", 1), whole("Hello")):
        shown.take(item)
    assert "".join(screen) == "Hello\n"


# --- patience ----------------------------------------------------------------------------------------------------


@pytest.mark.req("INV-5")
def test_delays_grow_have_jitter_and_an_end() -> None:
    patience = Patience(Random(1))
    delays = [patience.failed(0.0) for _ in range(limits.RECONNECT_TRIES)]
    assert delays.pop() is None
    kept = [delay for delay in delays if delay is not None]
    assert len(kept) == limits.RECONNECT_TRIES - 1
    assert all(0 < delay <= limits.RECONNECT_MAX_S for delay in kept)
    assert kept[0] <= limits.RECONNECT_FIRST_S < kept[-1]
    assert len(set(kept)) == len(kept)
    assert kept[0] != Patience(Random(2)).failed(0.0)


@pytest.mark.req("INV-5")
def test_only_a_connection_that_held_makes_the_count_begin_anew() -> None:
    patience = Patience(Random(1))
    for number in range(limits.RECONNECT_TRIES - 1):
        patience.opened(float(number))
        assert patience.failed(number + 0.5) is not None
    patience.opened(1000.0)
    assert patience.failed(1000.0 + limits.RECONNECT_MAX_S) is not None
    patience.opened(2000.0)
    assert patience.failed(2000.5) is not None


def test_people_see_times_of_their_own_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Kolkata")
    time.tzset()
    try:
        assert local("2026-11-25T20:34:55.274Z") == "2026-11-26 02:04"
        assert how_to_answer("p1", "2026-11-25T20:34:55.274Z")[0] == "  denied at 2026-11-26 02:04:55 if nobody answers"
        assert local("soon") == "soon"
    finally:
        monkeypatch.undo()
        time.tzset()


def test_what_claude_says_of_an_interrupted_turn_is_not_shown() -> None:
    event = {"kind": "turn_ended", "outcome": "interrupted", "errors": ["[diagnostic] result_type=user"]}
    assert event_lines(event) == ["-- turn interrupted"]
    assert event_lines({**event, "outcome": "failed"}) == ["-- turn failed: [diagnostic] result_type=user"]


def test_nouns_are_counted() -> None:
    assert [counted(n, "warning") for n in (0, 1, 2)] == ["0 warnings", "1 warning", "2 warnings"]
