"""Storms: lines that nobody can read, and lines of kinds that nobody knows, by the thousand."""

from __future__ import annotations

import asyncio
import json
import math
import time
from typing import Any, Final

from betcode.model import limits
from betcode.testing.chaos.experiment import Experiment
from betcode.testing.chaos.limits.company import company, diagnosed
from betcode.testing.chaos.limits.floods import answered, few, odd, odd_daemon
from betcode.testing.chaos.stage import Stage
from betcode.testing.chaos.talk import Talk
from betcode.testing.installation import until
from betcode.testing.limits import NEWS_S
from betcode.testing.odd_claude import VERSION, order

BAD: Final = (b"warning: not JSON", b"\xff\xfe\xfd", b'{"type":', b"<reply id='1'/>", b"[1, 2")
KINDS: Final = ("invalid_json", "invalid_utf8", "invalid_json", "invalid_json", "invalid_json")
BAD_ROUNDS: Final = 4_000
"""Times 5 lines, each time."""
NEW_KINDS: Final = 300
"""More than are warned of."""
NEW_ROUNDS: Final = 200
STORM_S: Final = 90.0


async def _ask(command: Any, *arguments: str) -> Any:
    done = await asyncio.to_thread(command, *arguments)
    assert done.status == 0, f"betcode {' '.join(arguments)} ended with {done.status}: {done.err}"
    return done.json()


async def _claude_ends(talk: Talk, run: int) -> None:
    """Wait until this run was ended."""
    await until(lambda: (talk.folder / f"{run}.end").exists() or talk.run(run + 1), within_s=NEWS_S, what="its end")


async def _parse_errors(stage: Stage) -> str:
    await odd_daemon(stage)
    rounds = max(1, round(BAD_ROUNDS * stage.scale))
    directory = await odd(stage, "lines", lines=[line.hex() for line in BAD], rounds=rounds)
    async with company(stage) as beside:
        talk = await stage.talk(directory)
        before = stage.made.paths.database.stat().st_size
        beside.watch(talk)
        within_s = max(NEWS_S, STORM_S * stage.scale)
        first = await talk.outcome(await talk.send("go"), within_s=within_s)
        await talk.until("notice", code="agent.garbled")
        second = await talk.outcome(await talk.send("again"), within_s=within_s)
        crash = await talk.until("notice", code="agent.crashed")
        await beside.enough()
    stage.check(
        (first, second) == ("completed",) * 2, f"the turns ended as {first} and {second}: each is left to its end"
    )
    stage.check((await talk.look())["state"] == "CRASHED", "the session is not CRASHED")
    stage.check((talk.run(2), talk.run(3)) != (None, None) and talk.run(3) is None, "there are not two claudes")
    codes = [e["code"] for e in talk.view.of("notice")]
    stage.check(codes == ["agent.garbled", "agent.garbled", "agent.crashed"], f"people were told {codes}")
    each = limits.BAD_LINES_TOLD + math.ceil(math.log2(rounds * len(BAD) / limits.BAD_LINES_TOLD)) + 1
    errors = len(talk.view.of("error"))
    stage.check(limits.BAD_LINES_TOLD <= errors <= 2 * each, f"{errors} events tell of bad lines")
    few(stage, talk, before, events_max=2 * each + 60)
    kept = (await _ask(stage.command(), "sessions", "quarantine", "--json", talk.session))["lines"]
    wanted = min(limits.QUARANTINED_MAX, 2 * rounds * len(BAD))
    stage.check(len(kept) == wanted, f"{len(kept)} lines are listed, not {wanted}")
    seen = [(line["size"], line["error_type"]) for line in kept[-len(BAD) :]]
    stage.check(seen == [(len(b), k) for b, k in zip(BAD, KINDS, strict=True)], f"other lines are listed: {seen}")
    hint = all(f"betcode sessions {what} {talk.session}" in crash["hint"] for what in ("quarantine", "retry"))
    stage.check(hint, f"the hint does not say how to go on: {crash['hint']}")
    told = await diagnosed(stage, talk)
    stage.check(any("could not be read" in e["what"] for e in told["history"]), "the doctor does not tell of it")
    order(directory, "real")
    retried = await asyncio.to_thread(stage.command(), "sessions", "retry", talk.session)
    stage.check(retried.status == 0, f"the retry ended with {retried.status}: {retried.err}")
    await talk.goes_on()
    stage.evidence |= {"bad_lines": 2 * rounds * len(BAD), "events_of_them": errors, "quarantined": len(kept)}
    return f"told {codes}; {errors} events of {2 * rounds * len(BAD)} lines; a retry works; {beside.brief()}"


