"""`python -m betcode.testing.compat`, which `make compat` calls. Exit status 1: a supported version breaks a promise.

Without VERSION all of `wheels.WHEELS` are tried. What is seen replaces what is stored of the same version; then
docs/compatibility.md is written from all that is stored.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

from betcode.testing.claude_home import model_server
from betcode.testing.compat import recordings, table
from betcode.testing.compat.questions import held
from betcode.testing.compat.room import Room, version_of
from betcode.testing.compat.scenarios import EVERYWHERE, HELD, RECORDED, SCENARIOS
from betcode.testing.compat.seen import Findings, Scenario, Seen
from betcode.testing.compat.turns import readable
from betcode.testing.compat.wheels import WHEELS, Fetched, cache, fetch
from betcode.testing.limits import COMPAT_HOLD_S, EVIDENCE_CHARS


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m betcode.testing.compat", description=__doc__)
    parser.add_argument("version", nargs="*", metavar="VERSION", help="of the CLI; all unless given")
    parser.add_argument("--hold", type=float, default=COMPAT_HOLD_S, help="seconds that a question is left unanswered")
    parser.add_argument("--only", action="append", default=[], help="one scenario; nothing is stored then")
    parser.add_argument("--cache", type=Path, default=cache(), help="where wheels and executables are kept")
    parser.add_argument("--root", type=Path, default=Path(), help="of the repository")
    options = parser.parse_args(arguments)
    unknown = [version for version in options.version if version not in WHEELS]
    if unknown:
        parser.error(f"{', '.join(unknown)}: none of {', '.join(WHEELS)}")
    kept = recordings.Kept(options.root)
    for version in options.version or WHEELS:
        with tempfile.TemporaryDirectory(prefix="betcode-compat-") as folder:
            trial = Trial(fetch(version, options.cache), Path(folder), options.only)
            found = trial.run(0.0 if options.only else options.hold)
        if not options.only:
            kept.store(trial.fetched, found, trial.recorded)
            kept.write_table()
    broken = [] if options.only else table.broken(kept.results())
    print(*(f"BROKEN {line}" for line in broken), sep="\n")
    return 1 if broken else 0


class Trial:
    """All scenarios with one version."""

    def __init__(self, fetched: Fetched, folder: Path, only: Sequence[str] = ()) -> None:
        """`folder` exists and is empty; with `only` just these scenarios are run."""
        self.fetched = fetched
        self.recorded: dict[str, list[bytes]] = {}
        self._folder = folder
        self._only = only
        self._heard: list[bytes] = []

    def run(self, hold_s: float) -> Findings:
        """Try everything, whatever breaks. A question is left unanswered all the while, and `hold_s` at least."""
        said = version_of(self.fetched.claude, self._folder / "version")
        if said != self.fetched.version:
            raise RuntimeError(f"{self.fetched.claude} is {said}, not {self.fetched.version}")
        found: Findings = {}
        record = self._folder / "requests.ndjson"
        with model_server(record=record) as model:
            rooms = iter(range(1000))

            def room(name: str) -> Room:
                return Room(self.fetched.claude, self._folder / f"{next(rooms)}-{name}", model, record)

            if self._only:
                self._scenarios(room, found)
            else:
                waiting = room("held")
                try:
                    with held(waiting, found, hold_s):
                        self._scenarios(room, found)
                except Exception:  # noqa: BLE001 - it is what was seen of this version
                    found |= dict.fromkeys(HELD, self._broken("held"))
                self._heard += waiting.heard
        lines = readable(self._heard)
        for row in EVERYWHERE:
            self._say(row, lines[row], 0.0)
        return found | lines

    def _scenarios(self, room: Callable[[str], Room], found: Findings) -> None:
        for scenario, rows in SCENARIOS:
            if self._only and scenario.__name__ not in self._only:
                continue
            begun = time.monotonic()
            place = room(scenario.__name__)
            seen = self._one(scenario, place, rows)
            found |= seen
            self._heard += place.heard
            if scenario.__name__ in RECORDED:
                self.recorded[scenario.__name__] = recordings.trimmed(place.heard, place.folder)
            for row in rows:
                if row in seen:
                    self._say(row, seen[row], time.monotonic() - begun)

    def _one(self, scenario: Scenario, room: Room, rows: Sequence[str]) -> Findings:
        try:
            return scenario(room)
        except Exception:  # noqa: BLE001 - it is what was seen of this version
            return dict.fromkeys(rows, self._broken(scenario.__name__))

    def _broken(self, name: str) -> Seen:
        print(f"{self.fetched.version} {name}: {traceback.format_exc()[-EVIDENCE_CHARS:]}", file=sys.stderr, flush=True)
        return Seen(False, f"not seen: {sys.exception()}"[:200])

    def _say(self, row: str, seen: Seen, took_s: float) -> None:
        word = "yes" if seen.ok else "NO"
        print(f"{self.fetched.version:8} {row:24} {word:4} {took_s:5.1f} s  {seen.note}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
