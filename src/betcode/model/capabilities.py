"""What a claude can do, as it says itself, and as it turned out; and which versions are not driven at all (PS-12)."""

from __future__ import annotations

import re
from typing import Final

from msgspec import Struct

Version = tuple[int, ...]

OLDEST: Final = (2, 1, 222)
"""The oldest version that is driven: see `WEAKNESSES`."""
TESTED: Final = (2, 1, 332)
"""The newest version in docs/compatibility.md."""
INSTALL_HINT: Final = 'Install it with `pip install "betcode[claude]"` or `npm install -g @anthropic-ai/claude-code`.'

WEAKNESSES: Final[tuple[tuple[Version, str], ...]] = (
    ((2, 1, 175), "runs a tool when a question to its host is not answered in time"),
    ((2, 1, 213), "runs a tool when its host ends while a question waits"),
    ((2, 1, 221), "loses a message that is sent again after a crash, and reports it as done"),
)
"""Last version that has it, and what it does, worst first; each was seen, in hooks or after a kill."""

LIFECYCLE: Final = "msg_lifecycle_v1"
"""In claude's own list of capabilities: it tells what becomes of each message."""

_NUMBERS = re.compile(r"\b(\d{1,9})\.(\d{1,9})\.(\d{1,9})\b")


class Capabilities(Struct, frozen=True, omit_defaults=True, array_like=True):
    """Of one claude. A flag is None or True until the opposite turned out; a new version starts afresh."""

    version: str = ""
    """As the process names it; empty where it has not."""
    lifecycle: bool | None = None
    """It tells when a message begins."""
    withdraws: bool = True
    """It takes back a message that it has and has not begun."""
    reruns: bool = True
    """A new process goes on with an interrupted turn by itself."""


UNKNOWN: Final = Capabilities()
"""Nothing was said yet."""


def parsed(text: str) -> Version | None:
    """The first version number in a text."""
    found = _NUMBERS.search(text)
    return tuple(int(part) for part in found.groups()) if found else None


def dotted(version: Version) -> str:
    """A version in its usual form."""
    return ".".join(str(part) for part in version)


def weakness(version: Version) -> str:
    """Why this version is not driven; empty for one that is."""
    if version >= OLDEST:
        return ""
    return next((what for last, what in WEAKNESSES if version <= last), WEAKNESSES[-1][1])


def refusal(said: str) -> tuple[str, str, str] | None:
    """What is wrong with a claude that names its version so: code, message, hint. None when it may be driven."""
    version = parsed(said)
    if version is None:
        hint = f"Is it Claude Code? BetCode needs {dotted(OLDEST)} or newer. {INSTALL_HINT}"
        return "claude.version_unknown", "it does not tell its version", hint
    why = weakness(version)
    if not why:
        return None
    hint = f"BetCode needs {dotted(OLDEST)} or newer. {INSTALL_HINT}"
    return "claude.too_old", f"claude {dotted(version)} is too old: it {why}", hint
