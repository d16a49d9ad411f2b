"""`system` lines, by subtype, into facts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from betcode.model.facts import ApiRetry, Fact, Remark, RequestSent, RunState, Task, TaskList, TurnStarted
from betcode.wire import claude_shapes as shapes
from betcode.wire.lenient import fit, note

Reader = Callable[[dict[str, Any], list[str]], list[Fact]]
"""From a line's object to its facts; problems with its fields are added to the list."""


def _init(line: dict[str, Any], problems: list[str]) -> list[Fact]:
    init = fit(shapes.InitLine, line, problems)
    return [
        TurnStarted(
            model=init.model,
            claude_session_id=init.session_id,
            version=init.version or "",
            cwd=init.cwd or "",
            permission_mode=init.permission_mode or "",
            tools=tuple(init.tools or ()),
            capabilities=tuple(init.capabilities or ()),
        )
    ]


def _status(line: dict[str, Any], problems: list[str]) -> list[Fact]:
    status = fit(shapes.StatusLine, line, problems)
    if status.status == "requesting":
        return [RequestSent()]
    mode = f"permission mode: {status.permission_mode}" if status.permission_mode else ""
    return [Remark("system/status", status.status or mode)]


def _api_retry(line: dict[str, Any], problems: list[str]) -> list[Fact]:
    retry = fit(shapes.RetryLine, line, problems)
    delay = int(retry.retry_delay_ms)
    return [ApiRetry(retry.attempt, retry.max_retries, delay, retry.error_status, retry.error or "")]


def _task(line: dict[str, Any], problems: list[str]) -> list[Fact]:
    task = fit(shapes.TaskLine, line, problems)
    patch = task.patch or shapes.TaskPatch()
    return [
        Task(
            change=str(line["subtype"]).removeprefix("task_"),
            task_id=task.task_id,
            task_type=task.task_type or "",
            status=task.status or patch.status or "",
            description=task.summary or task.description or patch.description or "",
        )
    ]


def _task_list(line: dict[str, Any], problems: list[str]) -> list[Fact]:
    tasks = fit(shapes.TaskListLine, line, problems).tasks
    return [TaskList(tuple(task.task_id for task in tasks), tuple(task.description or "" for task in tasks))]


def _run_state(line: dict[str, Any], problems: list[str]) -> list[Fact]:
    return [RunState(fit(shapes.StateLine, line, problems).state)]


def _compact(line: dict[str, Any], problems: list[str]) -> list[Fact]:
    metadata = fit(shapes.CompactLine, line, problems).compact_metadata or shapes.CompactMetadata()
    before = f"{metadata.pre_tokens} tokens" if metadata.pre_tokens is not None else ""
    return [Remark("system/compact_boundary", ", ".join(part for part in (metadata.trigger, before) if part))]


def _denied(line: dict[str, Any], problems: list[str]) -> list[Fact]:
    denied = fit(shapes.DeniedLine, line, problems)
    return [Remark("system/permission_denied", ": ".join(p for p in (denied.tool_name, denied.decision_reason) if p))]


def _nothing(_line: dict[str, Any], _problems: list[str]) -> list[Fact]:
    return []


def _telling(subtype: str, name: str) -> Reader:
    """A reader for a line that is only told: the text stands in the field `name`."""

    def read(line: dict[str, Any], problems: list[str]) -> list[Fact]:
        text = line.get(name)
        if text is not None and not isinstance(text, str):
            note(problems, f"{name}: expected `str`, got `{type(text).__name__}`")
            text = ""
        return [Remark(f"system/{subtype}", text or "")]

    return read


TOLD: Final = {
    "hook_progress": "hook_name",
    "hook_response": "hook_name",
    "hook_started": "hook_name",
    "informational": "content",
    "late_allow_not_run": "reason",
    "local_command_output": "content",
    "model_fallback": "content",
    "notification": "text",
    "permission_retry": "content",
    "session_title_changed": "title",
    "session_writes_lost": "error_code",
}
"""Subtypes that change nothing here -> the field with what they say."""

SYSTEM: Final[dict[str, Reader]] = {
    "api_retry": _api_retry,
    "background_tasks_changed": _task_list,
    "compact_boundary": _compact,
    "init": _init,
    "permission_denied": _denied,
    "session_state_changed": _run_state,
    "status": _status,
    "task_notification": _task,
    "task_progress": _task,
    "task_started": _task,
    "task_updated": _task,
    "thinking_tokens": _nothing,  # a running count, one line for each piece of thinking
    **{subtype: _telling(subtype, name) for subtype, name in TOLD.items()},
}
"""Every subtype that this version knows."""
