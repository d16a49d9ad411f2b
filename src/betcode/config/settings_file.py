"""One settings file: read with care, checked key by key, with the place of everything that is wrong.

A project's file comes with its repository and may be a trap: a pipe, a device, a gigabyte, a link to somebody's key. It
is opened without waiting, must be a regular file of bounded size, and no more of it is quoted than one value.
"""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from betcode.config import scan
from betcode.config.paths import path_text
from betcode.config.settings import NotAllowedError, nearest, settings, shown
from betcode.model.errors import BetcodeError

FILE_BYTES_MAX = 1024 * 1024
"""A settings file with every key in it has 2 KiB."""
WARNINGS_MAX = 20
"""Shown of one file; a foreign file may hold a hundred thousand unknown keys."""
OTHER_KEYS = ("$schema",)
"""Keys that belong to editors."""


@dataclass(frozen=True, slots=True)
class Found:
    """A converted value and the line of its key."""

    value: object
    line: int


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that stops the start: what is wrong and what to do; and the same in pieces, for programs."""

    text: str
    hint: str
    file: str = ""
    at: scan.Place | None = None
    key: str = ""
    value: str = ""
    """As it is shown: in JSON, not too long."""
    allowed: str = ""
    default: str = ""


@dataclass(slots=True)
class Findings:
    """What one source gave."""

    values: dict[str, Found] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


_NO_PROJECT: Final = (errno.ENOTDIR, errno.ENAMETOOLONG)
"""A file that is called as our folder is the project's own affair; a path that is too long leads nowhere."""


def read(path: Path, *, is_project: bool) -> Findings:
    """Values, problems and warnings of a file; a missing file gives nothing.

    Raises config.insecure if the user's own file can be written by others: it names the program that is run.
    """
    findings = Findings()
    try:
        raw = _bytes(path, is_project=is_project)
    except FileNotFoundError:
        return findings
    except (OSError, ValueError) as e:
        if is_project and isinstance(e, OSError) and e.errno in _NO_PROJECT:
            return findings
        reason = e.strerror if isinstance(e, OSError) else e
        hint = "Make it a readable JSON file of at most 1 MiB, or remove it."
        findings.problems.append(Problem(f"{path_text(path)} cannot be read: {reason}", hint, file=path_text(path)))
        return findings
    try:
        text = raw.removeprefix(b"\xef\xbb\xbf").decode()
    except UnicodeDecodeError as e:
        before = raw[: e.start].decode(errors="replace")
        at = scan.place(before, len(before))
        findings.problems.append(_not_json(path, at, "Not valid UTF-8"))
        return findings
    try:
        outer = scan.members(text)
    except scan.NotJsonError as e:
        findings.problems.append(_not_json(path, scan.Place(line=e.line, column=e.column), str(e)))
        return findings
    _Check(path, text, is_project, findings).run(outer)
    return findings


def not_allowed(where: str, key: str, value: object, *, at: scan.Place | None = None) -> Problem:
    """The one sentence about a value outside its range, wherever it comes from; `at` is its place if that is a file."""
    setting = settings()[key]
    place = where if at is None else f"{where}:{at.line}:{at.column}"
    return Problem(
        f"{place}: {key} = {shown(value)} is not allowed; allowed: {setting.allowed_text}",
        f"Change or remove it; the default of {key} is {setting.default_text}.",
        file=where if at is not None else "",
        at=at,
        key=key,
        value=shown(value),
        allowed=setting.allowed_text,
        default=setting.default_text,
    )


def unknown(key: str) -> str:
    """What to say about a key that no setting has."""
    if key in settings():
        section, name = key.split(".")
        return f'{shown(key)} is not read like this; write {{"{section}": {{"{name}": ...}}}}'
    guess = nearest(key)
    return f"unknown setting {shown(key)}" + (f'; did you mean "{guess}"?' if guess else "")


