"""What `betcode run` does: find or make the session, send the prompt, follow it, tell the result."""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import sys
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from betcode.cli.asking import Elsewhere, Nobody, Person, Questions
from betcode.cli.follow import Following, follow, only_of
from betcode.cli.invocation import Invocation
from betcode.cli.live import Live, except_kinds
from betcode.cli.new_session import account_dir
from betcode.cli.outcome import Task, result
from betcode.cli.output import remark, say_json, say_raw
from betcode.cli.prompt import read_prompt
from betcode.cli.raw_output import RawOutput, raw_output
from betcode.cli.raw_turn import RawTurn
from betcode.client.client import Client
from betcode.config.load import load
from betcode.model import limits
from betcode.model.errors import BetcodeError
from betcode.model.frames import Create, ListSessions, Permissions, Send, Show
from betcode.model.rows import Options
from betcode.model.states import AT_REST, SessionState


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """The command line of `betcode run`."""

    prompt: str | None
    output_format: str
    resume: str | None
    continue_: bool
    allow: tuple[str, ...]
    model: str | None
    max_turns: int | None
    timeout: float | None
    directory: str | None
    name: str | None
    permission_ttl: float | None
    stream: bool | None
    raw: bool
    partial: bool
    claude_config_dir: str | None = None


def run_prompt(invocation: Invocation, options: RunOptions) -> int:
    """Do it all; returns the exit status."""
    _check(options)
    text = read_prompt(options.prompt)
    try:
        directory = os.path.realpath(options.directory or os.getcwd())
    except FileNotFoundError as error:
        raise BetcodeError(
            "request.directory", "the present directory has been removed", hint="Go to another one, or use --dir."
        ) from error
    return asyncio.run(_run(invocation, options, text, directory))


def _check(options: RunOptions) -> None:
    """Refuse what contradicts itself, before anything is started."""
    if options.resume and options.continue_:
        raise BetcodeError("request.usage", "--resume and --continue exclude each other", hint="Use one of them.")
    if options.timeout is not None and math.isnan(options.timeout):
        raise BetcodeError("request.usage", "--timeout is no number", hint="Give seconds, such as --timeout 300.")
    fixed = {
        "--allow": options.allow,
        "--model": options.model,
        "--max-turns": options.max_turns,
        "--name": options.name,
        "--permission-ttl": options.permission_ttl,
        "--claude-config-dir": options.claude_config_dir,
    }
    given = [name for name, value in fixed.items() if value not in (None, ())]
    if given and (options.resume or options.continue_):
        raise BetcodeError(
            "request.usage",
            f"{', '.join(given)} can be chosen only for a new session",
            hint="Leave it out, or start a new session without --resume and --continue.",
        )


async def _run(invocation: Invocation, options: RunOptions, text: str, directory: str) -> int:
    clock = asyncio.get_running_loop().time
    started_s = clock()
    async with contextlib.AsyncExitStack() as stack:
        client = await stack.enter_async_context(invocation.client())
        session = await _session(client, options, invocation, directory)
        if session["state"] == SessionState.CRASHED:
            raise BetcodeError(
                "agent.crashed",
                f"session {session['id']} is stopped: {session['reason']}",
                hint=f"Start it afresh with: betcode sessions retry {session['id']}",
            )
        stream = await stack.enter_async_context(contextlib.aclosing(client.stream(session["id"], from_end=True)))
        await anext(stream)  # attached: whatever the message causes comes after this
        key = str(uuid.uuid4())
        task = Task(key, session["id"])
        live = Live(streams=_streams(options), describe=except_kinds(*_untold(options)))
        text_form = options.output_format == "text" and not options.raw
        following = Following(
            client=client,
            session=session["id"],
            stream=stream,
            task=task,
            show=only_of(task, live.take) if text_form else lambda item: None,
            note=live.note if text_form else remark,
            questions=await _questions(client, session, options, live.note if text_form else remark),
        )
        alone = session["state"] in AT_REST and not session["waiting"]
        turn = RawTurn(key, partial=options.partial, whole=options.raw, alone=alone)
        shows = options.raw or options.output_format == "stream-json"
        raw: RawOutput | None = None
        if not text_form:
            raw = await stack.enter_async_context(raw_output(client.tap(session["id"]), turn, shows=shows))
        await client.request(Send(session=session["id"], key=key, text=text))
        # The time counts from the start of the command: a daemon that comes up slowly is no reason to wait longer.
        left_s = None if options.timeout is None else max(0.0, options.timeout - (clock() - started_s))
        try:
            await follow(following, timeout_s=left_s)
            error = task.error()
        except BetcodeError as stopped:
            if raw is None:
                raise
            error = stopped
        if raw is not None:
            return await _tell_program(options, raw, task, session, error)
    if error is not None:
        raise error
    return 0


