"""`python -m betcode.testing.simulate`, which `make sim` calls: runs seeds and says which of them break an invariant.

`--seed 7` replays one with its whole trace; `--seeds 1000 --start 0` runs many on all `--workers`; `--plant NAME` puts
a known bug in first and ends with 0 when the invariant that it breaks is named, `--plant list` names them.
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Generator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field

from betcode.testing.simulator.planted import PLANTS, planted
from betcode.testing.simulator.run import Outcome, run_seed

CHUNK = 20
"""Seeds that a worker takes at once: about a second of work."""
SEEDS = 100
FAILURES_SHOWN = 20
PLANT_SEEDS = 2_000
"""Within so many seeds every planted bug must be found."""
PROGRESS_S = 5.0
"""Between two lines of progress."""


@dataclass(slots=True)
class Tally:
    """What has come of the seeds so far."""

    done: int = 0
    steps: int = 0
    failed: list[Outcome] = field(default_factory=list)


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns 0 when every seed kept the invariants (with a planted bug: when one broke its invariant), else 1.

    2, or SystemExit with it, for bad usage.
    """
    options = _parser().parse_args(arguments)
    if options.plant == "list":
        for plant in PLANTS.values():
            _say(f"{plant.name:30} {plant.place:9} {plant.breaks:6} {plant.sentence}")
        return 0
    if options.plant and options.plant not in PLANTS:
        _say(f"There is no planted bug {options.plant!r}. See: make sim PLANT=list", error=True)
        return 2
    if options.seed is not None:
        return _one(options.seed, options.plant)
    return _many(options)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="make sim", description="Simulate faults in virtual time.")
    parser.add_argument("--seed", type=int, help="replay this seed and print its whole trace")
    parser.add_argument("--seeds", type=_count, help=f"how many seeds to run (100; with --plant {PLANT_SEEDS})")
    parser.add_argument("--start", type=int, default=0, help="the first of them")
    parser.add_argument("--workers", type=_count, default=os.cpu_count() or 1, help="processes")
    parser.add_argument("--plant", default="", help="a bug to put in first; `list` names them")
    return parser


def _count(given: str) -> int:
    """How many of something: 1 or more."""
    try:
        number = int(given)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{given!r} is not a number from 1 on")
    return number


def _one(seed: int, plant: str) -> int:
    with planted(plant) if plant else contextlib.nullcontext():
        outcome = run_seed(seed, whole_trace=True)
    for line in outcome.trace:
        _say(line)
    _say(f"seed {seed}: {outcome.message or 'every invariant held'} ({outcome.steps} steps, {outcome.checksum:08x})")
    return int(outcome.failed)


def _many(options: argparse.Namespace) -> int:
    seeds = options.seeds or (PLANT_SEEDS if options.plant else SEEDS)
    tally = Tally()
    found = False
    begun = shown = time.monotonic()
    with contextlib.closing(
        outcomes(range(options.start, options.start + seeds), options.workers, options.plant)
    ) as all_:
        for outcome in all_:
            tally.done += 1
            tally.steps += outcome.steps
            if outcome.failed:
                tally.failed.append(outcome)
                if len(tally.failed) <= FAILURES_SHOWN:
                    _report(outcome, options.plant)
                found = bool(options.plant) and outcome.invariant == PLANTS[options.plant].breaks
                if found:
                    break
            if time.monotonic() - shown > PROGRESS_S:
                shown = time.monotonic()
                _say(f"{tally.done} of {seeds} seeds, {tally.done / (shown - begun):.1f} a second")
    took_s = max(time.monotonic() - begun, 1e-9)
    _say(
        f"{tally.done} seeds in {took_s:.1f} s, {tally.done / took_s:.1f} a second, {tally.steps} steps; "
        f"{len(tally.failed)} broke an invariant"
    )
    if not options.plant:
        return int(bool(tally.failed))
    breaks = PLANTS[options.plant].breaks
    if found:
        _say(f"The planted bug {options.plant!r} was found: it breaks {breaks}.")
    else:
        _say(f"The planted bug {options.plant!r} was not found: nothing broke {breaks}.", error=True)
    return int(not found)


def _report(outcome: Outcome, plant: str) -> None:
    how = f" PLANT={plant}" if plant else ""
    _say(f"seed {outcome.seed} {outcome.message}\n    make sim SEED={outcome.seed}{how}")


def _say(text: str, *, error: bool = False) -> None:
    print(text.encode("utf-8", "replace").decode("utf-8"), file=sys.stderr if error else sys.stdout, flush=True)


# --- workers ------------------------------------------------------------------------------------------------------


def outcomes(seeds: range, workers: int, plant: str = "") -> Generator[Outcome, None, None]:
    """The outcome of each seed, in order, from this process or from `workers` others."""
    chunks = [seeds[start : start + CHUNK] for start in range(0, len(seeds), CHUNK)]
    if workers <= 1 or len(chunks) <= 1:
        for chunk in chunks:
            yield from run_chunk(chunk, plant)
        return
    # Spawned, not forked: a worker begins as a fresh interpreter, the same on every system.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, mp_context=context)
    try:
        for found in pool.map(run_chunk, chunks, [plant] * len(chunks)):
            yield from found
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def run_chunk(seeds: Sequence[int], plant: str = "") -> list[Outcome]:
    """Run some seeds in this process. With a planted bug it ends with the first seed that breaks its invariant."""
    found: list[Outcome] = []
    with planted(plant) if plant else contextlib.nullcontext():
        for seed in seeds:
            found.append(run_seed(seed))
            if plant and found[-1].invariant == PLANTS[plant].breaks:
                break
    return found


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the workers are ended too
    sys.exit(main())
