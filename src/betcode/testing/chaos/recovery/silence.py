"""A claude that is stopped in the middle of a turn, and a model server that stalls in the middle of a stream."""

from __future__ import annotations

import signal
import time
from typing import Final

from betcode.keeper.tree import start_ticks
from betcode.testing.chaos.experiment import Experiment
from betcode.testing.chaos.recovery.daemons import running_turn, said, streamed
from betcode.testing.chaos.sources import with_short_silence
from betcode.testing.chaos.stage import Stage

SILENCE_S: Final = 3.0
GRACE_S: Final = 1.0
SHORT: Final = {
    "BETCODE_SUPERVISION_STALL_S": str(SILENCE_S),
    "BETCODE_SUPERVISION_HANG_S": str(SILENCE_S),
    "BETCODE_SUPERVISION_INTERRUPT_GRACE_S": str(GRACE_S),
    "BETCODE_SUPERVISION_STOP_GRACE_S": str(GRACE_S),
}
"""Shorter than the settings allow: the range is opened in a copy of the source."""
WORKED_S: Final = 3.0
"""For another CLI to start and to write."""


async def _short(stage: Stage) -> None:
    await stage.another_daemon(PYTHONPATH=str(with_short_silence(stage.made.home / "impatient")), **SHORT)


async def _hang(stage: Stage) -> str:
    await _short(stage)
    talk, key = await running_turn(stage, 60)
    claude = talk.process("claude")
    stopped_s = talk.signal("claude", signal.SIGSTOP)
    state = await talk.outcome(key)
    stage.took(time.monotonic() - stopped_s, target_s=SILENCE_S + 2 * GRACE_S + WORKED_S + 3.0)
    stage.check_outcome(talk, state, said(60))
    codes = [e["code"] for e in talk.view.of("notice")]
    stage.check("agent.hang" in codes, f"nobody was told of the hang: {codes}")
    stage.check(start_ticks(claude.pid) != claude.start, "the stopped claude lives")
    await talk.goes_on()
    return f"told {codes}; the stopped claude was ended; {state}"


async def _stall(stage: Stage) -> str:
    await _short(stage)
    talk = await stage.talk()
    after = stage.rng.randrange(1, 9)
    step = {**streamed(10, prefix="s"), "stall_s": 3_600.0, "after": after, "times": 1}
    key = await talk.send("a long answer", step, told=streamed(10, prefix="z"))
    await talk.until_words("s", after)
    stalled_s = time.monotonic()
    claude = talk.process("claude")
    state = await talk.outcome(key)
    stage.took(time.monotonic() - stalled_s, target_s=SILENCE_S + GRACE_S + WORKED_S)
    codes = [e["code"] for e in talk.view.of("notice")]
    stage.check("agent.stall" in codes, f"nobody was told of the stall: {codes}")
    stage.check(state == "completed", f"the message ended as {state}")
    whole = talk.answers(said(10)) + talk.answers(said(10, "z"))
    stage.check(whole == 1, f"{whole} whole answers")
    same = start_ticks(claude.pid) == claude.start
    await talk.goes_on()
    return f"told {codes}; {'the same claude' if same else 'another claude'} went on; {state}"


EXPERIMENTS: Final = (
    Experiment(
        "silence.hang",
        f"SIGSTOP of claude in a turn, with supervision.hang_s and stall_s at {SILENCE_S:.0f} s",
        "interrupt, SIGTERM, SIGKILL; people are told; the message is sent again and answered once",
        _hang,
    ),
    Experiment(
        "silence.stall",
        f"the model server falls silent in the middle of a stream, with supervision.stall_s at {SILENCE_S:.0f} s",
        "the turn is interrupted and goes on; people are told; answered once",
        _stall,
    ),
)
