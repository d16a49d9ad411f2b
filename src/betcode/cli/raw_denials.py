"""claude's line `system/permission_denied`, printed where the daemon refused a call and claude leaves it out (pure).

claude leaves it out when it asked its host and the host said no. To a script that reads the output of `claude -p`
there is no host: it gets the line, in claude's own shape, before the line with the refused call's result. A claude
whose results do not tell who decided (`tool_result_meta`) gets none: a call that was allowed and failed looks the same.
"""

from __future__ import annotations

import uuid
from typing import Any

import msgspec

from betcode.model import limits

NAMESPACE = uuid.UUID("5d3f1c6e-6a0b-4c57-9f0e-2f5f0c7a7b11")
"""For the line's uuid: the same call always gets the same one, as the lines of the journal do."""
CARRIED = ("agent_id", "decision_reason_type", "decision_reason_code", "decision_reason")
"""Fields that claude tells the host it asks, and would otherwise print itself."""


class Denials:
    """Feed it every question and every `user` line of claude, in order."""

    def __init__(self) -> None:
        self._asked: dict[str, dict[str, Any]] = {}
        """What claude asked about the calls whose result has not come, by the call's id."""

    def asked(self, line: bytes) -> None:
        """A `control_request`."""
        request = _object(_object(_decoded(line)).get("request"))
        if request.get("subtype") == "can_use_tool" and isinstance(request.get("tool_use_id"), str):
            self._asked[request["tool_use_id"]] = request
            while len(self._asked) > limits.PERMISSIONS_OPEN_MAX:
                del self._asked[next(iter(self._asked))]

    def before(self, line: bytes) -> list[bytes]:
        """The lines to print before this `user` line."""
        if not self._asked:
            return []
        value = _object(_decoded(line))
        refused = {
            meta.get("id")
            for meta in _objects(value.get("tool_result_meta"))
            if _object(meta.get("permission_decision")).get("decision") == "reject"
        }
        found = []
        for block in _objects(_object(value.get("message")).get("content")):
            call = block.get("tool_use_id")
            request = self._asked.pop(call, None) if isinstance(call, str) else None
            if request is not None and call in refused:
                found.append(_line(request, _text(block.get("content")), str(value.get("session_id", ""))))
        return found


def _line(request: dict[str, Any], message: str, session_id: str) -> bytes:
    call = request["tool_use_id"]
    line = {
        "type": "system",
        "subtype": "permission_denied",
        "tool_name": request.get("tool_name", ""),
        "tool_use_id": call,
        **{name: request[name] for name in CARRIED if request.get(name) is not None},
        "message": message,
        "uuid": str(uuid.uuid5(NAMESPACE, f"{session_id} {call}")),
        "session_id": session_id,
    }
    return msgspec.json.encode(line)


def _decoded(line: bytes) -> object:
    try:
        return msgspec.json.decode(line)
    except (ValueError, RecursionError):  # msgspec's errors are ValueErrors
        return None


def _object(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _objects(value: object) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _text(content: object) -> str:
    """What claude tells the model of the refusal."""
    if isinstance(content, str):
        return content
    return "\n".join(str(block.get("text", "")) for block in _objects(content))
