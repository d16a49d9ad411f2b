"""docs/compatibility.md, made from what was seen: versions against what BetCode relies on, and what degrades where."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from betcode.model.capabilities import OLDEST, TESTED, dotted

PAGE = "compatibility.md"


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the table. `without` says what becomes of BetCode where the CLI does not do it; empty: a promise."""

    id: str
    title: str
    without: str = ""


GROUPS: tuple[tuple[str, tuple[Row, ...]], ...] = (
    (
        "Start",
        (
            Row("start.initialize", "answers `initialize`"),
            Row(
                "start.version",
                "names its version there",
                "BetCode asks once more (`get_binary_version`) before it gives the process anything else.",
            ),
            Row("start.probe", "answers `get_binary_version`"),
            Row("start.unknown_request", "says so when it does not know a request"),
            Row(
                "start.offers",
                "lists its capabilities there",
                "They are read from the first `system/init`; until then nothing depends on them.",
            ),
            Row("start.ends", "ends with 0 when its input is closed"),
        ),
    ),
    (
        "Turns",
        (
            Row("stream.text", "an answer comes in pieces and whole"),
            Row("stream.init_version", "`system/init` names its version"),
            Row(
                "stream.init_offers",
                "`system/init` lists capabilities",
                "A message counts as begun when its turn begins.",
            ),
            Row(
                "stream.lifecycle", "tells what becomes of a message", "A message counts as begun when its turn begins."
            ),
            Row(
                "stream.named",
                "a result names its messages",
                "A result is taken to be about all messages that were begun; if one of several results cannot be "
                "read, those messages end as `unknown`.",
            ),
            Row(
                "stream.states",
                "tells when it is idle",
                "Idle is taken from the result; the end of background work is seen by its next result.",
            ),
            Row("error.told", "an API error is an error"),
            Row("error.status", "with its status", "The reason is the CLI's text alone."),
            Row("error.lives", "and the next turn works"),
            Row("lines.readable", "every line it printed could be read"),
            Row("lines.known", "and is of a kind that BetCode knows", "Such lines are shown as they are."),
            Row("lines.odd", "lines of unknown kinds do not end it"),
        ),
    ),
    (
        "Questions",
        (
            Row("question.held", "nothing runs while a question waits"),
            Row("question.allowed", "allowed after that time, it runs once"),
            Row("question.edited", "an edited input is what runs"),
            Row("question.nonsense", "a senseless answer: not run"),
            Row("question.input_lost", "its host is gone: not run"),
            Row("question.withdrawn", "an interrupt withdraws the question"),
            Row("question.late_allow", "allowed after that: not run"),
            Row("question.person", "says what the call is about", "The question shows tool and input alone."),
            Row("deny.not_run", "denied: not run"),
            Row("deny.told", "the model reads our words"),
            Row("deny.listed", "and the result lists the denial", "Nothing: BetCode keeps its own record."),
        ),
    ),
    (
        "Hooks, of which BetCode uses none (ADR 6): where these fail open, the version is refused",
        (
            Row("hook.unanswered", "unanswered in its time: not run"),
            Row("hook.input_lost", "its host is gone: not run"),
            Row(
                "hook.error",
                "answered with an error and `onFailure: block`: not run",
                "Nothing: BetCode uses no hooks. It is the reason why (ADR 6).",
            ),
            Row("defer.parked", "a hook can put a call off", "Nothing: not used yet."),
            Row("defer.asked_again", "and the next process asks for it again", "Nothing: not used yet."),
        ),
    ),
    (
        "Interrupts",
        (
            Row("interrupt.ends", "ends the turn; the next one works"),
            Row("interrupt.named", "the result says that it was cut", "An interrupted turn shows as failed."),
            Row(
                "interrupt.receipt",
                "the answer names what still waits",
                "Nothing: BetCode takes back what waits by itself.",
            ),
            Row(
                "interrupt.withdraw",
                "a message that waits can be taken back",
                "Such a message runs after the interrupt; the session says so.",
            ),
            Row("interrupt.tool", "a running tool ends"),
        ),
    ),
    (
        "A new process",
        (
            Row("resume.history", "knows the conversation"),
            Row("resume.same_id", "under the same id"),
            Row("duplicate.process", "a message sent twice runs once"),
            Row("duplicate.resumed", "also when the second goes to the next process"),
            Row("duplicate.told", "and is reported as completed", "Such a message is taken for lost after a restart."),
            Row("kill.resend", "killed in an answer: the message, sent again, is answered"),
            Row(
                "kill.rerun",
                "killed after a tool: goes on by itself, and calls no tool again",
                "After 20 s it is told to go on; no tool is called again.",
            ),
            Row("kill.quiet", "killed in a question: asks and runs nothing by itself"),
            Row(
                "kill.told",
                "and the model hears that the outcome is unknown",
                "Nothing: BetCode tells it itself.",
            ),
            Row("kill.sigterm_tool", "SIGTERM ends its tool too"),
        ),
    ),
    (
        "BetCode with this version",
        (
            Row("product.guard", "refused below the minimum, taken from there on"),
            Row("product.turn", "`betcode run`, with a tool"),
        ),
    ),
)


