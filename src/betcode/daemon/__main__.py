"""`python -m betcode.daemon`: the daemon as clients start it in the background.

For people there is `betcode daemon run`. This does without the library of the command line, whose import is a tenth of
a start: only our own code calls it, so nothing needs to be explained. `--calm` is for launchd: a start that a person
must mend first ends with status 0.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from getopt import getopt

from betcode.config.paths import find_paths
from betcode.core.service.service import LASTING
from betcode.daemon.report import StartReport
from betcode.daemon.start import start
from betcode.model.errors import BetcodeError, exit_status
from betcode.wire.visible import visible

PLACES = ("config-dir", "data-dir", "runtime-dir")
OPTIONS = (*(f"{place}=" for place in PLACES), "claude=", "slots=", "report-fd=", "replaces", "rehearses", "calm")


def main(argv: Sequence[str]) -> int:
    """Run until the end; returns the exit status."""
    given, _ = getopt(list(argv), "", OPTIONS)
    flags = {name.removeprefix("--"): value for name, value in given}
    number = {name: int(flags[name]) if name in flags else None for name in ("slots", "report-fd")}
    try:
        try:
            paths = find_paths({name.replace("-", "_"): flags.get(name) for name in PLACES}, os.environ)
        except BetcodeError as error:
            StartReport(number["report-fd"]).failed(error)
            raise
        return start(
            paths,
            os.environ,
            claude=flags.get("claude"),
            slots=number["slots"],
            report_fd=number["report-fd"],
            replaces="replaces" in flags,
            rehearses="rehearses" in flags,
        )
    except BetcodeError as error:
        sys.stderr.write(visible(f"error: {error}\nhint: {error.hint}") + "\n")
        status = exit_status(error.code)
        return 0 if "calm" in flags and status in LASTING else status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
