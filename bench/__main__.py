"""`python -m bench [ROW...]`: measure, show a table, write JSON and docs/benchmarks.md."""

from __future__ import annotations

import argparse
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

from bench import processes, recovering, report, storing, streaming
from bench.figures import Figure

PAIRS = 15
"""Rounds of each row in a full run: measured in turns with the anchors."""
ROWS: dict[str, Callable[[int], list[Figure]]] = {
    "latency": streaming.latency,
    "burst": streaming.burst,
    "fifty": streaming.fifty,
    "ingest": streaming.ingest,
    "acknowledgement": storing.acknowledgement,
    "daemon": processes.daemon,
    "keeper": processes.keeper,
    "status": processes.status,
    "daemon-killed": recovering.daemon_killed,
    "claude-killed": recovering.claude_killed,
    "attach": storing.attaching,
    "large-start": storing.large_start,
}


def main(argv: Sequence[str]) -> int:
    """Returns the exit status: a missed target is no failure, a row that could not be measured is 1."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"of {', '.join(ROWS)}; all without")
    parser.add_argument("--pairs", type=int, help=f"rounds of each row, {PAIRS} without; for a look, not for a verdict")
    parser.add_argument("--list", action="store_true", help="print the names of the rows, measure nothing")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    given = parser.parse_args(argv)
    if given.list:
        sys.stdout.write("\n".join(ROWS) + "\n")
        return 0
    unknown = [row for row in given.rows if row not in ROWS]
    if unknown:
        parser.error(f"no such row: {', '.join(unknown)}; there are {', '.join(ROWS)}")
    if given.pairs is not None and given.pairs < 1:
        parser.error("--pairs must be at least 1")
    figures: list[Figure] = []
    broken: list[str] = []
    for row in given.rows or ROWS:
        try:
            found = ROWS[row](given.pairs or PAIRS)
        except Exception:  # noqa: BLE001 - the other rows took minutes and are worth having
            sys.stderr.write(f"bench: row {row} could not be measured:\n{traceback.format_exc()}")
            broken.append(row)
            continue
        sys.stdout.write(report.table(found) + "\n")
        sys.stdout.flush()
        figures += found
    if given.json:
        given.json.write_text(report.as_json(figures), "utf-8")
    if not given.rows and given.pairs is None and not broken:
        report.PAGE.write_text(report.page(figures), "utf-8")
    if broken:
        sys.stderr.write(f"bench: not measured, so docs/benchmarks.md is not written: {', '.join(broken)}\n")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