async def _unknown_kinds(stage: Stage) -> str:
    await odd_daemon(stage)
    rounds = max(1, round(NEW_ROUNDS * stage.scale))
    lines = [json.dumps({"type": f"packet_{n}", "data": [n] * 8}).encode().hex() for n in range(NEW_KINDS)]
    directory = await odd(stage, "lines", lines=lines, rounds=rounds)
    async with company(stage) as beside:
        talk = await stage.talk(directory)
        before = stage.made.paths.database.stat().st_size
        beside.watch(talk)
        begun_s = time.monotonic()
        state = await talk.outcome(await talk.send("go"), within_s=max(NEWS_S, STORM_S * stage.scale))
        await beside.enough()
    stage.evidence["flood_s"] = round(time.monotonic() - begun_s, 1)
    stage.check(state == "completed", f"the message ended as {state}")
    printed, told_max = rounds * NEW_KINDS, limits.UNKNOWN_LINES_TOLD
    rows = len(talk.view.of("unknown"))
    stage.check(min(printed, told_max) <= rows + 1 <= told_max + 2, f"{rows} events of {printed} lines")
    others = len(talk.view.events) - rows
    stage.check(others < 60, f"{others} more events")
    few(stage, talk, before, events_max=told_max + 100)
    warned = sum("packet_" in line for line in stage.made.paths.log.read_text().splitlines())
    stage.check(0 < warned <= 2 * limits.WARNED_KINDS_MAX, f"{warned} lines in the log")
    drift = [d for d in (await _ask(stage.command(), "protocol", "drift", "--json"))["drift"] if d["what"] == "kind"]
    named = [d for d in drift if d["name"].startswith("packet_")]
    stage.check(named and all(d["version"] == VERSION for d in named), f"drift: {named[:3]}")
    counted = sum(d["count"] for d in drift)
    stage.check(counted == printed, f"the drift report counts {counted} lines of {printed}")
    stage.evidence |= {"unknown_lines": printed, "events_of_them": rows, "warnings_logged": warned}
    stage.evidence |= {"drift_names": len(named), "drift_first": named[:2]}
    told = await diagnosed(stage, talk)
    stage.evidence["errors"] = [e["message"] for e in talk.view.of("error")]
    stage.check(told["now"]["severity"] != "error", f"the doctor calls it an error: {told['now']}")
    await answered(stage, talk)
    return (
        f"{printed} lines of {NEW_KINDS} kinds: {rows} events, {warned} warnings, {len(named)} names in the report;"
        f" {beside.brief()}"
    )


STORMS: Final = (
    Experiment(
        "storm.parse-errors",
        f"a claude that prints {BAD_ROUNDS * len(BAD)} lines that nobody can read in a turn, and so does the next one",
        "replaced at the end of the turn, then CRASHED; the lines are listed; a retry works; few events; the other"
        " session does not notice",
        _parse_errors,
        deadline_s=STORM_S,
        apart=True,
        scaled=True,
    ),
    Experiment(
        "flood.unknown-kinds",
        f"a claude that prints {NEW_ROUNDS * NEW_KINDS} lines of {NEW_KINDS} kinds that nobody knows",
        "events and warnings are bounded, the drift report counts them all; the other session does not notice",
        _unknown_kinds,
        deadline_s=STORM_S,
        apart=True,
        scaled=True,
    ),
)
"""In the order of their run."""
