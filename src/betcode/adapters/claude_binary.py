"""Finding the `claude` executable, and refusing one that is not safe to drive (PS-12)."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path

from betcode.model import limits
from betcode.model.errors import BetcodeError

VERSION_MIN = (2, 1, 222)
"""Older versions can run a tool although nobody said yes, or lose a message that was sent again after a crash."""
VERSION_TESTED = (2, 1, 330)
"""The newest version that the test suite was run against."""
INSTALL_HINT = 'Install it with `pip install "betcode[claude]"` or `npm install -g @anthropic-ai/claude-code`.'

_VERSION = re.compile(r"\b(\d+)\.(\d+)\.(\d+)\b")


def find_claude(configured: str, path: str) -> Path:
    """The executable: the configured one, else the first on `path`, else the one in the claude-agent-sdk package.

    A configured name without a directory is looked up on `path` too.

    Raises:
        BetcodeError: `claude.not_found`, or `claude.not_executable` when the configured one cannot be run.
    """
    if configured:
        chosen = Path(configured)
        if chosen.name == configured:
            chosen = Path(shutil.which(configured, path=path or None) or chosen)
        if not os.path.isfile(chosen):  # unlike Path.is_file it raises for no path
            what = "is not a file" if os.path.exists(chosen) else "does not exist"
            raise BetcodeError(
                "claude.not_found",
                f"the configured claude {str(chosen)!r} {what}",
                hint=f"Correct agent.claude, --claude or BETCODE_CLAUDE. {INSTALL_HINT}",
            )
        if not os.access(chosen, os.X_OK):
            raise BetcodeError(
                "claude.not_executable", f"{str(chosen)!r} is not executable", hint=f"chmod +x '{chosen}'"
            )
        return chosen.absolute()
    on_path = shutil.which("claude", path=path or None)
    if on_path:
        return Path(on_path).absolute()
    spec = importlib.util.find_spec("claude_agent_sdk")
    for place in (spec.submodule_search_locations or []) if spec else []:
        bundled = Path(place) / "_bundled" / "claude"
        if bundled.is_file() and os.access(bundled, os.X_OK):
            return bundled
    raise BetcodeError("claude.not_found", "no claude executable was found", hint=INSTALL_HINT)


class ClaudeBinary:
    """The configured executable and its version, which is asked again whenever the file changes."""

    def __init__(self, configured: str) -> None:
        """`configured`: a path, or empty to search."""
        self.configured = configured
        self._known: tuple[tuple[str, int, int], tuple[int, int, int]] | None = None

    async def checked(self, path: str, env: Mapping[str, str]) -> Path:
        """The executable, after its version was found good. `path` is the PATH to search, `env` the child's.

        Raises:
            BetcodeError: see `find_claude`; `claude.too_old`; `claude.version_unknown`.
        """
        claude = find_claude(self.configured, path)
        stat = claude.stat()
        mark = (str(claude), stat.st_mtime_ns, stat.st_size)
        if self._known is None or self._known[0] != mark:
            self._known = (mark, await ask_version(claude, env))
        version = self._known[1]
        if version < VERSION_MIN:
            raise BetcodeError(
                "claude.too_old",
                f"claude {dotted(version)} at {str(claude)!r} is too old",
                hint=f"BetCode needs {dotted(VERSION_MIN)} or newer: older ones can run a tool unasked. {INSTALL_HINT}",
            )
        return claude

    @property
    def version(self) -> str:
        """The version that was found last; empty before that."""
        return dotted(self._known[1]) if self._known else ""


async def ask_version(
    claude: Path, env: Mapping[str, str], *, wait_s: float = limits.VERSION_WAIT_S
) -> tuple[int, int, int]:
    """What `claude --version` says. Raises BetcodeError `claude.version_unknown` or `claude.not_executable`."""
    try:
        process = await asyncio.create_subprocess_exec(
            str(claude),
            "--version",
            env=dict(env),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
    except OSError as error:
        raise BetcodeError(
            "claude.not_executable", f"{str(claude)!r} cannot be executed: {error.strerror}", hint=INSTALL_HINT
        ) from error
    try:
        async with asyncio.timeout(wait_s):
            said, _ = await process.communicate()
    except TimeoutError:
        process.kill()
        await process.wait()
        said = b""
    found = _VERSION.search(said[:1000].decode("utf-8", "replace"))
    if found is None:
        raise BetcodeError(
            "claude.version_unknown",
            f"{str(claude)!r} --version does not tell its version",
            hint=f"Is it Claude Code? BetCode needs {dotted(VERSION_MIN)} or newer. {INSTALL_HINT}",
        )
    return int(found[1]), int(found[2]), int(found[3])


def dotted(version: tuple[int, int, int]) -> str:
    """A version in its usual form."""
    return ".".join(str(part) for part in version)
