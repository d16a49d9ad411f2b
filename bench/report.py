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
MISSES: dict[str, str] = {}
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
