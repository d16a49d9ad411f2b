"""`python -m bench [ROW...]`: measure, show a table, write JSON and docs/benchmarks.md."""

from __future__ import annotations

import argparse
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

from bench import processes, recovering, report, storing, streaming
from bench.figures import Figure

ROWS: dict[str, Callable[[bool], list[Figure]]] = {
    "latency": lambda quick: streaming.latency(5 if quick else 15),
    "burst": lambda quick: streaming.burst(5 if quick else 15),
    "fifty": lambda quick: streaming.fifty(2 if quick else 7),
    "ingest": lambda quick: streaming.ingest(2 if quick else 5),
    "acknowledgement": lambda quick: storing.acknowledgement(3 if quick else 15),
    "daemon": lambda quick: processes.daemon(3 if quick else 15),
    "keeper": lambda quick: processes.keeper(5 if quick else 25),
    "status": lambda quick: processes.status(5 if quick else 25),
    "daemon-killed": lambda quick: recovering.daemon_killed(2 if quick else 10),
    "claude-killed": lambda quick: recovering.claude_killed(1 if quick else 5),
    "attach": lambda quick: storing.attaching(5 if quick else 25),
    "large-start": lambda quick: storing.large_start(0.1 if quick else 1.0),
}


def main(argv: Sequence[str]) -> int:
    """Returns the exit status: a missed target is no failure, a row that could not be measured is 1."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"of {', '.join(ROWS)}; all without")
    parser.add_argument("--quick", action="store_true", help="fewer rounds; for a look, not for a verdict")
    parser.add_argument("--list", action="store_true", help="print the names of the rows, measure nothing")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    given = parser.parse_args(argv)
    if given.list:
        sys.stdout.write("\n".join(ROWS) + "\n")
        return 0
    unknown = [row for row in given.rows if row not in ROWS]
    if unknown:
        parser.error(f"no such row: {', '.join(unknown)}; there are {', '.join(ROWS)}")
    figures: list[Figure] = []
    broken: list[str] = []
    for row in given.rows or ROWS:
        try:
            found = ROWS[row](given.quick)
        except Exception:  # noqa: BLE001 - the other rows took minutes and are worth having
            sys.stderr.write(f"bench: row {row} could not be measured:\n{traceback.format_exc()}")
            broken.append(row)
            continue
        sys.stdout.write(report.table(found) + "\n")
        sys.stdout.flush()
        figures += found
    if given.json:
        given.json.write_text(report.as_json(figures), "utf-8")
    if not given.rows and not given.quick and not broken:
        report.PAGE.write_text(report.page(figures), "utf-8")
    if broken:
        sys.stderr.write(f"bench: not measured, so docs/benchmarks.md is not written: {', '.join(broken)}\n")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
