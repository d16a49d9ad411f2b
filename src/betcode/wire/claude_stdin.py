"""What is written to claude's standard input: one JSON object a line, here without the newline.

claude ends itself at the first line that it cannot parse, so every line made here is valid: UTF-8 without halves of
surrogate pairs, no raw newline, and none of the characters that some line readers take for one (U+2028, U+2029).
All functions raise TypeError or RecursionError for an input that no JSON could hold: a caller's bug.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from betcode.wire.objects import without_surrogates


def user_message(message_id: str, text: str) -> bytes:
    """A message of the user. claude drops a second one with the same `message_id`, a UUID."""
    message = {"role": "user", "content": text}
    return _line({"type": "user", "message": message, "parent_tool_use_id": None, "session_id": "", "uuid": message_id})


def initialize(request_id: str) -> bytes:
    """The first line for each process; its answer is the earliest sign of life. No hooks."""
    return _request(request_id, {"subtype": "initialize", "hooks": None})


def ask_version(request_id: str) -> bytes:
    """Which version the process is: for those whose answer to `initialize` does not say it."""
    return _request(request_id, {"subtype": "get_binary_version"})


def interrupt(request_id: str) -> bytes:
    """Stop the running turn; the process lives on."""
    return _request(request_id, {"subtype": "interrupt"})


def cancel_message(request_id: str, message_uuid: str) -> bytes:
    """Take back a message that was given and has not begun; the answer says whether it was (`cancelled`)."""
    return _request(request_id, {"subtype": "cancel_async_message", "message_uuid": message_uuid})


def end_session(request_id: str) -> bytes:
    """Have the process end by itself, with exit status 0."""
    return _request(request_id, {"subtype": "end_session"})


def allow(
    request_id: str, updated_input: Mapping[str, Any], updated_permissions: Sequence[Mapping[str, Any]] = ()
) -> bytes:
    """Let the tool run with `updated_input`, which is always sent: older versions refuse an answer without it.

    `updated_permissions` are permission updates in claude's own form, such as a rule for the rest of the session.
    """
    answer: dict[str, Any] = {"behavior": "allow", "updatedInput": updated_input}
    if updated_permissions:
        answer["updatedPermissions"] = list(updated_permissions)
    return _answer(request_id, answer)


def deny(request_id: str, message: str, interrupt: bool = False) -> bytes:
    """Refuse the tool. The model reads `message`, unless `interrupt` ends the turn too."""
    answer: dict[str, Any] = {"behavior": "deny", "message": message}
    if interrupt:
        answer["interrupt"] = True
    return _answer(request_id, answer)


def refuse_control(request_id: str, reason: str) -> bytes:
    """Say that we cannot serve this request.

    Never for a hook, which may fail open, and not to deny a permission: `deny` tells the model why.
    """
    response = {"subtype": "error", "request_id": request_id, "error": reason}
    return _line({"type": "control_response", "response": response})


def _request(request_id: str, request: dict[str, Any]) -> bytes:
    return _line({"type": "control_request", "request_id": request_id, "request": request})


def _answer(request_id: str, answer: dict[str, Any]) -> bytes:
    response = {"subtype": "success", "request_id": request_id, "response": answer}
    return _line({"type": "control_response", "response": response})


def _line(value: dict[str, Any]) -> bytes:
    try:
        data = msgspec.json.encode(value)
    except UnicodeEncodeError:
        data = msgspec.json.encode(_mended(value))
    # In JSON these bytes can only stand inside a string, where the escape means the same.
    return data.replace(b"\xe2\x80\xa8", b"\\u2028").replace(b"\xe2\x80\xa9", b"\\u2029")


def _mended(value: Any) -> Any:
    if isinstance(value, str):
        return without_surrogates(value)
    if isinstance(value, Mapping):
        return {_mended(key): _mended(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_mended(item) for item in value]
    return value
