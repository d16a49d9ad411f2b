"""Floods: a hundred megabytes on standard output, by a claude that has gone wrong or a tool, or on standard error."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any, Final

from betcode.testing.chaos.experiment import Experiment
from betcode.testing.chaos.limits.company import company, diagnosed
from betcode.testing.chaos.stage import Stage
from betcode.testing.chaos.talk import Talk
from betcode.testing.claude_home import bundled_claude
from betcode.testing.limits import NEWS_S
from betcode.testing.odd_claude import install, order
from betcode.testing.odd_sessions import MIB

FLOOD_MIB: Final = 100
"""At SCALE=1."""
FLOOD_MIB_MAX: Final = 240
"""A keeper ends a claude that prints a line of 256 MiB, or 512 MiB in one turn: that is another experiment."""
LINE_CHARS: Final = 800
FLOOD_S: Final = 90.0
"""For all of it at SCALE=1; it takes 10 s."""
ROWS_MIB_MAX: Final = 16
"""What all that noise may leave in the database; the journal has it all."""
EVENTS_MAX: Final = 60
KEPT: Final = (".out", ".reserve")
"""Files of a run that may be large: its journal, and the room that is given back on a full disk."""


def flood_mib(stage: Stage) -> int:
    """How much is printed."""
    return max(1, min(FLOOD_MIB_MAX, round(FLOOD_MIB * stage.scale)))


async def odd(stage: Stage, do: str, **orders: Any) -> Path:
    """A daemon that starts odd claudes, and a directory in which they do this."""
    directory = stage.made.home / "odd"
    directory.mkdir()
    order(directory, do, **orders)
    return directory


async def odd_daemon(stage: Stage) -> None:
    """From now on claude is the odd one; where there are no orders it answers "ok"."""
    await stage.another_daemon(BETCODE_CLAUDE=str(install(stage.made.home, bundled_claude())))


async def answered(stage: Stage, talk: Talk) -> None:
    """One more message is answered, by whatever claude there is now."""
    state = await talk.outcome(await talk.send("and now", {"text": "of use"}))
    stage.check(state == "completed", f"the next message ended as {state}")


def few(stage: Stage, talk: Talk, before: int, events_max: int = EVENTS_MAX) -> None:
    """The database grew by little, and the session has few events."""
    rows = stage.made.paths.database.stat().st_size - before
    stage.evidence |= {"database_mib_more": round(rows / MIB, 2), "events": len(talk.view.events)}
    stage.check(rows < ROWS_MIB_MAX * MIB, f"the database grew by {rows // MIB} MiB")
    stage.check(len(talk.view.events) < events_max, f"{len(talk.view.events)} events")


def journal_bytes(talk: Talk) -> int:
    """What all its runs printed."""
    return sum(file.stat().st_size for file in talk.folder.glob("*.out"))


async def _odd_flood(stage: Stage, do: str, text: str, **orders: Any) -> tuple[Talk, str]:
    """An odd claude floods in one turn and goes on; what all of these have in common. Its session, and words."""
    await odd_daemon(stage)
    mib = flood_mib(stage)
    directory = await odd(stage, do, mib=mib, **orders)
    async with company(stage) as beside:
        talk = await stage.talk(directory)
        before = stage.made.paths.database.stat().st_size
        beside.watch(talk)
        begun_s = time.monotonic()
        key = await talk.send("go")
        state = await talk.outcome(key, within_s=max(NEWS_S, FLOOD_S * stage.scale))
        await beside.enough()
    took_s = time.monotonic() - begun_s
    stage.evidence |= {"flood_s": round(took_s, 1), "journal_mib": round(journal_bytes(talk) / MIB, 1)}
    stage.check(state == "completed", f"the message ended as {state}")
    stage.check(talk.answers(text) == 1, f"{talk.answers(text)} whole answers {text!r}")
    few(stage, talk, before)
    told = await diagnosed(stage, talk)
    printed = told["runs"][-1]["journal_bytes"]
    stage.check(printed >= mib * MIB, f"the doctor says that {printed} bytes were printed, of {mib} MiB")
    await answered(stage, talk)
    return talk, f"{mib} MiB in {took_s:.0f} s; completed; the doctor says {printed} bytes; {beside.brief()}"


async def _stdout(stage: Stage) -> str:
    talk, seen = await _odd_flood(stage, "chatter", "chatter", size=LINE_CHARS)
    stage.check(not talk.notices(), f"people were troubled: {talk.notices()}")
    return seen


async def _line(stage: Stage) -> str:
    talk, seen = await _odd_flood(stage, "endless", "long")
    size = flood_mib(stage) * MIB
    errors = [e["message"] for e in talk.view.of("error", code="ndjson.oversize")]
    stage.check(len(errors) == 1 and str(size) in errors[0], f"the line of {size} bytes was told as {errors}")
    return f"told: {errors}; {seen}"


async def _tool(stage: Stage) -> str:
    mib = flood_mib(stage)
    command = f"yes 'a line of a tool that never ends' | head -c {mib * MIB}"
    async with company(stage) as beside:
        talk = await stage.talk(allow=("Bash",))
        before = stage.made.paths.database.stat().st_size
        beside.watch(talk)
        use = {"tool": {"name": "Bash", "input": {"command": command, "description": "floods"}}}
        key = await talk.send("flood", use, {"text": "done"})
        state = await talk.outcome(key, within_s=max(NEWS_S, FLOOD_S * stage.scale))
        await beside.enough()
    stage.check_outcome(talk, state, "done")
    [result] = [e["text"] for e in talk.view.of("tool_result")]
    stage.evidence |= {"tool_result": result[:120], "tool_result_chars": len(result)}
    stage.check(re.search(r"too large|exceeded", result), f"the result does not say that it was cut: {result[:200]}")
    few(stage, talk, before)
    await diagnosed(stage, talk)
    await talk.goes_on()
    return f"{state}; the result has {len(result)} characters: {result[:60]!r}; {beside.brief()}"


async def _stderr(stage: Stage) -> str:
    await odd_daemon(stage)
    mib, code = flood_mib(stage), 9
    directory = await odd(stage, "stderr", mib=mib, code=code)
    async with company(stage) as beside:
        talk = await stage.talk(directory)
        before = stage.made.paths.database.stat().st_size
        beside.watch(talk)
        key = await talk.send("go", {"text": "healthy"})
        await talk.until("turn_started")
        order(directory, "real")  # for the claude after it
        notice = await talk.until("notice", code="agent.ended", within_s=max(NEWS_S, FLOOD_S * stage.scale))
        await beside.enough()
        state = await talk.outcome(key)
    stage.check_outcome(talk, state, "healthy")
    last = f"complaint {mib * MIB // 4096 - 1:08}"
    for what in (f"exit code {code}", last):
        stage.check(what in notice["message"], f"{what!r} is not in {notice['message'][:300]!r}")
    stage.check(len(notice["message"]) < 32_768, f"the notice has {len(notice['message'])} characters")
    few(stage, talk, before)
    left = sum(file.stat().st_size for file in talk.folder.iterdir() if file.suffix not in KEPT)
    stage.evidence["files_beside_the_journal_kib"] = left // 1024
    stage.check(left < 2 * MIB, f"the session's files beside the journal have {left // MIB} MiB")
    told = await diagnosed(stage, talk)
    stage.check(any(last in e["what"] or str(code) in e["what"] for e in told["history"]), "the doctor does not tell")
    await talk.goes_on()
    return f"told: {notice['message'][:80]}...; another claude answered; {state}; {beside.brief()}"


def _of(id: str, injected: str, expected: str, run: Any) -> Experiment:
    others = "daemon, keeper and database stay small; the other session does not notice"
    return Experiment(id, injected, f"{expected}; {others}", run, deadline_s=FLOOD_S, apart=True, scaled=True)


FLOODS: Final = (
    _of(
        "flood.stdout",
        f"a claude that prints {FLOOD_MIB} MiB of deltas in one turn, as fast as it can",
        "the turn is completed; the doctor says how much was printed",
        _stdout,
    ),
    _of(
        "flood.stdout-line",
        f"a claude that prints a line of {FLOOD_MIB} MiB",
        "an event names its size; the turn is completed",
        _line,
    ),
    _of(
        "flood.stdout-tool",
        f"a tool of the real claude that prints {FLOOD_MIB} MiB",
        "the result is cut and says so; the turn is completed",
        _tool,
    ),
    _of(
        "flood.stderr",
        f"a claude that writes {FLOOD_MIB} MiB to standard error and exits",
        "its last words are told; another one answers the message",
        _stderr,
    ),
)
"""In the order of their run."""
