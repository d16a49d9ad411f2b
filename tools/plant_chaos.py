"""Proves that the chaos experiments can fail: runs them on a copy of the code with one bug of tools/planted_chaos.toml.

`make chaos-recovery PLANT=name`, or another target; `PLANT=list` names its bugs. The exit status is that of the
experiments: 1 when the bug was noticed, 2 when none was run. The report is written as without a bug.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # for `tools`, from whatever directory this is called

from tools.plant import ROOT, Bug, make_copy, planted

from betcode.testing.chaos.__main__ import experiments_of
from betcode.testing.chaos.experiment import NOT_RUN

TABLE = ROOT / "tools/planted_chaos.toml"


def read_table(path: Path = TABLE) -> list[Bug]:
    """All bugs of the table; `tests` are the ids of experiments. Raises ValueError for an entry that is malformed."""
    entries = tomllib.loads(path.read_text("utf-8"))
    try:
        return [Bug(name=name, tests=tuple(fields.pop("experiments")), **fields) for name, fields in entries.items()]
    except (TypeError, KeyError) as error:
        raise ValueError(f"{path}: {error}") from error


def main(argv: Sequence[str]) -> int:
    """Returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", help="the bug; or list")
    parser.add_argument("target", help="such as recovery; what follows is handed on")
    options, rest = parser.parse_known_args(argv)
    ids = {experiment.id for experiment in experiments_of(options.target)}
    bugs = [bug for bug in read_table() if ids.issuperset(bug.tests)]
    if options.name == "list":
        for bug in bugs:
            print(f"{bug.name:32} {bug.req:6} {bug.file}; noticed by {', '.join(bug.tests)}")
        return 0
    chosen = [bug for bug in bugs if bug.name == options.name]
    if not chosen:
        parser.error(f"no bug {options.name!r}; known: {', '.join(b.name for b in bugs)}")
    [bug] = chosen
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is ended
    with tempfile.TemporaryDirectory() as directory:
        copy = Path(directory)
        make_copy(copy)
        file = copy / bug.file
        file.write_text(planted(file.read_text("utf-8"), bug), "utf-8")
        print(f"planted: {bug.name} in {bug.file}", flush=True)
        report = ROOT / "build/chaos" / f"{options.target}.json"
        report.unlink(missing_ok=True)
        only = [f"--only={experiment}" for experiment in bug.tests]
        command = [copy / ".venv/bin/python", "-m", "betcode.testing.chaos", options.target, "--report", report]
        experiments = subprocess.Popen(
            [*command, *only, *rest], cwd=copy, env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
        )
        try:
            status = experiments.wait()
        finally:
            if experiments.poll() is None:
                experiments.terminate()
                experiments.wait()
    if status == 1 and not ran(report):
        print("the experiments did not run, so nothing was noticed")
        return 2
    print({0: "the bug was NOT noticed", 1: "the bug was noticed"}.get(status, f"the experiments ended with {status}"))
    return status


def ran(report: Path) -> bool:
    """Whether an experiment came to a result. A copy that cannot even be started ends with status 1 too."""
    if not report.exists():
        return False
    return any(not result["observed"].startswith(NOT_RUN) for result in json.loads(report.read_text("utf-8")))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
