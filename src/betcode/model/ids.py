"""Identifiers: one type each, so that a session id is never passed where a message id is meant."""

from __future__ import annotations

import hashlib
from typing import NewType

SessionId = NewType("SessionId", str)
"""Ten characters of `a-z2-7`, made once by the daemon; unique in a data directory."""

ClaudeSessionId = NewType("ClaudeSessionId", str)
"""The UUID under which Claude Code stores the conversation (`--session-id`, `--resume`)."""

MessageId = NewType("MessageId", str)
"""UUID of a user message: the client's idempotency key and the `uuid` of the line that claude gets."""

PermissionId = NewType("PermissionId", str)
"""`p` and twelve hex digits, derived from session, run and the CLI's request id (see `permission_id`)."""

SESSION_ID_LENGTH = 10
SESSION_ID_ALPHABET = "abcdefghijklmnopqrstuvwxyz234567"


def permission_id(session: SessionId, run: int, request_id: str) -> PermissionId:
    """Name a question so that reading the same journal again gives the same name.

    The CLI's request ids are scoped to one process, hence the run.
    """
    digest = hashlib.blake2s(f"{session}\0{run}\0{request_id}".encode("utf-8", "replace"), digest_size=6)
    return PermissionId(f"p{digest.hexdigest()}")


def attempt_id(message: MessageId, attempt: int) -> str:
    """The uuid under which claude is told to go on with `message`: as its text is another, so must its uuid be.

    Derived, so that a daemon that comes later repeats it and claude drops what it has. `attempt` counts from 1.
    """
    digest = hashlib.blake2s(f"{message}\0{attempt}".encode("utf-8", "replace"), digest_size=16).hexdigest()
    return f"{digest[:8]}-{digest[8:12]}-4{digest[13:16]}-8{digest[17:20]}-{digest[20:]}"


def block_id(message: str, index: int) -> str:
    """Name one content block of one model answer; previews and the durable event share it."""
    return f"{message}:{index}"