def render(results: Mapping[str, Mapping[str, Any]]) -> str:
    """The page."""
    versions = list(results)
    waited = (str(stored["seen"]["question.held"][1]).partition(" s")[0] for stored in results.values())
    held = min((int(seconds) for seconds in waited if seconds.isdigit()), default=0)
    lines = [
        "# Versions of claude",
        "",
        "Written by `make compat`, which runs the contract of BetCode with the real CLI against several of its",
        "versions, under our keeper, with our command line, a scripted model and no account. Nothing here is from a",
        "changelog: each cell was tried once, on Linux. `yes`: it does. `no`: it does not; a number explains it below.",
        "`NO`: it breaks what BetCode promises. `-`: not to be seen there.",
        "",
        f"Needed: {dotted(OLDEST)} or later. Tried up to {dotted(TESTED)}: a newer one is used, with a "
        "warning. An older one is refused",
        "with exit status 78 and gets nothing: neither at the daemon's start nor later, when the file has changed.",
        f"The question was held for {held} s at least.",
        "",
    ]
    notes: dict[tuple[str, str], list[str]] = {}
    for title, rows in GROUPS:
        lines += [f"## {title}", "", f"| | {' | '.join(versions)} |", f"|---|{'---|' * len(versions)}"]
        for row in rows:
            cells = [_cell(row, version, results[version]["seen"].get(row.id), notes) for version in versions]
            lines.append(f"| {row.title} | {' | '.join(cells)} |")
        lines.append("")
    lines += _degraded(results) + _notes(notes) + _wheels(results)
    return "\n".join(lines) + "\n"


def _cell(row: Row, version: str, seen: Any, notes: dict[tuple[str, str], list[str]]) -> str:
    if seen is None:
        return "-"
    ok, note = seen
    if ok:
        return "yes"
    word = "no" if row.without or numbers(version) < OLDEST else "**NO**"
    if not note:
        return word
    key = (row.id, note)
    notes.setdefault(key, []).append(version)
    return f"{word} ({list(notes).index(key) + 1})"


def _degraded(results: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """What the user has less of, for the versions that are taken."""
    lines = [
        "## What degrades where",
        "",
        "Of the versions that are taken, as far as they were tried. Where another one lacks something that BetCode",
        "uses, its session says so once (`claude.limited`) and goes on without.",
        "",
    ]
    lines += ["| without | in | BetCode then |", "|---|---|---|"]
    for _, rows in GROUPS:
        for row in rows:
            lacking = [v for v, stored in results.items() if lacks(stored["seen"], row.id) and numbers(v) >= OLDEST]
            if lacking and row.without:
                lines.append(f"| {row.title} | {', '.join(lacking)} | {row.without} |")
    return [*lines, ""]


def _notes(notes: Mapping[tuple[str, str], Iterable[str]]) -> list[str]:
    if not notes:
        return []
    lines = ["## Notes", ""]
    for number, ((row, note), versions) in enumerate(notes.items(), 1):
        lines.append(f"{number}. {', '.join(versions)}, `{row}`: {' '.join(note.split())}")
    return [*lines, ""]


def _wheels(results: Mapping[str, Mapping[str, Any]]) -> list[str]:
    lines = ["## Where they come from", "", "Each `claude-agent-sdk` wheel carries a CLI.", "", "| claude | wheel |"]
    return [*lines, "|---|---|", *(f"| {version} | {stored['wheel']} |" for version, stored in results.items())]


def lacks(seen: Mapping[str, Any], row: str) -> bool:
    """Whether it was seen that the CLI does not do this."""
    return row in seen and not seen[row][0]


def broken(results: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Each promise that a version breaks which BetCode takes."""
    needed = [row for _, rows in GROUPS for row in rows if not row.without]
    return [
        f"{version} {row.id}: {stored['seen'][row.id][1] or row.title}"
        for version, stored in results.items()
        if numbers(version) >= OLDEST
        for row in needed
        if lacks(stored["seen"], row.id)
    ]


def numbers(version: str) -> tuple[int, ...]:
    """For comparing."""
    return tuple(int(part) for part in version.split("."))
