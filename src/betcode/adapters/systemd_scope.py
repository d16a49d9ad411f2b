"""A scope of its own in the user's systemd for each keeper: a cgroup that no other process shares.

So a restart of the service finds no strangers in its cgroup, an out-of-memory killer hits one session instead of all,
and limits can be set for one. `systemd-run --scope` registers itself and then becomes the command: standard streams and
exit status are the command's. Where no scope can be had, `detect` says why in plain words and commands run as they are.
"""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from betcode.adapters.survey.machine import look_at_linger
from betcode.model import limits

CONTINUE = "OOMPolicy=continue"
"""A tool that runs out of memory ends alone; without this newer versions of systemd end the keeper and claude too."""
SLICE = "app-betcode.slice"
"""All scopes are below it, so that a person can limit all sessions together: systemctl --user set-property."""


@dataclass(frozen=True, slots=True)
class Scopes:
    """How a command gets a scope. `problem` says why it cannot; then `wrap` changes nothing."""

    tool: str = ""
    env: Mapping[str, str] = field(default_factory=dict)
    """What `tool` needs to find the user's systemd; a wrapped command is started with it."""
    properties: tuple[str, ...] = ()
    """Set for each scope."""
    problem: str = ""

    def wrap(self, argv: Sequence[str], *, name: str = "", properties: Sequence[str] = ()) -> list[str]:
        """The command that runs `argv` in a new scope.

        Args:
            argv: starts with an absolute path.
            name: letters, digits, `-` and `_`; what people see in `systemctl --user status`, with a random end.
            properties: of the scope, such as `MemoryMax=1G`; an unknown one makes the command fail unstarted.
        """
        if self.problem:
            return list(argv)
        unit = [f"--unit={name}-{secrets.token_hex(4)}.scope"] if name else []
        given = [f"--property={each}" for each in (*self.properties, *properties)]
        command = [self.tool, "--user", "--scope", "--quiet", "--collect", f"--slice={SLICE}"]
        return [*command, *unit, *given, "--", *argv]


def detect(env: Mapping[str, str]) -> Scopes:
    """Try one scope. Blocks for `limits.SCOPE_TRIAL_S` at most for each of three questions; raises nothing.

    Args:
        env: variables of this process: PATH and XDG_RUNTIME_DIR.
    """
    tool = shutil.which("systemd-run", path=env.get("PATH"))
    if sys.platform != "linux" or tool is None:
        return Scopes(problem="this system has no systemd-run")
    runtime = runtime_directory(env)
    if not (runtime / "systemd/private").exists():
        return Scopes(problem="no systemd runs for this user")
    own = {"XDG_RUNTIME_DIR": str(runtime)}
    if not _same_fate(env, own):
        return Scopes(
            problem="linger is off and the daemon is not the user's service: a scope would end at the last logout,"
            " and the daemon would not"
        )
    said = ""
    for properties in ((CONTINUE,), ()):
        scopes = Scopes(tool, own, properties)
        ended = _run(scopes.wrap(["/bin/sh", "-c", ":"]), own)
        if ended is not None and ended.returncode == 0:
            return scopes
        said = "no answer in time" if ended is None else ended.stderr.decode("utf-8", "replace").strip()
    return Scopes(problem=f"systemd-run failed: {said}"[: limits.LOG_FIELD_CHARS])


def runtime_directory(env: Mapping[str, str]) -> Path:
    """Where the user's systemd listens, also for a shell without the variable (su, cron)."""
    return Path(env.get("XDG_RUNTIME_DIR") or f"/run/user/{os.geteuid()}")


def _same_fate(env: Mapping[str, str], own: Mapping[str, str]) -> bool:
    """Whether a scope lives at least as long as this process would without one."""
    tool = shutil.which("systemctl", path=env.get("PATH"))
    if tool is None:
        return False
    asked = _run([tool, "--user", "show", "--property=ControlGroup", "--value"], own)
    root = "" if asked is None else asked.stdout.decode("utf-8", "replace").strip()
    if root and any(_inside(group, root) for group in _own_cgroups()):
        return True
    return look_at_linger(env, Path("/")).lingers is True


def _inside(group: str, root: str) -> bool:
    return group == root or group.startswith(root.rstrip("/") + "/")


def _own_cgroups() -> list[str]:
    """This process's place in systemd's hierarchy: the unified one, or the named one of older systems."""
    try:
        lines = Path("/proc/self/cgroup").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    parts = [line.split(":", 2) for line in lines]
    return [part[2] for part in parts if len(part) == 3 and part[1] in ("", "name=systemd")]


def _run(argv: Sequence[str], env: Mapping[str, str]) -> subprocess.CompletedProcess[bytes] | None:
    try:
        return subprocess.run(
            argv,
            env=dict(env),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=limits.SCOPE_TRIAL_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
