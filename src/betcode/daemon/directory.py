"""Which directories sessions may work in."""

from __future__ import annotations

import os
from pathlib import Path

from betcode.model.errors import BetcodeError


def resolve_directory(given: str) -> str:
    """The real path of a working directory. Raises BetcodeError `request.directory` (SE-2)."""
    path = Path(given)
    hint = "Give the absolute path of an existing directory of yours."
    if not path.is_absolute():
        raise BetcodeError("request.directory", f"{given!r} is not an absolute path", hint=hint)
    try:
        real = path.resolve(strict=True)
        found = real.stat()
    except (OSError, RuntimeError, ValueError) as error:
        raise BetcodeError("request.directory", f"directory {given!r} does not exist", hint=hint) from error
    if not real.is_dir():
        raise BetcodeError("request.directory", f"{given!r} is not a directory", hint=hint)
    if found.st_uid != os.getuid():
        raise BetcodeError("request.directory", f"{given!r} belongs to another user", hint=hint)
    try:
        str(real).encode("utf-8")
    except UnicodeEncodeError as error:
        raise BetcodeError("request.directory", f"{given!r} is not valid UTF-8", hint=hint) from error
    return str(real)
