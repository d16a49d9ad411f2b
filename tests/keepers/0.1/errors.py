"""Errors of the keeper: what happened, what to do about it, and a stable code."""

from __future__ import annotations


class KeeperError(Exception):
    """What happened (`str(e)`), what to do (`hint`), how to match it (`code`), and the system's number if it has one.

    `code` is public: the daemon and the tests match it. The message is for people and may change.
    """

    def __init__(self, code: str, message: str, *, hint: str, errno: int | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.hint = hint
        self.errno = errno
