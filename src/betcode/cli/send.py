"""`betcode send` and `betcode interrupt`: steer a session that is there."""

from __future__ import annotations

import asyncio
import contextlib
import uuid

import click

from betcode.cli.complete import session_argument
from betcode.cli.invocation import Invocation, pass_invocation


@click.command()
@session_argument
@click.argument("text")
@click.option("--key", metavar="UUID", help="Idempotency key: the same key again does nothing new.")
@click.option("--steer", is_flag=True, help="Hand it to the turn that is running, not after it.")
@click.option("--wait", is_flag=True, help="Show the answer and end as `betcode run` does.")
@click.option("--json", "as_json", is_flag=True, help="Print the reply, or with --wait the result, as JSON.")
@pass_invocation
def send(
    invocation: Invocation, session: str, text: str, *, key: str | None, steer: bool, wait: bool, as_json: bool
) -> int:
    """Send TEXT to session ID. `-` takes it from standard input.

    The message is stored before this returns; claude gets it when the messages before it are done. A script that does
    not know whether its message arrived repeats it with the same --key.

    \b
    Examples:
      betcode send k3jq "and the tests?"
      betcode send --wait k3jq "and the tests?"
      betcode send --key 123e4567-e89b-42d3-a456-426614174000 k3jq "deploy it"
      betcode send --steer k3jq "not in that file"
    """
    from betcode.cli.prompt import read_prompt

    prompt = read_prompt(text)
    return asyncio.run(
        _send(
            invocation, session, prompt, key=(key or str(uuid.uuid4())).lower(), steer=steer, wait=wait, as_json=as_json
        )
    )


async def _send(
    invocation: Invocation, given: str, text: str, *, key: str, steer: bool, wait: bool, as_json: bool
) -> int:
    from betcode.cli.asking import Elsewhere
    from betcode.cli.follow import Following, follow, only_of
    from betcode.cli.live import Live, brief_lines
    from betcode.cli.outcome import Task, result
    from betcode.cli.output import remark, say, say_json
    from betcode.model.frames import Send, Show
    from betcode.model.states import FINAL_MESSAGE_STATES

    async with contextlib.AsyncExitStack() as stack:
        client = await stack.enter_async_context(invocation.client())
        session = (await client.request(Show(session=given)))["session"]
        task = Task(key, session["id"])
        stream = client.stream(session["id"], from_end=True)
        if wait:
            await stack.enter_async_context(contextlib.aclosing(stream))
            await anext(stream)
        body = await client.request(Send(session=session["id"], key=key, text=text, steer=steer))
        if not wait:
            if as_json:
                say_json(body)
            else:
                again = " (it was sent before)" if body["duplicate"] else ""
                say(f"message {body['message_id']} {body['state']}{again}")
            return 0
        task.state = body["state"]
        if body["state"] not in FINAL_MESSAGE_STATES:
            live = Live(streams=False, describe=brief_lines)
            await follow(
                Following(
                    client=client,
                    session=session["id"],
                    stream=stream,
                    task=task,
                    show=(lambda item: None) if as_json else only_of(task, live.take),
                    note=remark if as_json else live.note,
                    questions=Elsewhere(),
                ),
                timeout_s=None,
            )
    error = task.error()
    if as_json:
        say_json(result(task, session, error))
        return 0 if error is None else error.exit_status
    if error is not None:
        raise error
    return 0


@click.command()
@session_argument
@click.option("--json", "as_json", is_flag=True, help="Print the reply as JSON.")
@pass_invocation
def interrupt(invocation: Invocation, session: str, *, as_json: bool) -> int:
    """Stop what session ID is doing. Messages that wait are held until they are released or cancelled.

    \b
    Examples:
      betcode interrupt k3jq
      betcode sessions release k3jq     let the messages that were held go on
      betcode sessions clear k3jq       cancel them
    """
    from betcode.cli.ask import ask
    from betcode.cli.output import counted, say, say_json
    from betcode.model.frames import Interrupt

    body = ask(invocation, Interrupt(session=session))
    if as_json:
        say_json(body)
    else:
        held = int(body["held"])
        verb = "is" if held == 1 else "are"
        rest = f"; {counted(held, 'message')} {verb} held: betcode sessions release {session}" if held else ""
        say(f"interrupted{rest}")
    return 0
