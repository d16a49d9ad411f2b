"""`betcode sessions`: what there is, what was said, and what becomes of it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import click

from betcode.cli.complete import session_argument
from betcode.cli.invocation import Invocation, pass_invocation
from betcode.cli.local_time import local
from betcode.cli.output import counted, say, say_json, say_raw, table

json_option = click.option("--json", "as_json", is_flag=True, help="For programs: JSON instead of text.")


@click.group()
def sessions() -> None:
    """List sessions, read them, and end them.

    ID is the id of a session, or its first characters, four at least.

    \b
    Examples:
      betcode sessions list
      betcode sessions show k3jq
      betcode sessions show --json k3jq | jq -r 'select(.kind == "tool_call").tool'
      betcode sessions rename k3jq "release notes"
      betcode sessions queue k3jq
      betcode sessions close k3jq
      betcode sessions delete k3jq
      betcode sessions quarantine k3jq
    """


@sessions.command("list")
@click.option("--all", "closed", is_flag=True, help="Closed ones too.")
@json_option
@pass_invocation
def list_sessions(invocation: Invocation, *, closed: bool, as_json: bool) -> int:
    """List the sessions, newest first.

    \b
    Examples:
      betcode sessions list
      betcode sessions list --all --json | jq -r '.sessions[] | select(.state == "CRASHED").id'
    """
    from betcode.cli.ask import ask
    from betcode.model.frames import ListSessions

    found: list[dict[str, Any]] = ask(invocation, ListSessions(closed=closed))["sessions"]
    if as_json:
        say_json({"sessions": found})
    elif found:
        say(summary_table(found))
    else:
        say('no sessions; start one with: betcode run "..."')
    return 0


def summary_table(found: list[dict[str, Any]]) -> str:
    """Sessions as a table for people."""
    rows = [["ID", "STATE", "QUESTIONS", "WAITING", "CREATED", "NAME", "DIRECTORY"]]
    for one in found:
        why = " held" if one["held"] else f" place {one['place']}" if one.get("place") else ""
        waiting = f"{one['waiting']}{why}" if one["waiting"] else ""
        created = local(one["created_at"])
        rows.append([one["id"], one["state"], str(one["questions"] or ""), waiting, created, one["name"], one["dir"]])
    return table(rows)


@sessions.command()
@session_argument
@json_option
@pass_invocation
def show(invocation: Invocation, session: str, *, as_json: bool) -> int:
    """Print all of session ID that is stored, from its beginning.

    With --json each event is one line, as it is stored, with `epoch`, `seq`, `kind` and `time`.

    \b
    Examples:
      betcode sessions show k3jq | less
      betcode sessions show --json k3jq > conversation.jsonl
    """
    return asyncio.run(_show(invocation, session, as_json=as_json))


async def _show(invocation: Invocation, given: str, *, as_json: bool) -> int:
    import msgspec

    from betcode.cli.lines import event_lines
    from betcode.model import limits
    from betcode.model.frames import Events, Show

    async with invocation.client() as client:
        session = (await client.request(Show(session=given)))["session"]
        if not as_json:
            say(summary_table([session]))
        epoch, after, more = 0, 0, True
        while more:
            page = await client.request(
                Events(session=session["id"], epoch=epoch, after=after, limit=limits.PAGE_EVENTS_MAX)
            )
            epoch, more = page["epoch"], page["more"] and bool(page["events"])
            for event in page["events"]:
                after = event["seq"]
                if as_json:
                    say_raw(
                        msgspec.json.encode(event)
                    )  # as the daemon wrote it: json.dumps prints some numbers otherwise
                    continue
                for line in event_lines(event):
                    say(line)
    return 0


@sessions.command()
@session_argument
@click.argument("name")
@json_option
@pass_invocation
def rename(invocation: Invocation, session: str, name: str, *, as_json: bool) -> int:
    """Give session ID another NAME, shown in lists.

    \b
    Example:
      betcode sessions rename k3jq "release notes"
    """
    from betcode.model.frames import Rename

    return _one(invocation, Rename(session=session, name=name), as_json, "the session is now called {name}")


@sessions.command()
@session_argument
@json_option
@pass_invocation
def close(invocation: Invocation, session: str, *, as_json: bool) -> int:
    """End session ID for good: claude is ended, what waits is cancelled. Its events can still be read.

    \b
    Example:
      betcode sessions close k3jq
    """
    from betcode.model.frames import Close

    return _one(invocation, Close(session=session), as_json, "the session is {state}")


@sessions.command()
@session_argument
@click.option("-y", "--yes", is_flag=True, help="Do not ask. Needed where there is no terminal to ask at.")
@click.option("--force", is_flag=True, help="End it first if it is at work; what waits in it is cancelled.")
@json_option
@pass_invocation
def delete(invocation: Invocation, session: str, *, yes: bool, force: bool, as_json: bool) -> int:
    """Remove session ID with its events and files, for good. `close` ends one and keeps what was said.

    The keys of its messages are remembered for at least 30 days: a script that repeats one runs nothing anew. Claude's
    own transcript of the conversation stays where Claude Code keeps it.

    \b
    Examples:
      betcode sessions delete k3jq
      betcode sessions delete --yes --force --json k3jq
    """
    from betcode.cli.delete import delete_session

    return asyncio.run(delete_session(invocation, session, yes=yes, force=force, as_json=as_json))


@sessions.command()
@session_argument
@click.option("--model", metavar="NAME", default="", help="Use this model from the next start of claude on.")
@json_option
@pass_invocation
def retry(invocation: Invocation, session: str, *, model: str, as_json: bool) -> int:
    """Start session ID afresh after it CRASHED, or at once instead of after a delay.

    One that waits for the API tries once, whatever is known; at most one such try in 10 seconds goes through. When a
    usage window is used up, another model may have one of its own.

    \b
    Examples:
      betcode sessions retry k3jq
      betcode sessions retry k3jq --model sonnet
    """
    from betcode.cli.ask import ask
    from betcode.cli.lines import retried_text
    from betcode.model.frames import Retry

    body = ask(invocation, Retry(session=session, model=model))
    if as_json:
        say_json(body)
    else:
        say(retried_text(body))
    return 0


@sessions.command()
@session_argument
@json_option
@pass_invocation
def release(invocation: Invocation, session: str, *, as_json: bool) -> int:
    """Let the messages of session ID go on that an interrupt holds.

    \b
    Example:
      betcode sessions release k3jq
    """
    from betcode.model.frames import Release

    return _one(invocation, Release(session=session), as_json, "released; messages that wait: {waiting}")


@sessions.command()
@session_argument
@json_option
@pass_invocation
def queue(invocation: Invocation, session: str, *, as_json: bool) -> int:
    """Show the messages of session ID that have no outcome yet, and why they wait.

    \b
    Examples:
      betcode sessions queue k3jq
      betcode sessions queue --json k3jq | jq -r '.messages[] | select(.state == "queued").id'
    """
    from betcode.cli.ask import ask
    from betcode.cli.lines import queue_lines
    from betcode.model.frames import Queue

    body = ask(invocation, Queue(session=session))
    if as_json:
        say_json(body)
    else:
        for line in queue_lines(body["messages"], held=body["held"]):
            say(line)
        if body.get("place"):
            say(f"the session waits for a slot: place {body['place']} of {body['places']}")
    return 0


@sessions.command()
@session_argument
@click.option("--message", metavar="UUID", default="", help="Only this message.")
@json_option
@pass_invocation
def clear(invocation: Invocation, session: str, *, message: str, as_json: bool) -> int:
    """Cancel the messages of session ID that wait.

    \b
    Examples:
      betcode sessions clear k3jq
      betcode sessions clear --message 123e4567-e89b-42d3-a456-426614174000 k3jq
    """
    from betcode.cli.ask import ask
    from betcode.model.frames import Clear

    body = ask(invocation, Clear(session=session, message_id=message))
    if as_json:
        say_json(body)
        return 0
    say(f"{counted(len(body['cancelled']), 'message')} cancelled")
    for name in body["cancelled"]:
        say(f"  {name}")
    return 0


@sessions.command()
@session_argument
@click.option(
    "--export", metavar="FILE", type=click.Path(path_type=Path), help="Save the lines in FILE, byte for byte."
)
@json_option
@pass_invocation
def quarantine(invocation: Invocation, session: str, *, export: Path | None, as_json: bool) -> int:
    """Show the lines of claude's output in session ID that could not be read, with the reason.

    The newest 1,000 of the last 7 days are kept. FILE must not exist yet; it gets each line as claude printed it, so
    that `betcode protocol check FILE` says the same of it. Exit status 1: of some lines only the beginning is left.

    \b
    Examples:
      betcode sessions quarantine k3jq
      betcode sessions quarantine --json k3jq | jq -r '.lines[] | [.run, .offset, .error_type] | @tsv'
      betcode sessions quarantine --export bad.ndjson k3jq
    """
    from betcode.cli.quarantine import quarantine as show_or_save

    return asyncio.run(show_or_save(invocation, session, export=export, as_json=as_json))


def _one(invocation: Invocation, request: Any, as_json: bool, sentence: str) -> int:
    from betcode.cli.ask import ask

    body = ask(invocation, request)
    if as_json:
        say_json(body)
    else:
        say(sentence.format_map(body))
    return 0
