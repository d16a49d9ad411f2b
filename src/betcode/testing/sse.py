"""The Messages API's answers as bytes: one step as server-sent events or as one JSON object, and errors. Pure."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from betcode.testing.script import CALL_WORD, Step, ToolCall, delta_count, pieces


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer of the stand-in model; `reply_id` is new for every request and makes message and tool call ids."""

    step: Step
    model: str
    reply_id: str

    def opening(self) -> bytes:
        """The events before the first content block."""
        message = {**self._message(), "content": [], "stop_reason": None, "usage": self._usage(1)}
        return event("message_start", message=message) + event("ping")

    def blocks(self) -> Iterator[tuple[bytes, bool]]:
        """The events of all content blocks, in order; True marks a delta, the unit of a step's `after`."""
        index = 0
        step = self.step
        if step.thinking:
            yield event("content_block_start", index=index, content_block=_thinking("", "")), False
            for piece in pieces(step.thinking, step.chunk):
                yield _delta(index, type="thinking_delta", thinking=piece), True
            yield _delta(index, type="signature_delta", signature=_SIGNATURE), False
            yield event("content_block_stop", index=index), False
            index += 1
        if step.text:
            yield event("content_block_start", index=index, content_block={"type": "text", "text": ""}), False
            for piece in pieces(step.text, step.chunk):
                yield _delta(index, type="text_delta", text=piece), True
            yield event("content_block_stop", index=index), False
            index += 1
        for number, call in enumerate(step.tools):
            yield (
                event("content_block_start", index=index, content_block={**self._tool_use(call, number), "input": {}}),
                False,
            )
            told = json.dumps(self._tool_use(call, number)["input"])
            yield _delta(index, type="input_json_delta", partial_json=told), True
            yield event("content_block_stop", index=index), False
            index += 1

    def closing(self) -> bytes:
        """The events after the last content block."""
        delta = {"stop_reason": self._stop_reason(), "stop_sequence": None}
        return event("message_delta", delta=delta, usage=self._usage(delta_count(self.step))) + event("message_stop")

    def whole(self) -> bytes:
        """The answer to a request that did not ask for a stream."""
        content: list[dict[str, Any]] = []
        if self.step.thinking:
            content.append(_thinking(self.step.thinking, _SIGNATURE))
        if self.step.text:
            content.append({"type": "text", "text": self.step.text})
        content += [self._tool_use(call, number) for number, call in enumerate(self.step.tools)]
        usage = self._usage(delta_count(self.step))
        return _json({**self._message(), "content": content, "stop_reason": self._stop_reason(), "usage": usage})

    def _message(self) -> dict[str, Any]:
        return {
            "id": f"msg_{self.reply_id}",
            "type": "message",
            "role": "assistant",
            "model": self.model,
            "stop_sequence": None,
        }

    def _tool_use(self, call: ToolCall, number: int) -> dict[str, Any]:
        call_id = call.call_id or f"toolu_{self.reply_id}_{number}"
        tool_input = json.loads(json.dumps(dict(call.tool_input)).replace(CALL_WORD, call_id))
        return {"type": "tool_use", "id": call_id, "name": call.name, "input": tool_input}

    def _stop_reason(self) -> str:
        return "tool_use" if self.step.tools else "end_turn"

    def _usage(self, output_tokens: int) -> dict[str, Any]:
        counted = {"input_tokens": 10, "output_tokens": output_tokens}
        return {**counted, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0, **self.step.usage}


def event(name: str, **fields: Any) -> bytes:
    """One server-sent event of the Messages API."""
    return f"event: {name}\ndata: ".encode() + _json({"type": name, **fields}) + b"\n\n"


def error_body(error_type: str, message: str, request_id: str) -> bytes:
    """The JSON body of an API error."""
    return _json({"type": "error", "error": {"type": error_type, "message": message}, "request_id": request_id})


def error_event(error_type: str, message: str) -> bytes:
    """An error in the middle of a stream."""
    return event("error", error={"type": error_type, "message": message})


_SIGNATURE = "c2NyaXB0ZWQ="  # opaque to clients; the real API sends base64, too


def _delta(index: int, **delta: str) -> bytes:
    return event("content_block_delta", index=index, delta=delta)


def _thinking(text: str, signature: str) -> dict[str, str]:
    return {"type": "thinking", "thinking": text, "signature": signature}


def _json(obj: object) -> bytes:
    return json.dumps(obj, separators=(",", ":")).encode()
