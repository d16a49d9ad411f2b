"""The stage of one experiment: a whole installation, its conversations, and what was noted of them."""

from __future__ import annotations

import asyncio
import signal
import time
from pathlib import Path
from random import Random
from typing import Any, Final

from betcode.client.client import Client
from betcode.keeper.report import read_report
from betcode.keeper.tree import Process, kill
from betcode.model.errors import BetcodeError
from betcode.model.frames import Create, Ping
from betcode.testing.chaos.process_watch import ProcessWatch
from betcode.testing.chaos.talk import Talk
from betcode.testing.command import Command
from betcode.testing.installation import Installation, until
from betcode.testing.limits import NEWS_S, ORPHANS_GONE_S

NAMED_BY: Final = {
    "user_message": "message_id",
    "assistant": "block",
    "tool_call": "tool_use_id",
    "tool_result": "tool_use_id",
    "permission_asked": "permission_id",
    "permission_settled": "permission_id",
}
"""Kinds of events that tell of something once, and the field that names it."""


class Stage:
    """What an experiment works with. `rng` chooses its moments; `scale` multiplies its counts and durations."""

    def __init__(self, made: Installation, client: Client, watch: ProcessWatch, rng: Random, scale: float) -> None:
        self.made = made
        self.client = client
        self.watch = watch
        self.rng = rng
        self.scale = scale
        self.failures: list[str] = []
        self.evidence: dict[str, Any] = {}
        self.recovery_s: float | None = None
        self.talks: list[Talk] = []
        self.gaps_allowed = False
        """Whether the experiment destroys something, so that a gap event is the truth."""
        self._tasks: list[asyncio.Task[None]] = []

    # --- what experiments do ------------------------------------------------------------------------------------

    def check(self, holds: object, otherwise: str) -> None:
        """Note a failure and go on."""
        if not holds:
            self.failures.append(otherwise)

    def check_outcome(self, talk: Talk, state: str, answer: str, *allowed: str) -> None:
        """The message ended in one of the allowed ways (completed unless others are named), with the answer for it."""
        allowed = allowed or ("completed",)
        self.check(state in allowed, f"the message ended as {state}, not {' or '.join(allowed)}")
        wrong = talk.unlike_one_answer(state, answer)
        self.check(not wrong, wrong)

    def took(self, recovery_s: float, *, target_s: float) -> None:
        """Note how long the recovery took. Only ten times the target is a failure: this machine does other work."""
        self.recovery_s = round(max(recovery_s, self.recovery_s or 0.0), 3)
        self.evidence["recovery_target_s"] = round(target_s, 3)
        self.check(recovery_s <= 10 * target_s, f"recovery took {recovery_s:.1f} s, ten times the {target_s:.1f} s")

    def went_on(self, talk: Talk, since_s: float, *, after: int, target_s: float) -> None:
        """Note when another claude showed the first sign of work, among the events beyond the first `after` ones."""
        if (moment_s := talk.view.went_on_s(after)) is not None:
            self.took(moment_s - since_s, target_s=target_s)

    async def talk(self, directory: Path | None = None, **options: Any) -> Talk:
        """A new session, in the installation's project unless elsewhere, and a viewer of it."""
        where = str(directory or self.made.project)
        body = await self.client.request(Create(directory=where, options=self.made.options(**options)))
        viewer = self.made.client(seed=self.rng.randrange(1_000_000))
        await viewer.__aenter__()
        talk = Talk(
            self.made, self.client, viewer, str(body["session"]["id"]), str(body["session"]["claude_session_id"])
        )
        self.talks.append(talk)
        self._tasks.append(asyncio.create_task(talk.view.watch()))
        return talk

    def command(self) -> Command:
        """The command `betcode` of this installation."""
        return Command(self.made.env, self.made.project)

    async def pause(self, low_s: float, high_s: float) -> None:
        """Let a random time pass: the moment of a fault is not a matter of any condition."""
        await asyncio.sleep(self.rng.uniform(low_s, high_s))

    async def daemon_answers(self, since_s: float) -> float:
        """Wait for a daemon that answers; seconds since then."""
        await self.client.request(Ping())
        return time.monotonic() - since_s

    def kill_daemon(self) -> float:
        """kill -9 of the daemon; returns the moment. Raises AssertionError when none lived."""
        assert self.made.kill_daemon(), "no daemon lived at the moment of its kill"
        return time.monotonic()

    async def another_daemon(self, **variables: str | None) -> float:
        """kill -9 of the daemon, and one with these variables changed (None: taken away); seconds until it answers."""
        for name, value in variables.items():
            if value is None:
                self.made.env.pop(name, None)
            else:
                self.made.env[name] = value
        return await self.daemon_answers(self.kill_daemon())

    def kill_everything(self) -> float:
        """kill -9 of the daemon, all keepers and all claudes at once, as the end of the machine does; the moment."""
        targets = []
        for run in self.made.runs():
            for who in ("keeper", "claude"):
                targets.append(Process(int(run[f"{who}_pid"]), 0, int(run[f"{who}_start"])))
        self.made.kill_daemon()
        for target in targets:
            kill(target, signal.SIGKILL)
        self.watch.end_all()  # and the tools, which no machine's end leaves behind
        return time.monotonic()

    # --- what must hold after every experiment ------------------------------------------------------------------

    async def close(self) -> None:
        """Check what must hold whatever was injected, and stop looking. After a failure some outcome may be missing."""
        came_to_its_end = not self.failures
        try:
            for talk in self.talks:
                await self._check(talk, came_to_its_end)
            await self._check_processes()
        finally:
            for task in self._tasks:
                task.cancel()
            for ended in await asyncio.gather(*self._tasks, return_exceptions=True):
                if isinstance(ended, Exception):
                    self.failures.append(f"a viewer failed: {ended!r}")
            for talk in self.talks:
                await talk.leave()

    async def _check(self, talk: Talk, came_to_its_end: bool) -> None:
        view = talk.view
        try:
            stored = await talk.stored()
        except BetcodeError as error:
            self.failures.append(f"the session cannot be read: {error}")
            return
        try:
            await until(lambda: len(view.events) >= len(stored) or view.resets, within_s=NEWS_S, what="all events")
        except AssertionError:
            self.failures.append(f"{len(stored)} events are stored, {len(view.events)} were shown")
        self.failures += view.faults
        newest = stored[-1]["epoch"] if stored else 1
        shown = [e for e in view.events if e["epoch"] == newest]
        self.check(shown[: len(stored)] == stored, "what was shown is not what is stored")
        seqs = [e["seq"] for e in stored]
        self.check(seqs == list(range(1, len(seqs) + 1)), f"stored numbers have a hole or a double: {seqs}")
        self.failures += doubled(stored)
        if not self.gaps_allowed:
            gaps = [e for e in view.events if e["kind"] == "gap"]
            self.check(not gaps and not view.resets, f"gaps that nothing here can explain: {gaps} {view.resets}")
        for key in talk.sent:
            final = talk.finals(key)
            fits = len(final) == 1 or not (final or came_to_its_end)
            self.check(fits, f"message {talk.sent[key]!r} has the final states {final}, not exactly one")
        for name, lines in talk.counters().items():
            self.check(lines <= 1, f"tool call {name} had its side effect {lines} times")
        self.failures += [f"the daemon called it a defect: {e}" for e in view.of("notice", code="internal")]

    async def _check_processes(self) -> None:
        strangers: list[str] = []

        def none_left() -> bool:
            strangers[:] = self.watch.strangers(self._owned())
            return not strangers

        try:
            await until(none_left, within_s=ORPHANS_GONE_S, what="the end of all orphans")
        except AssertionError:
            self.failures.append(f"orphans: {strangers}")
        self.failures += [f"two claudes on one conversation: {double}" for double in sorted(self.watch.doubles)]

    def _owned(self) -> set[int]:
        """The daemon, and keeper and claude of the newest run of each session."""
        owned = {self.made.daemon_pid() or 0}
        for folder in self.made.paths.sessions.glob("*"):
            if (newest := newest_run(folder)) is not None:
                owned |= {int(newest["keeper_pid"]), int(newest["claude_pid"])}
        return owned


def doubled(events: list[dict[str, Any]]) -> list[str]:
    """Events that tell of the same thing as an earlier one, in words."""
    found: list[str] = []
    seen: set[tuple[str, str]] = set()
    for event in events:
        name = NAMED_BY.get(event["kind"])
        key = (event["kind"], str(event.get(name or "")))
        if name and key in seen:
            found.append(f"{event['kind']} {key[1]} stands twice among the events")
        seen.add(key)
    return found


def newest_run(folder: Path) -> dict[str, Any] | None:
    """What the keeper of a session's newest run wrote at its start."""
    numbers = sorted(int(file.stem) for file in folder.glob("*.run") if file.stem.isdecimal())
    return read_report(str(folder / f"{numbers[-1]}.run")) if numbers else None
