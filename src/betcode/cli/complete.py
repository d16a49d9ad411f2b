"""What a shell offers for an ID when tab is pressed: the daemon's own, if one runs. It starts none and says nothing."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

WAIT_S = 1.0
"""For the daemon's answer: a person waits with a finger on the key."""


def _ask(ctx: click.Context, op: str) -> dict[str, Any]:
    """The body of the daemon's reply; empty when there is no daemon."""
    from betcode.client import brief
    from betcode.config.paths import find_paths
    from betcode.model.errors import BetcodeError

    given = ctx.find_root().params
    flags = {name: given.get(name) for name in ("config_dir", "data_dir", "runtime_dir")}
    try:
        return brief.ask(find_paths(flags, os.environ).socket, op, timeout_s=WAIT_S)
    except BetcodeError:
        return {}  # nothing is offered: an error in the middle of a command line helps nobody


def _item(value: str, about: str) -> CompletionItem:
    from click.shell_completion import CompletionItem

    return CompletionItem(value, help=" ".join(about.split()))


def sessions(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Ids of sessions that begin so, newest first."""
    from betcode.wire.visible import visible

    found = _ask(ctx, "status").get("sessions", [])
    return [
        _item(s["id"], visible(f"{s['state']} {s['name']} {s['dir']}")) for s in found if s["id"].startswith(incomplete)
    ]


def questions(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Ids of open permission questions that begin so."""
    from betcode.wire.visible import visible

    found = _ask(ctx, "permissions").get("permissions", [])
    return [_item(q["id"], visible(f"{q['tool']} {q['session']}")) for q in found if q["id"].startswith(incomplete)]


def session_argument(command: Callable[..., Any]) -> Callable[..., Any]:
    """The argument ID of a verb that is about one session."""
    return click.argument("session", metavar="ID", shell_complete=sessions)(command)


def question_argument(command: Callable[..., Any]) -> Callable[..., Any]:
    """The argument ID of a verb that is about one permission question."""
    return click.argument("question", metavar="ID", shell_complete=questions)(command)
