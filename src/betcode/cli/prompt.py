"""The text of a message: from the command line, from standard input, or both."""

from __future__ import annotations

import os
import select
import stat
import sys

from betcode.cli.output import remark
from betcode.model import limits
from betcode.model.errors import BetcodeError

STDIN_WAIT_S = 3.0
"""For the first byte of a pipe that nobody asked to be read: a script may have left one open and will never write."""


def read_prompt(argument: str | None) -> str:
    """The whole text.

    Args:
        argument: PROMPT. `-` or None: standard input is the prompt. Otherwise a pipe or file on standard input is
            appended as context.

    Raises:
        BetcodeError: `request.invalid` for text that is empty, too long or not UTF-8; `request.usage` without any.
    """
    if argument in (None, "-"):
        if argument is None and sys.stdin.isatty():
            raise BetcodeError(
                "request.usage", "a prompt is missing", hint='For example: betcode run "explain this repository"'
            )
        text = _decoded(_read_all())
    else:
        assert argument is not None
        text = _encodable(argument)
        context = _decoded(_read_all()) if _has_context() else ""
        if context.strip():
            text = f"{text}\n\n{context}"
    size = len(text.encode())
    if size > limits.PROMPT_BYTES_MAX:
        raise _too_long(size)
    if not text.strip():
        raise BetcodeError("request.invalid", "the prompt is empty", hint="Say what claude should do.")
    return text


def _has_context() -> bool:
    """Whether standard input is a file, or a pipe that somebody writes to."""
    try:
        mode = os.fstat(0).st_mode
    except OSError:
        return False  # closed
    if stat.S_ISREG(mode):
        return True
    if not stat.S_ISFIFO(mode):
        return False
    if select.select([0], [], [], STDIN_WAIT_S)[0]:
        return True
    remark(
        f"standard input is a pipe without data for {STDIN_WAIT_S:.0f} s; going on without it (< /dev/null avoids this)"
    )
    return False


def _read_all() -> bytes:
    """Standard input to its end, at most one byte more than a prompt may have."""
    parts: list[bytes] = []
    size = 0
    while size <= limits.PROMPT_BYTES_MAX:
        part = os.read(0, 65_536)
        if not part:
            return b"".join(parts)
        parts.append(part)
        size += len(part)
    raise _too_long(size)


def _too_long(size: int) -> BetcodeError:
    return BetcodeError(
        "request.invalid",
        f"the prompt has {size} bytes or more; at most {limits.PROMPT_BYTES_MAX} go into one message",
        hint="Put the text into a file and ask claude to read it.",
    )


def _decoded(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise BetcodeError(
            "request.invalid",
            f"standard input is not UTF-8 (byte {error.start})",
            hint="Convert it first, for example: iconv -f LATIN1 -t UTF-8 FILE | betcode run -",
        ) from error


def _encodable(text: str) -> str:
    """An argument as UTF-8 text: the shell may hand over any bytes, which Python keeps as lone surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise BetcodeError(
            "request.invalid",
            f"the text is not UTF-8 (character {error.start + 1})",
            hint="Set the terminal to UTF-8, or give the text on standard input.",
        ) from error
    return text
