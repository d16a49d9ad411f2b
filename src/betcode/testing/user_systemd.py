"""A user's systemd for one installation: the real one where a test is told to have it, else one on paper.

The real one needs a cgroup hierarchy that it may change: `tools/with_cgroups.sh` makes a place with one.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import betcode
from betcode.testing.installation import Installation
from betcode.testing.limits import PAPER_START_S, PAPER_STOP_S

REAL_VARIABLE = "BETCODE_REAL_SYSTEMD"
"""Set to the path of systemd's own program: tests then use that."""
_SCRIPT = """#!{python}
import sys
sys.path.insert(0, {source!r})
from betcode.testing import {module}
{module}.main()
"""


class UserSystemd:
    """Where its calls are recorded, and how to make them fail. The real one records nothing."""

    def __init__(self, folder: Path, *, real: bool) -> None:
        """`folder`: of the stand-in's script and state."""
        self.folder = folder
        self.real = real

    def calls(self) -> list[list[str]]:
        """What was called since the last time, without the options of questions."""
        file = self.folder / "calls.ndjson"
        if not file.exists():
            return []
        found = [json.loads(line) for line in file.read_text().splitlines()]
        file.unlink()
        return [call[1:] for call in found if not call[1].startswith("show")]

    def fails(self, verb: str, text: str) -> None:
        """From now on this verb fails so. Only on paper."""
        (self.folder / f"fail-{verb}").write_text(text)


@contextlib.contextmanager
def user_systemd(made: Installation) -> Iterator[UserSystemd]:
    """Commands of `made` find it as long as the block runs. Secrets of the environment are where a user puts them."""
    runtime = made.home / "xdg"
    runtime.mkdir(mode=0o700)
    made.env["XDG_RUNTIME_DIR"] = str(runtime)
    made.paths.config.mkdir(mode=0o700, exist_ok=True)
    hidden = ("ANTHROPIC_", "CLAUDE_", "DISABLE_")
    lines = [f"{name}={value}\n" for name, value in made.env.items() if name.startswith(hidden)]
    (made.paths.config / "service.env").write_text("".join(lines))
    folder = made.home / "bin"
    folder.mkdir()
    if program := os.environ.get(REAL_VARIABLE):
        with _started(program, made.env):
            yield UserSystemd(folder, real=True)
        return
    script(folder, "systemctl", "paper_systemctl")
    made.env["PATH"] = f"{folder}:{made.env['PATH']}"
    yield UserSystemd(folder, real=False)


def script(folder: Path, name: str, module: str) -> None:
    """An executable that runs `main` of a module of this package."""
    source = str(Path(betcode.__file__).parent.parent)
    file = folder / name
    file.write_text(_SCRIPT.format(python=sys.executable, source=source, module=module))
    file.chmod(0o700)


@contextlib.contextmanager
def _started(program: str, env: dict[str, str]) -> Iterator[None]:
    own = {name: env[name] for name in ("HOME", "PATH", "XDG_RUNTIME_DIR")}
    running = subprocess.Popen([program, "--user"], env=own, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        end = time.monotonic() + PAPER_START_S
        question = ["systemctl", "--user", "show", "--property=Version"]
        while subprocess.run(question, env=own, capture_output=True, check=False).returncode != 0:
            if time.monotonic() >= end:
                raise AssertionError(f"{program} --user does not answer")
            time.sleep(0.05)
        yield
    finally:
        running.terminate()
        try:
            running.wait(PAPER_STOP_S)
        except subprocess.TimeoutExpired:
            running.kill()
            running.wait()
