"""Damage that turns a text into something that is none: SQLite gives it out all the same, and reading it fails."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import apsw


@contextlib.contextmanager
def text_is_text() -> Iterator[None]:
    """Raise apsw.CorruptError for a text that is not UTF-8 and comes out of the database within the block."""
    try:
        yield
    except UnicodeDecodeError as error:
        raise apsw.CorruptError(f"a text in the database is not UTF-8: {error.reason}") from error
