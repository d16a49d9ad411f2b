"""The figures as a table, as JSON and as docs/benchmarks.md."""

from __future__ import annotations

import dataclasses
import datetime
import json
import os
import platform
from collections.abc import Sequence
from pathlib import Path

from bench.figures import Figure

PAGE = Path(__file__).resolve().parents[1] / "docs/benchmarks.md"
FRAMES = (
    "fifty frames are written one after the other, each wakes a reader, and the readers share the processors with the"
    " daemon; what the relays below do not have is the daemon's own: journal, session, a place for each client."
)
MISSES = {
    "added latency, 100 deltas/s, one client, p50": "a delta passes three processes where the pipe has one, each of"
    " which has to wake up, and the daemon's event loop turns four times for it (counted in a profile).",
    "the same, p99 by that of the pipe": "the slowest of three wake-ups is later than the slowest of one.",
    "burst of 2,000 deltas, one client, by the pipe": "the acknowledgement of the message and two commits are in the"
    " measured time and not in the pipe's.",
    "50 clients, 100 deltas/s, p50": FRAMES,
    "50 clients, 100 deltas/s, p99": "as p50: the last of the fifty waits for all before it.",
    "50 clients, 100 deltas/s, daemon's CPU per 10,000 delivered": "as p50: the anchor is what the system asks for the"
    " writes, what the relays have beyond it is the library's and the event loop's, the rest is the daemon's own.",
    "50 clients, burst of 2,000, age of the text, p99": "the clients read on the same two processors: raw sockets, the"
    " anchor, show how much of it is theirs.",
    "durable acknowledgement of a message under load, p50": "measured apart, on a quiet machine and without the other"
    " session, it takes 1.7 ms: 0.6 of processor time in the daemon's event loop, 0.4 in the writer's statements, 0.3"
    " in other threads, 0.2 in the client, and the sync; with the other session a tenth more.",
    "daemon ready": "three to three and a half times `import asyncio` alone. Its steps are in the daemon's log.",
    "keeper, start by that of a bare Python": "loading its modules takes 6 ms (`-X importtime`); the rest is the"
    " fork into a session of its own, the journal's files, and the start of the program.",
    "kill -9 of the daemon, ten running turns, all streaming again": "the start of the daemon, the anchor, is in it;"
    " the rest is that ten clients and ten keepers connect again.",
}
"""Name of a figure -> why it misses its target, for people. What was measured apart follows as the figure's remark."""


def table(figures: Sequence[Figure]) -> str:
    """For a terminal."""
    lines = []
    for one in figures:
        ratio = f"  ratio {one.ratio:.2f}" if one.ratio is not None else ""
        anchor = (
            f"  [{one.anchor}{f': {one.anchor_value:.4g}' if one.anchor_value is not None else ''}]"
            if one.anchor
            else ""
        )
        verdict = one.verdict
        lines.append(f"{one.name:76} {one.value:10.4g} {one.unit:8} target {one.target:10} {verdict:6}{ratio}{anchor}")
        lines += [f"    {said}" for said in (one.remark, one.note) if said]
    return "\n".join(lines)


def as_json(figures: Sequence[Figure]) -> str:
    """For programs."""
    return json.dumps({"machine": machine(), "figures": [dataclasses.asdict(f) for f in figures]}, indent=1)


def machine() -> str:
    """What it was measured on."""
    return f"{os.cpu_count()} processors, {platform.system()} {platform.machine()}, Python {platform.python_version()}"


def page(figures: Sequence[Figure]) -> str:
    """docs/benchmarks.md."""
    lines = [
        "# Benchmarks",
        "",
        f"Written by `make bench` on {datetime.date.today().isoformat()}: {machine()}.",
        "Each value is the median of its rounds, with the quartiles behind it; a target is MISSED when it lies outside",
        "them, `border` when only the median is beyond it. Anchors are measured in the same run, in turns.",
        "Where the real `claude` cannot print fast enough, a stand-in prints (`bench/flood.py`).",
        "",
        "| what | target | measured | quartiles | rounds | anchor | ratio | |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for one in figures:
        anchor = f"{one.anchor}: {one.anchor_value:.4g}" if one.anchor_value is not None else one.anchor
        ratio = f"{one.ratio:.2f}" if one.ratio is not None else ""
        lines.append(
            f"| {one.name} | {one.target} {one.unit} | {one.value:.4g} | {one.low:.4g} to {one.high:.4g} |"
            f" {one.samples} |"
            f" {anchor} | {ratio} | {one.verdict} |"
        )
    missed = [one for one in figures if one.missed]
    lines += ["", "## Misses", ""]
    lines += [
        f"- {one.name}: {MISSES.get(one.name, 'not explained yet.')} {one.remark}".rstrip() for one in missed
    ] or ["None."]
    notes = [one.note for one in figures if one.note]
    if notes:
        lines += ["", "## What the figures do not say", "", *(f"- {note}" for note in notes)]
    return "\n".join(lines) + "\n"
