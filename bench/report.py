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
HOPS = (
    "a delta passes three processes where the pipe has one; each of the two more hops costs what the anchor shows,"
    " since an idle processor has to wake up, and that is about half; the rest is work of keeper, daemon and client,"
    " not profiled yet"
)
FRAMES = (
    "a frame for a client costs the daemon 40 to 50 us, most of it in the WebSocket library, the socket and the change"
    " of tasks; fifty are written one after the other. Merging deltas over a few ms would halve it and add latency"
)
MISSES = {
    "added latency, 100 deltas/s, one client, p50": f"{HOPS}.",
    "the same, p99 by that of the pipe": f"{HOPS}, and the slowest of three wakes later than the slowest of one.",
    "burst of 2,000 deltas, one client, by the pipe": "the acknowledgement of the message and two commits are in the"
    " measured time and not in the pipe's; how much the way itself costs is not measured apart yet.",
    "50 clients, 100 deltas/s, p50": f"{FRAMES}.",
    "50 clients, 100 deltas/s, p99": "as the line before; the clients read on the same two processors.",
    "50 clients, 100 deltas/s, daemon's CPU per 10,000 delivered": f"{FRAMES}.",
    "50 clients, burst of 2,000, age of the text, p99": "the clients read on the same two processors.",
    "durable acknowledgement of a message under load, p50": "the sync of the intake log and the commit follow each"
    " other, on a disk whose single sync takes what the anchor shows; the other session keeps one processor busy.",
    "daemon ready": "three and a half times `import asyncio` alone, which takes twice as long here as where the target"
    " was set.",
    "kill -9 of the daemon, ten running turns, all streaming again": "the start of the daemon is in it; ten clients and"
    " ten keepers connect at once on two processors.",
}
"""Name of a figure -> why it misses its target, for people."""


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
        verdict = "MISSED" if one.missed else "ok" if one.target != "-" else ""
        lines.append(f"{one.name:76} {one.value:10.4g} {one.unit:8} target {one.target:10} {verdict:6}{ratio}{anchor}")
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
        "Each value is the median of its rounds, with the quartiles behind it; a target counts as missed only when it",
        "lies outside them. Anchors are measured in the same run, in turns with the value. Where the real `claude`",
        "cannot print fast enough, a stand-in prints (`bench/flood.py`).",
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
            f" {anchor} | {ratio} | {'missed' if one.missed else ''} |"
        )
    missed = [one.name for one in figures if one.missed]
    lines += ["", "## Misses", ""]
    lines += [f"- {name}: {MISSES.get(name, 'not explained yet.')}" for name in missed] or ["None."]
    return "\n".join(lines) + "\n"
