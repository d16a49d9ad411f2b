"""What `betcode run` does: find or make the session, send the prompt, follow it, tell the result."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from betcode.cli.asking import Elsewhere, Nobody, Person, Questions
from betcode.cli.follow import Following, follow, only_of
from betcode.cli.invocation import Invocation
from betcode.cli.live import Live, except_kinds
from betcode.cli.outcome import Task, result, tells_the_end
from betcode.cli.output import again_text, remark, say_json, say_raw
from betcode.cli.prompt import read_prompt
from betcode.cli.raw_output import RawOutput, raw_output
from betcode.cli.raw_turn import RawTurn
from betcode.cli.run_options import RunOptions
from betcode.client.client import Client
from betcode.model import limits
from betcode.model.errors import BetcodeError
from betcode.model.frames import Clear, Create, ListSessions, Permissions, Send, Show
from betcode.model.rows import Options
from betcode.model.states import AT_REST, SessionState


def run_prompt(invocation: Invocation, options: RunOptions) -> int:
    """Do it all; returns the exit status."""
    options.check()
    text = read_prompt(options.prompt)
    try:
        directory = os.path.realpath(options.directory or os.getcwd())
    except FileNotFoundError as error:
        raise BetcodeError(
            "request.directory", "the present directory has been removed", hint="Go to another one, or use --dir."
        ) from error
    chosen: Options | None = None
    if not (options.resume or options.continue_):
        chosen = options.session(invocation, Path(directory), interactive=_interactive())
    return asyncio.run(_run(invocation, options, chosen, text, directory))


async def _run(invocation: Invocation, options: RunOptions, chosen: Options | None, text: str, directory: str) -> int:
    clock = asyncio.get_running_loop().time
    started_s = clock()
    async with contextlib.AsyncExitStack() as stack:
        client = await stack.enter_async_context(invocation.client())
        session = await _session(client, options, chosen, directory)
        if session["state"] == SessionState.CRASHED:
            raise BetcodeError(
                "agent.crashed",
                f"session {session['id']} is stopped: {session['reason']}",
                hint=f"Start it afresh with: betcode sessions retry {session['id']}",
            )
        stream = await stack.enter_async_context(contextlib.aclosing(client.stream(session["id"], from_end=True)))
        await anext(stream)  # attached: whatever the message causes comes after this
        key = str(uuid.uuid4())
        task = Task(key, session["id"], waits_for_api=options.on_rate_limit != "fail")
        live = Live(streams=_streams(options), describe=_describe(options))
        text_form = options.output_format in (None, "text") and not options.raw
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
            if task.refused is not None and error is not None:
                await client.request(Clear(session=session["id"], message_id=key))
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
    line = await raw.result(refused=error is not None) if task.turn is not None else None
    if line is None and not options.raw:
        say_json(result(task, session, error))
    elif line is not None and not options.raw and (options.output_format == "json" or raw.unprinted):
        say_raw(line)
    if error is None:
        return 0
    remark(f"error: {error}")
    if error.hint:
        remark(f"hint: {error.hint}")
    if error.refusal is not None:
        remark(again_text(error.refusal))
    return error.exit_status


def _describe(options: RunOptions) -> Callable[[dict[str, Any]], list[str]]:
    """What is told of an event: not what the error that ends the command says again."""
    told = except_kinds(*_untold(options))
    return lambda event: [] if tells_the_end(event) else told(event)


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


async def _session(client: Client, options: RunOptions, chosen: Options | None, directory: str) -> dict[str, Any]:
    """The summary of the session to use."""
    if options.resume:
        found: dict[str, Any] = (await client.request(Show(session=options.resume)))["session"]
        return found
    if chosen is None:
        listed = (await client.request(ListSessions(limit=limits.LIST_MAX, closed=False)))["sessions"]
        for candidate in listed:
            if candidate["dir"] == directory:
                return dict(candidate)
        raise BetcodeError(
            "session.not_found",
            f"no session has been started in {directory}",
            hint='Start one with: betcode run "..."; all of them: betcode sessions list',
        )
    key = (options.session_id or str(uuid.uuid4())).lower()
    if options.session_id:
        await _refuse_used(client, key)
    create = Create(directory=directory, name=options.name or "", options=chosen, key=key)
    made: dict[str, Any] = (await client.request(create))["session"]
    return made


async def _refuse_used(client: Client, session_id: str) -> None:
    """As claude does: an id is for one conversation. Raises BetcodeError."""
    try:
        await client.request(Show(session=session_id))
    except BetcodeError as error:
        if error.code != "session.not_found":
            raise
        return
    hint = f"Go on with that session: betcode run --resume {session_id}"
    raise BetcodeError("request.usage", f"--session-id {session_id} is in use already", hint=hint)


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
