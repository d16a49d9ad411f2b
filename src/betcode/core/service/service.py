"""What a service manager must know to run the daemon of one data directory, and what of a shell's variables it may."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from betcode.model.errors import Exit

LASTING = (Exit.BAD_ARGUMENTS, Exit.CLAUDE_NOT_FOUND, Exit.BAD_CONFIGURATION)
"""Exit statuses of a start that a person must mend first: another attempt changes nothing."""
CARRIED = frozenset(
    [
        "PATH",
        "LANG",
        "LANGUAGE",
        "TZ",
        "TMPDIR",
        "SSL_CERT_FILE",
        "SSL_CERT_DIR",
        "NODE_EXTRA_CA_CERTS",
        "XDG_CONFIG_HOME",
        "XDG_DATA_HOME",
        "XDG_STATE_HOME",
        "XDG_CACHE_HOME",
        "CLAUDE_CONFIG_DIR",
    ]
)
"""Variables of the shell that are written into the service: places and languages. None that may hold a secret."""
CARRIED_PREFIXES = ("LC_", "BETCODE_")
"""Beginnings of such names: our own settings are places, numbers and words."""
GIVEN = frozenset(["HOME", "USER", "LOGNAME", "SHELL", "TERM", "VIRTUAL_ENV"])
"""What every service has by itself, or what comes with each session from its client."""


@dataclass(frozen=True, slots=True)
class Service:
    """One daemon as a service; `unfit` finds texts that no file of a service can hold."""

    name: str
    """`betcode`, with the mark of the data directory if it is not the usual one."""
    argv: tuple[str, ...]
    environment: tuple[tuple[str, str], ...] = ()
    environment_file: str = ""
    """A file of the user with more variables; it need not exist."""
    log: str = ""
    """A file for what the daemon says on standard error, where no journal takes it."""

    def unfit(self) -> str:
        """A text that no service manager can be told; empty when there is none."""
        texts = [*self.argv, *(value for pair in self.environment for value in pair), self.environment_file, self.log]
        quotes = set("\"'\\") & set(self.argv[0])  # systemd takes no such name of a program, however it is written
        return self.argv[0] if quotes else next((text for text in texts if not text.isprintable()), "")


def service_name(mark: str) -> str:
    """`mark`: twelve characters for a data directory that is not the usual one, else empty."""
    return f"betcode-{mark}" if mark else "betcode"


def carried(env: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """The variables of a shell that the service gets too, in order."""
    return tuple(sorted((n, v) for n, v in env.items() if n in CARRIED or n.startswith(CARRIED_PREFIXES)))


def missing(passed: Iterable[str], *, elsewhere: Iterable[str]) -> list[str]:
    """Names of the variables that claude would get from this shell and does not get from the service.

    Args:
        passed: names that the allow-list lets through to claude.
        elsewhere: names in the user's own file for the service, and in the service manager.
    """
    known = {*elsewhere, *GIVEN}
    return sorted(n for n in passed if n not in known and n not in CARRIED and not n.startswith(CARRIED_PREFIXES))


def program_in(text: str) -> str:
    """The program that a written unit or agent starts: the first absolute path in quotes or in a string of its own.

    Empty when there is none, as in a file that somebody else has written.
    """
    found = re.search(r'^ExecStart="(/(?:[^"\\]|\\.)*)"', text, re.MULTILINE)
    if found:
        return re.sub(r"\\(.)", r"\1", found[1]).replace("%%", "%")
    listed = re.search(r"<key>ProgramArguments</key>\s*<array>\s*<string>(/[^<]*)</string>", text)
    return html.unescape(listed[1]) if listed else ""


def names_in(text: str) -> list[str]:
    """Names of the variables that a file of `NAME=value` lines sets."""
    lines = (line.strip() for line in text.splitlines())
    return [line.partition("=")[0].strip() for line in lines if "=" in line and line[0] not in "#;"]
