"""This program, claude, and what claude logs in with: names only, no value is kept."""

from __future__ import annotations

import asyncio
import importlib.metadata
import json
import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

import betcode
from betcode.adapters.claude_binary import ask_version, find_claude
from betcode.adapters.environment import child_environment
from betcode.core.diagnosis.programs import Claude, Login, Program
from betcode.model import limits
from betcode.model.capabilities import OLDEST, TESTED, parsed, weakness
from betcode.model.errors import BetcodeError
from betcode.model.rows import Options

LOGIN_VARIABLES = frozenset(
    {
        "ANTHROPIC_API_KEY",
        "ANTHROPIC_AUTH_TOKEN",
        "CLAUDE_CODE_OAUTH_TOKEN",
        "CLAUDE_CODE_USE_BEDROCK",
        "CLAUDE_CODE_USE_FOUNDRY",
        "CLAUDE_CODE_USE_VERTEX",
    }
)
"""With any of these claude has a way to its model."""
LOGIN_KEYS = ("oauthAccount", "primaryApiKey", "apiKeyHelper")
"""Keys of claude's own files that stand for a login."""
INSTALL = {"claude.not_found": 'pip install "betcode[claude]"', "claude.version_unknown": "betcode config show"}
"""Commands that mend what is wrong with a claude."""


def look_at_program() -> Program:
    """Python and this package."""
    try:
        installed: str | None = importlib.metadata.version("betcode")
    except importlib.metadata.PackageNotFoundError:
        installed = None
    place = str(Path(betcode.__file__).parent)
    return Program(tuple(sys.version_info[:3]), sys.executable, betcode.__version__, installed, place)


def look_at_claude(configured: str, env: Mapping[str, str], env_pass: Iterable[str]) -> Claude:
    """The claude that a daemon started from here would use; it is asked for its version."""
    own = child_environment(env, Options(), env_pass)
    try:
        path = find_claude(configured, own.get("PATH", ""))
    except BetcodeError as error:
        chmod = str(error.hint) if error.code == "claude.not_executable" else ""
        return Claude(problem=str(error), hint=chmod or INSTALL["claude.not_found"])
    try:
        said = asyncio.run(ask_version(path, own, wait_s=limits.DOCTOR_VERSION_WAIT_S))
    except BetcodeError as error:
        return Claude(str(path), problem=str(error), hint=INSTALL.get(error.code, INSTALL["claude.not_found"]))
    version = parsed(said)
    if version is None:
        problem = f"{str(path)!r} --version does not tell its version"
        return Claude(str(path), problem=problem, hint=INSTALL["claude.version_unknown"])
    return Claude(str(path), version, OLDEST, TESTED, weakness=weakness(version))


def claude_home(env: Mapping[str, str]) -> Path:
    """Where claude keeps its transcripts and its login."""
    return Path(env.get("CLAUDE_CONFIG_DIR") or f"{env.get('HOME') or Path.home()}/.claude")


def look_at_login(env: Mapping[str, str], daemon_pid: int | None) -> Login:
    """Names of the variables and files with which claude could log in."""
    home = claude_home(env)
    outside = home if env.get("CLAUDE_CONFIG_DIR") else home.parent
    files = [str(file) for file in (home / ".credentials.json",) if _has_content(file)]
    for file in (home / "settings.json", outside / ".claude.json"):
        files += [f"{key} of {file}" for key in _keys(file) if key in LOGIN_KEYS]
    theirs = None if daemon_pid is None else names_of(daemon_pid, with_value=True)
    return Login(
        frozenset(name for name in LOGIN_VARIABLES if env.get(name)),
        None if theirs is None else theirs & LOGIN_VARIABLES,
        tuple(files),
        hidden=sys.platform == "darwin",
    )


def names_of(pid: int, *, with_value: bool = False) -> frozenset[str] | None:
    """Names of the variables that a process was started with; None if they cannot be known.

    `with_value` leaves out those that are empty.
    """
    try:
        content = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return None
    pairs = (entry.partition(b"=") for entry in content.split(b"\0"))
    return frozenset(os.fsdecode(name) for name, _, value in pairs if name and (value or not with_value))


def _has_content(file: Path) -> bool:
    try:
        return file.stat().st_size > 0
    except OSError:
        return False


def _keys(file: Path) -> list[str]:
    """Names of the members of a JSON object that have a value; none if it cannot be read."""
    try:
        with file.open("rb") as opened:
            value = json.loads(opened.read(limits.DOCTOR_FILE_BYTES_MAX))
    except (OSError, ValueError, RecursionError):
        return []
    return [key for key, content in value.items() if content] if isinstance(value, dict) else []
