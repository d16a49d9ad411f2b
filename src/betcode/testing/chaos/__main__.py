"""`python -m betcode.testing.chaos TARGET`, which `make chaos-TARGET` calls. Exit status 1 when one is not ok."""

from __future__ import annotations

import argparse
import importlib
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from betcode.testing.chaos.experiment import Experiment
from betcode.testing.chaos.runner import Series
from betcode.testing.limits import CHAOS_LANES

TARGETS = ("recovery", "limits", "storage", "api")
"""Packages beside this file with a tuple EXPERIMENTS, and perhaps a function `prepare` that is called before all."""


def experiments_of(target: str) -> tuple[Experiment, ...]:
    """All experiments of a target, in the order of their run."""
    found: tuple[Experiment, ...] = importlib.import_module(f"betcode.testing.chaos.{target}").EXPERIMENTS
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m betcode.testing.chaos", description=__doc__)
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("--seed", type=int, default=1, help="chooses the moments of the faults")
    parser.add_argument("--scale", type=float, default=1.0, help="multiplies counts and durations")
    parser.add_argument("--only", action="append", default=[], help="one experiment, or a group by its beginning")
    parser.add_argument("--list", action="store_true", help="name the experiments and end")
    parser.add_argument("--report", type=Path, help="build/chaos/TARGET.json unless given")
    parser.add_argument("--lanes", type=int, default=CHAOS_LANES, help="experiments at the same time")
    options = parser.parse_args(arguments)
    known = experiments_of(options.target)
    chosen = [e for e in known if not options.only or any(_meant(e.id, name) for name in options.only)]
    unknown = [name for name in options.only if not any(_meant(e.id, name) for e in known)]
    if unknown or options.scale <= 0:
        parser.error(f"no experiment {', '.join(unknown)}" if unknown else "the scale must be above 0")
    if options.list:
        for experiment in chosen:
            print(f"{experiment.id:34} {experiment.injected}")
        return 0
    getattr(importlib.import_module(f"betcode.testing.chaos.{options.target}"), "prepare", lambda: None)()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that everything is ended and the report written
    report = options.report or Path("build/chaos") / f"{options.target}.json"
    return Series(chosen, report, seed=options.seed, scale=options.scale, lanes=options.lanes).run()


def _meant(id: str, name: str) -> bool:
    return id == name or id.startswith(f"{name}.")


if __name__ == "__main__":
    sys.exit(main())
