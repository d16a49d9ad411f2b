"""The journal of a run is cut, or gone: what is lost is said, and the session goes on."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Final

from betcode.testing.chaos.experiment import Experiment
from betcode.testing.chaos.recovery.daemons import TARGET_S, running_turn, said, streaming_again
from betcode.testing.chaos.stage import Stage
from betcode.testing.chaos.talk import Talk


def journal(talk: Talk) -> Path:
    """The file with the output of the first run."""
    return talk.folder / "1.0.out"


async def _cut(stage: Stage) -> str:
    """As after a power cut: everything has ended, and the end of the file was not synced."""
    stage.gaps_allowed = True
    talk, key = await running_turn(stage)
    killed_s = stage.kill_everything()
    file = journal(talk)
    content = file.read_bytes()
    ends = [n for n, byte in enumerate(content) if byte == 10]
    line = stage.rng.choice([n for n in range(len(ends) - 1) if ends[n + 1] - ends[n] > 20])
    at = stage.rng.randrange(ends[line] + 5, ends[line + 1] - 5)
    with file.open("r+b") as opened:
        opened.truncate(at)
    stage.took(await stage.daemon_answers(killed_s), target_s=TARGET_S)
    state = await talk.outcome(key)
    told = [e["kind"] for e in talk.view.events if e["kind"] in ("gap", "error")]
    stage.check_outcome(talk, state, said(60), "unknown")
    stage.check(told, "neither the loss nor the torn line was told")
    await talk.goes_on()
    return f"{len(content) - at} bytes cut off in the middle of a line, told as {told}; {state}"


async def _deleted(stage: Stage) -> str:
    """Everything has ended and the journal is gone."""
    stage.gaps_allowed = True
    talk, key = await running_turn(stage)
    killed_s = stage.kill_everything()
    journal(talk).unlink()
    stage.took(await stage.daemon_answers(killed_s), target_s=TARGET_S)
    state = await talk.outcome(key)
    gaps = talk.view.of("gap")
    stage.check_outcome(talk, state, said(60), "unknown")
    stage.check(gaps, "the loss was not told")
    await talk.goes_on()
    return f"told as {[g['unit'] for g in gaps]}; {state}"


async def _deleted_under_keeper(stage: Stage) -> str:
    """The keeper has the file open and goes on."""
    stage.gaps_allowed = True
    talk, key = await running_turn(stage)
    killed_s = stage.kill_daemon()
    journal(talk).unlink()
    await streaming_again(stage, talk, killed_s)
    state = await talk.outcome(key)
    stage.check_outcome(talk, state, said(60))
    talk.signal("claude", signal.SIGKILL)
    await talk.goes_on()
    return f"{state}; the next claude has a journal again"


async def _cut_under_keeper(stage: Stage) -> str:
    """The keeper writes on where it was: what was cut away reads as zeros."""
    stage.gaps_allowed = True
    talk, key = await running_turn(stage)
    killed_s = stage.kill_daemon()
    file = journal(talk)
    with file.open("r+b") as opened:
        opened.truncate(stage.rng.randrange(file.stat().st_size // 2, file.stat().st_size - 1))
    stage.took(await stage.daemon_answers(killed_s), target_s=TARGET_S)
    state = await talk.outcome(key)
    stage.check_outcome(talk, state, said(60))
    await talk.goes_on()
    return f"{state}; {len(talk.view.of('error'))} bad lines and {len(talk.view.of('gap'))} gaps were told"


EXPERIMENTS: Final = (
    Experiment(
        "adopt.journal-cut",
        "all killed in a turn; the journal is cut in the middle of a line",
        "the loss of what was stored, or the torn line, is told; the user is asked",
        _cut,
    ),
    Experiment(
        "adopt.journal-deleted",
        "all killed in a turn; the journal is deleted",
        "a gap event says what is lost; the user is asked",
        _deleted,
    ),
    Experiment(
        "adopt.journal-cut-under-keeper",
        "kill -9 of the daemon in a turn; the journal is cut while the keeper writes it",
        "the turn is answered once: its end was written after the cut",
        _cut_under_keeper,
    ),
    Experiment(
        "adopt.journal-deleted-under-keeper",
        "kill -9 of the daemon in a turn; the journal is deleted while the keeper writes it",
        "the turn is answered once; the next claude has a journal again",
        _deleted_under_keeper,
    ),
)