async def _tell_program(
    options: RunOptions, raw: RawOutput, task: Task, session: dict[str, Any], error: BetcodeError | None
) -> int:
    """End the output with claude's result, or with one in its form when claude gave none; returns the exit status."""
    line = await raw.result() if task.turn is not None else None
    if line is None and not options.raw:
        say_json(result(task, session, error))
    elif line is not None and options.output_format == "json" and not options.raw:
        say_raw(line)
    if error is None:
        return 0
    remark(f"error: {error}")
    if error.hint:
        remark(f"hint: {error.hint}")
    return error.exit_status


def _untold(options: RunOptions) -> list[str]:
    """Kinds of events that need not be told here."""
    kinds = []
    if not (options.resume or options.continue_):
        kinds.append("message_state")  # that the claude of a new session has to start first goes without saying
    if _interactive():
        kinds += ["permission_asked", "permission_settled"]  # the question is asked in place
    return kinds


def _streams(options: RunOptions) -> bool:
    """A reader that is a program must not get text that claude may still take back."""
    return sys.stdout.isatty() if options.stream is None else options.stream


async def _session(client: Client, options: RunOptions, invocation: Invocation, directory: str) -> dict[str, Any]:
    """The summary of the session to use."""
    if options.resume:
        found: dict[str, Any] = (await client.request(Show(session=options.resume)))["session"]
        return found
    if options.continue_:
        listed = (await client.request(ListSessions(limit=limits.LIST_MAX, closed=False)))["sessions"]
        for candidate in listed:
            if candidate["dir"] == directory:
                return dict(candidate)
        raise BetcodeError(
            "session.not_found",
            f"no session has been started in {directory}",
            hint='Start one with: betcode run "..."; all of them: betcode sessions list',
        )
    chosen = _options(options, invocation, Path(directory))
    create = Create(directory=directory, name=options.name or "", options=chosen, key=str(uuid.uuid4()))
    made: dict[str, Any] = (await client.request(create))["session"]
    return made


def _options(options: RunOptions, invocation: Invocation, directory: Path) -> Options:
    """What a new session is made with: the command line, else the settings for its directory."""
    env = invocation.env
    loaded = load(flags={}, env=env, project_dir=directory, paths=invocation.paths)
    for warning in loaded.warnings:
        remark(f"warning: {warning}")
    settings = loaded.config
    ttl_s = settings.permission.ttl_s if _interactive() else settings.permission.headless_ttl_s
    return Options(
        model=options.model or settings.agent.model,
        allow=options.allow,
        permission_ttl_s=ttl_s if options.permission_ttl is None else options.permission_ttl,
        path=env.get("PATH", ""),
        virtual_env=env.get("VIRTUAL_ENV", ""),
        max_turns=options.max_turns or 0,
        claude_config_dir=account_dir(options.claude_config_dir, settings.agent.config_dir, env),
    )


def _interactive() -> bool:
    """Whether a person can answer here."""
    return sys.stdin.isatty() and sys.stderr.isatty()


async def _questions(client: Client, session: dict[str, Any], options: RunOptions, note: Any) -> Questions:
    """Who answers questions. On a terminal also those that are open already: the new message waits behind them."""
    if _interactive():
        person = Person(client, session["dir"], note)
        opened = await client.request(Permissions(session=session["id"]))
        for question in opened["permissions"]:
            person.opened({**question, "permission_id": question["id"]})
        return person
    if options.resume or options.continue_:
        return Nobody(client, limits.PERMISSION_TTL_HEADLESS_S)
    return Elsewhere()
