"""Finding the `claude` executable, and refusing one that is not safe to drive (PS-12)."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from betcode.model import limits
from betcode.model.capabilities import INSTALL_HINT, dotted, parsed, refusal
from betcode.model.errors import BetcodeError


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


@dataclass(frozen=True, slots=True)
class Found:
    """An executable and what it said of itself; `problem` is what is wrong with it: code, message, hint."""

    path: str
    version: str
    problem: tuple[str, str, str] | None = None


class ClaudeBinary:
    """The configured executable, or the one on each PATH; asked for its version again whenever its file changes."""

    def __init__(self, configured: str) -> None:
        """`configured`: a path, or empty to search."""
        self.configured = configured
        self.noticed: Callable[[Found | None, Found], None] = lambda before, now: None
        """Called with what was known of a path and what is so now, when that is not the same."""
        self._known: dict[str, tuple[Mark, Found]] = {}
        self.newest: Found | None = None
        """What was found good last."""

    async def checked(self, path: str, env: Mapping[str, str]) -> Path:
        """The executable, after its version was found good. `path` is the PATH to search, `env` the child's.

        Raises:
            BetcodeError: see `find_claude`; `claude.too_old`; `claude.version_unknown`.
        """
        claude = find_claude(self.configured, path)
        found = await self._look(claude, env)
        if found.problem is not None:
            raise refused(found.path, found.problem)
        self.newest = found
        return claude

    async def _look(self, claude: Path, env: Mapping[str, str]) -> Found:
        """What is known of the file, or what it says now."""
        mark = mark_of(claude)
        known = self._known.get(str(claude))
        if known is not None and known[0] == mark:
            return known[1]
        said = await ask_version(claude, env)
        found = Found(str(claude), dotted(parsed(said) or ()), refusal(said))
        before = self._known.pop(str(claude), None)
        self._known[str(claude)] = (mark, found)
        if len(self._known) > limits.CLAUDES_KNOWN_MAX:
            del self._known[next(iter(self._known))]
        if before is None or before[1] != found:
            self.noticed(before[1] if before else None, found)
        return found

    @property
    def version(self) -> str:
        """The version that was found good last; empty before that."""
        return self.newest.version if self.newest else ""


def refused(path: str, problem: tuple[str, str, str]) -> BetcodeError:
    """Why this executable is not driven: `problem` as of `capabilities.refusal`."""
    code, what, hint = problem
    return BetcodeError(code, f"{path!r}: {what}", hint=hint)


Mark = tuple[str, int, int, int, int]


def mark_of(claude: Path) -> Mark:
    """What is different when the file was replaced: where it really is, file system, inode, time and size.

    Raises BetcodeError `claude.not_executable` when it is gone by now.
    """
    try:
        real, stat = os.path.realpath(claude), claude.stat()
    except OSError as error:
        raise BetcodeError(
            "claude.not_executable", f"{str(claude)!r} cannot be looked at: {error.strerror}", hint=INSTALL_HINT
        ) from error
    return (real, stat.st_dev, stat.st_ino, stat.st_mtime_ns, stat.st_size)


async def ask_version(claude: Path, env: Mapping[str, str], *, wait_s: float = limits.VERSION_WAIT_S) -> str:
    """What `claude --version` prints, shortened; empty when it says nothing in time.

    Raises BetcodeError `claude.not_executable`.
    """
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
    return said[:1000].decode("utf-8", "replace")
