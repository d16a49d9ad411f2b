"""Company for a session that uses up what there is: another one at work, and a look at what daemon and keepers take.

    async with company(stage) as beside:        the other works, undisturbed, and its time is taken
        talk = await stage.talk(...)
        beside.watch(talk)                      from here on it is disturbed
        ...
        await beside.enough()                   until here

Afterwards both are compared. The bounds are for two cores that do other work as well; the ratio is evidence, no bound:
a word that was 2 ms late and is 20 ms late now has suffered in no way that a person could see.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Iterable
from typing import Any, Final

from betcode.keeper.tree import start_ticks
from betcode.testing.chaos.limits import worker
from betcode.testing.chaos.stage import Stage, newest_run
from betcode.testing.chaos.talk import Talk
from betcode.testing.installation import until, words
from betcode.testing.limits import NEWS_S
from betcode.testing.odd_claude import order
from betcode.testing.odd_sessions import DAEMON_MIB_MAX, KEEPER_MIB_MAX, MIB, forget_the_peak, memory

WARM_TURNS: Final = 1
"""The first one contains the start of the CLI, and is not counted."""
TURNS_MIN: Final = 4
"""Before, and beside: at 16 words each."""
LATE_S_MAX: Final = 1.0
"""Words, 19 in 20. Less than 0.1 s is usual."""
FIRST_S_MAX: Final = 5.0
"""From sending to the first word, 19 in 20: model request and CLI included, which take 0.2 s when undisturbed."""
SHARE: Final = 0.95
LEAST_S: Final = 0.002
"""What is less counts as so much in a ratio."""
LOOK_S: Final = 0.1


class Company:
    """What `company` makes. `turns` are those of the other session, as `worker` tells them."""

    def __init__(self, stage: Stage, talk: Talk) -> None:
        self.stage = stage
        self.talk = talk
        self.turns: list[dict[str, Any]] = []
        self.begun_s = self.ended_s = 0.0
        self.daemon = stage.made.daemon_pid() or 0
        self.daemon_before = self.keeper_peak = self.files_peak = 0
        self._watched: list[Talk] = []

    async def read(self, lines: asyncio.StreamReader) -> None:
        """Take what the worker tells."""
        while line := await lines.readline():
            turn = json.loads(line)
            self.talk.sent[turn["key"]] = worker.TITLE
            self.turns.append(turn)

    async def look(self) -> None:
        """Keep the largest sizes, all the time: a keeper may be gone at the end."""
        while True:
            keepers = [run["keeper_pid"] for talk in self._watched if (run := newest_run(talk.folder))]
            self.keeper_peak = max([self.keeper_peak, *(memory(pid, "VmHWM") for pid in keepers)])
            with contextlib.suppress(OSError):
                self.files_peak = max(self.files_peak, len(os.listdir(f"/proc/{self.daemon}/fd")))
            await asyncio.sleep(LOOK_S)

    async def more_turns(self, count: int) -> None:
        """Wait until so many more have ended."""
        wanted = len(self.turns) + count
        await until(lambda: len(self.turns) >= wanted, within_s=NEWS_S, what=f"{count} turns of the other session")

    def watch(self, talk: Talk) -> None:
        """From now on this session disturbs."""
        self._watched.append(talk)
        if not self.begun_s:
            forget_the_peak(self.daemon)
            self.daemon_before = memory(self.daemon, "VmRSS")
            self.begun_s = time.monotonic()

    async def enough(self) -> None:
        """The disturbance is over."""
        self.ended_s = time.monotonic()
        await until(
            lambda: self.turns and self.turns[-1]["sent_s"] >= self.begun_s, within_s=NEWS_S, what="the turn after it"
        )

    def judge(self) -> None:
        """Evidence of both, and what must hold."""
        stage, evidence = self.stage, self.stage.evidence
        before = _measured(self.turns[WARM_TURNS:], 0.0, self.begun_s)
        beside = _measured(self.turns, self.begun_s, self.ended_s)
        evidence["other_session_before"], evidence["other_session_beside"] = before, beside
        evidence["disturbed_s"] = round(self.ended_s - self.begun_s, 2)
        stage.check(beside["words"], "the other session showed no word while it was disturbed")
        for name, bound in (("late_p95_s", LATE_S_MAX), ("first_word_p95_s", FIRST_S_MAX)):
            evidence[f"{name}_ratio"] = round(max(beside[name], LEAST_S) / max(before[name], LEAST_S), 1)
            stage.check(beside[name] < bound, f"the other session: {name} is {beside[name]} s, before {before[name]}")
        states = {turn["state"] for turn in self.turns}
        stage.check(states == {"completed"}, f"turns of the other session ended as {states}")
        whole = self.talk.answers(words(worker.WORDS))
        stage.check(
            whole == len(self.turns), f"{len(self.turns)} turns of the other session have {whole} whole answers"
        )
        stage.check(not self.talk.notices(), f"the other session was troubled: {self.talk.notices()}")
        stage.check(self.talk.run(2) is None, "the other session's claude was replaced")
        self._judge_sizes()

    def _judge_sizes(self) -> None:
        stage = self.stage
        grown = memory(self.daemon, "VmHWM") - self.daemon_before
        stage.evidence |= {
            "daemon_mib_before": self.daemon_before // MIB,
            "daemon_mib_grown_at_most": round(grown / MIB, 1),
            "keeper_mib_at_most": round(self.keeper_peak / MIB, 1),
            "daemon_open_files_at_most": self.files_peak,
        }
        same = self.stage.made.daemon_pid() == self.daemon
        stage.check(same, "the daemon was started anew")
        stage.check(same and grown < DAEMON_MIB_MAX * MIB, f"the daemon grew by {grown // MIB} MiB")
        stage.check(self.keeper_peak < KEEPER_MIB_MAX * MIB, f"a keeper has {self.keeper_peak // MIB} MiB")

    def brief(self) -> str:
        """Some words for what was observed."""
        before, beside = (self.stage.evidence[f"other_session_{when}"] for when in ("before", "beside"))
        return (
            f"beside it words were late by {beside['late_p95_s']} s (19 in 20; {before['late_p95_s']} s before it); "
            f"daemon +{self.stage.evidence['daemon_mib_grown_at_most']} MiB"
        )


def _measured(turns: Iterable[dict[str, Any]], begin_s: float, end_s: float) -> dict[str, Any]:
    """Times of what was shown, or sent, between two moments."""
    turns = list(turns)
    late = sorted(s for turn in turns for moment_s, s in turn["late"] if begin_s <= moment_s < end_s)
    meant = [
        t for t in turns if t["first_s"] is not None and begin_s <= t["sent_s"] + t["first_s"] and t["sent_s"] < end_s
    ]
    first = sorted(turn["first_s"] for turn in meant)
    return {
        "turns": len(meant),
        "words": len(late),
        "late_p50_s": _at(late, 0.5),
        "late_p95_s": _at(late, SHARE),
        "late_max_s": _at(late, 1.0),
        "first_word_p50_s": _at(first, 0.5),
        "first_word_p95_s": _at(first, SHARE),
    }


def _at(ordered: list[float], share: float) -> float:
    """The value that this share does not pass; 0 when there is none."""
    return round(ordered[min(int(len(ordered) * share), len(ordered) - 1)], 4) if ordered else 0.0


@contextlib.asynccontextmanager
async def company(stage: Stage) -> AsyncIterator[Company]:
    """The other session at work for long enough; its judgement at the end, unless there was an exception."""
    directory = stage.made.home / "other"
    directory.mkdir()
    order(directory, "real")  # where `claude` is the odd one
    talk = await stage.talk(directory)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", worker.__name__, str(stage.made.paths.socket), talk.session),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    beside = Company(stage, talk)
    tasks = [asyncio.create_task(beside.read(process.stdout)), asyncio.create_task(beside.look())]
    try:
        await beside.more_turns(WARM_TURNS + TURNS_MIN)
        yield beside
        process.stdin.close()
        await asyncio.wait_for(process.wait(), NEWS_S)
        await tasks[0]
        await until(
            lambda: all(map(talk.finals, talk.sent)), within_s=NEWS_S, what="the end of the other session's turns"
        )
        beside.judge()
    finally:
        for task in tasks:
            task.cancel()
        if process.returncode is None:
            process.kill()
            await process.wait()


async def diagnosed(stage: Stage, talk: Talk) -> dict[str, Any]:
    """What `betcode doctor session` says; its history and runs are evidence."""
    said = await asyncio.to_thread(stage.command(), "doctor", "session", "--json", talk.session)
    found: dict[str, Any] = said.json()
    stage.evidence["doctor"] = {
        "history": [entry["what"][:400] for entry in found["history"]][-6:],
        "runs": [{k: run[k] for k in run if k in ("run", "out_bytes", "peak_bytes", "how")} for run in found["runs"]],
        "now": found["now"],
    }
    return found


def lives(pid: int) -> bool:
    """Whether there is such a process."""
    return start_ticks(pid) is not None
