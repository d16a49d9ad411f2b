"""A scope of systemd for each keeper: a control group in which the kernel itself holds the memory (PS-9).

The keeper looks at its processes in any case: it warns, names what used the memory and ends the run at the limit. In a
scope the kernel stands behind it, for a program that is faster than the looks. Nothing is asked of systemd to find out
whether that can be had: only files are looked at. A start that systemd refuses is repeated without a scope.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from betcode.keeper.limits import BASE_BYTES_MAX
from betcode.model import limits

GROUPS = Path("/sys/fs/cgroup")
LINGERING = Path("/var/lib/systemd/linger")
"""Has a file for each user whose systemd runs on after the last logout, with all scopes; else they end then."""
CONTINUES_SINCE = 253
"""First version of systemd that ends a whole scope when the kernel has ended one process of it, unless told not to."""


@dataclass(frozen=True, slots=True)
class Scopes:
    """How a keeper gets a scope; without `program` it gets none, and `why` says what is missing."""

    program: str = ""
    runtime: str = ""
    """The user's runtime directory, where the user's systemd listens."""
    why: str = ""
    version: int = 0

    def command(self, argv: list[str], *, name: str, memory_bytes_max: int) -> list[str]:
        """`argv` in a scope of its own. `memory_bytes_max`: what its processes may use beside claude's own base.

        claude's base is not known yet, so that the scope has room for the largest, and for the keeper.
        """
        most = BASE_BYTES_MAX + memory_bytes_max + limits.KEEPER_BYTES_MAX
        wanted = [f"MemoryMax={most}"]
        if self.version >= CONTINUES_SINCE:
            wanted.append("OOMPolicy=continue")
        start = [self.program, "--user", "--scope", "--quiet", "--collect", f"--unit=betcode-{name}"]
        return [*start, *(f"--property={one}" for one in wanted), "--", *argv]

    @property
    def env(self) -> dict[str, str]:
        """What systemd-run needs to find the user's systemd."""
        bus = f"unix:path={self.runtime}/bus"
        return {"XDG_RUNTIME_DIR": self.runtime, "DBUS_SESSION_BUS_ADDRESS": bus} if self.program else {}


def find_scopes(env: Mapping[str, str], *, groups: Path = GROUPS, lingering: Path = LINGERING) -> Scopes:
    """Whether keepers can have scopes with a memory limit here. Blocks for some milliseconds."""
    if sys.platform != "linux":
        return Scopes(why="this system has no control groups")
    if not (groups / "cgroup.controllers").is_file():
        return Scopes(why=f"control groups of version 2 are not mounted at {groups}")
    uid = os.getuid()
    own = groups / f"user.slice/user-{uid}.slice/user@{uid}.service"
    try:
        controllers = (own / "cgroup.controllers").read_text().split()
    except OSError:
        return Scopes(why="no systemd runs for your user")
    if "memory" not in controllers:
        return Scopes(why="your systemd may not limit memory: the controller is not delegated to it")
    if not (lingering / pwd.getpwuid(uid).pw_name).exists():
        return Scopes(why="at your last logout systemd would end what is in scopes (loginctl enable-linger)")
    runtime = env.get("XDG_RUNTIME_DIR") or f"/run/user/{uid}"
    if not os.path.exists(f"{runtime}/bus"):
        return Scopes(why=f"your systemd does not listen in {runtime}")
    program = shutil.which("systemd-run", path=env.get("PATH"))
    if program is None:
        return Scopes(why="systemd-run is not on PATH")
    return Scopes(program, runtime, version=_version(program))


def _version(program: str) -> int:
    """Of systemd; 0 when it does not tell."""
    try:
        said = subprocess.run(
            [program, "--version"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=limits.DOCTOR_ASK_WAIT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return 0
    words = said.stdout.split(maxsplit=2)
    return int(words[1]) if len(words) > 1 and words[1].isdigit() else 0
