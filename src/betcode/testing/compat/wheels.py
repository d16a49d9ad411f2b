"""Older versions of the CLI, out of the `claude-agent-sdk` wheels that carry them; fetched once and kept.

pip fetches from wherever it is configured to, one wheel after the other. Wheels and executables stay in
`$XDG_CACHE_HOME/betcode-compat`; nothing there is removed by us.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

from betcode.testing.limits import COMPAT_FETCH_S, COMPAT_ROOM_BYTES

WHEELS = {
    "2.1.139": "0.1.81",
    "2.1.214": "0.2.122",
    "2.1.222": "0.2.130",
    "2.1.247": "0.2.145",
    "2.1.283": "0.2.160",
    "2.1.308": "0.2.172",
    "2.1.330": "0.2.187",
    "2.1.332": "0.2.189",
}
"""Version of the CLI -> version of the wheel that carries it: two that are refused, the oldest, the newest, between."""
BUNDLED = "claude_agent_sdk/_bundled/claude"
"""The executable inside a wheel."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """An executable that is there; `wheel` is the version of the package that it came from."""

    version: str
    wheel: str
    claude: Path


def cache() -> Path:
    """Where wheels and executables are kept."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "betcode-compat"


def fetch(version: str, folder: Path) -> Fetched:
    """The executable of this version, fetched if it is not in `folder` yet.

    Raises RuntimeError when there is no room or pip fails, KeyError for a version that is not in `WHEELS`.
    """
    wheel = WHEELS[version]
    claude = folder / version / "claude"
    if not claude.exists():
        folder.mkdir(parents=True, exist_ok=True)
        if shutil.disk_usage(folder).free < COMPAT_ROOM_BYTES:
            raise RuntimeError(f"{folder}: less than {COMPAT_ROOM_BYTES >> 20} MiB are free")
        _take_out(_wheel(wheel, folder / "wheels"), claude)
    return Fetched(version, wheel, claude)


def _wheel(version: str, folder: Path) -> Path:
    found = sorted(folder.glob(f"claude_agent_sdk-{version}-*.whl"))
    if found:
        return found[0]
    print(f"fetching claude-agent-sdk {version}", flush=True)
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-cache-dir", "--dest", str(folder)]
    done = subprocess.run(
        [*command, f"claude-agent-sdk=={version}"], capture_output=True, text=True, timeout=COMPAT_FETCH_S, check=False
    )
    found = sorted(folder.glob(f"claude_agent_sdk-{version}-*.whl"))
    if not found:
        raise RuntimeError(f"claude-agent-sdk {version} could not be fetched: {done.stderr.strip()[-1000:]}")
    return found[0]


def _take_out(wheel: Path, claude: Path) -> None:
    """Unpack the executable; it appears under its name only when it is whole."""
    claude.parent.mkdir(parents=True, exist_ok=True)
    part = claude.with_suffix(".part")
    with zipfile.ZipFile(wheel) as archive, archive.open(BUNDLED) as packed, part.open("wb") as unpacked:
        shutil.copyfileobj(packed, unpacked, 1 << 20)
    part.chmod(0o755)
    part.rename(claude)