def _bytes(path: Path, *, is_project: bool) -> bytes:
    """The file's content. Raises OSError, ValueError when it is not a regular file or too large, and BetcodeError."""
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        state = os.fstat(fd)
        if not stat.S_ISREG(state.st_mode):
            raise ValueError("it is not a regular file")
        if not is_project and (state.st_uid not in (0, os.geteuid()) or state.st_mode & stat.S_IWOTH):
            raise BetcodeError(
                "config.insecure",
                f"{path_text(path)} can be written by other users",
                hint="It names the program that is run. Make it yours alone: chown and chmod 600.",
            )
        with open(fd, "rb", closefd=False) as file:
            content = file.read(FILE_BYTES_MAX + 1)
    finally:
        os.close(fd)
    if len(content) > FILE_BYTES_MAX:
        raise ValueError(f"it is larger than {FILE_BYTES_MAX} bytes")
    return content


def _not_json(path: Path, at: scan.Place, problem: str) -> Problem:
    return Problem(
        f"{path_text(path)}:{at.line}:{at.column}: not valid JSON: {problem}",
        "Correct the file at this line and column, or remove it to use the defaults.",
        file=path_text(path),
        at=at,
    )


def _warning(kind: str, key: str) -> str:
    match kind:
        case "repeated":
            return f"{shown(key)} is given more than once; the last one counts"
        case "project":
            return f"{key} is ignored: a project's files may not set it; use your own settings.json"
        case _:
            return unknown(key)


@dataclass(slots=True)
class _Check:
    """Walks one decoded file. Warnings are collected as (index, kind, key): finding the line of each costs time."""

    path: Path
    text: str
    is_project: bool
    findings: Findings
    warned: list[tuple[int, str, str]] = field(default_factory=list)

    def run(self, outer: list[scan.Member]) -> None:
        sections = {setting.section for setting in settings().values()}
        for member in self._last_of_each(outer, ""):
            if member.key in OTHER_KEYS:
                continue
            if member.key not in sections:
                self.warned.append((member.key_at, "unknown", member.key))
            elif isinstance(member.value, dict):
                for leaf in self._last_of_each(scan.inner(self.text, member), f"{member.key}."):
                    self._leaf(leaf, f"{member.key}.{leaf.key}")
            else:
                self.findings.problems.append(self._no_section(member))
        self._write_warnings()

    def _leaf(self, leaf: scan.Member, key: str) -> None:
        setting = settings().get(key)
        if setting is None:
            self.warned.append((leaf.key_at, "unknown", key))
        elif self.is_project and not setting.project:
            self.warned.append((leaf.key_at, "project", key))
        else:
            try:
                value = setting.convert(leaf.value)
            except NotAllowedError:
                place = scan.place(self.text, leaf.key_at)
                self.findings.problems.append(not_allowed(path_text(self.path), key, leaf.value, at=place))
            else:
                self.findings.values[key] = Found(value, scan.place(self.text, leaf.key_at).line)

    def _no_section(self, member: scan.Member) -> Problem:
        at, file = scan.place(self.text, member.key_at), path_text(self.path)
        return Problem(
            f"{file}:{at.line}:{at.column}: {member.key} = {shown(member.value)} is not allowed; allowed: an object",
            f'Write {{"{member.key}": {{...}}}}, or remove it; each of its settings has a default.',
            file=file,
            at=at,
            key=member.key,
            value=shown(member.value),
            allowed="an object",
        )

    def _last_of_each(self, members: list[scan.Member], prefix: str) -> list[scan.Member]:
        """JSON readers take the last of repeated keys; so do we, and say so."""
        last: dict[str, scan.Member] = {}
        for member in members:
            if member.key in last:
                self.warned.append((member.key_at, "repeated", prefix + member.key))
            last[member.key] = member
        return list(last.values())

    def _write_warnings(self) -> None:
        self.warned.sort()
        for index, kind, key in self.warned[:WARNINGS_MAX]:
            at = scan.place(self.text, index)
            self.findings.warnings.append(f"{path_text(self.path)}:{at.line}:{at.column}: {_warning(kind, key)}")
        if (more := len(self.warned) - WARNINGS_MAX) > 0:
            self.findings.warnings.append(f"{path_text(self.path)}: {more} more warnings")
