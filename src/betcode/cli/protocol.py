"""`betcode protocol`: look at what claude prints, in recordings and in what the daemon has seen."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from betcode.cli.invocation import Invocation, pass_invocation
from betcode.cli.local_time import local
from betcode.cli.output import say, say_json, table
from betcode.model.errors import BetcodeError, Exit
from betcode.wire.visible import visible

if TYPE_CHECKING:
    from betcode.wire.check import Report

CHUNK_BYTES = 256 * 1024
"""Read at a time: a recording may be larger than memory."""
EXAMPLE_CHARS = 200
"""How much of an example is shown to a person; `--json` has all that is kept."""


@click.group()
def protocol() -> None:
    """Check what claude prints with --output-format stream-json.

    \b
    Examples:
      betcode protocol check recording.ndjson
      betcode protocol drift
    """


@protocol.command()
@click.option("--json", "as_json", is_flag=True, help="For programs: one JSON object.")
@click.argument("file", type=click.Path(path_type=Path))
def check(*, file: Path, as_json: bool) -> int:
    """Read FILE as the daemon reads claude, and count what it holds and what is wrong with it.

    Exit status 0: no errors; 1: some lines could not be read; 5: FILE cannot be read. Kinds of lines that this version
    does not know are no errors. A last line without its end makes `tail` partial, which is no error either.

    \b
    Examples:
      betcode protocol check recording.ndjson
      betcode protocol check --json recording.ndjson | jq .errors
    """
    try:
        with file.open("rb") as recording:
            report = read(recording)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise BetcodeError(
            "request.file", f"{str(file)!r} cannot be read: {why}", hint="Give the path of a file of lines of JSON."
        ) from error
    errors = sum(report.errors.values())
    if as_json:
        say_json(
            {
                "lines": report.lines,
                "bytes": report.bytes,
                "events": report.events,
                "unknown": report.unknown,
                "new": report.new,
                "errors": report.errors,
                "tail": report.tail,
            }
        )
    else:
        say(f"{report.lines} lines, {report.bytes} bytes, last line {report.tail}")
        for heading, counts in (
            ("events", report.events),
            ("unknown kinds", report.unknown),
            ("unknown fields and parts", report.new),
            ("errors", report.errors),
        ):
            say(f"{heading}:")
            for name, count in sorted(counts.items(), key=lambda pair: -pair[1]):
                say(f"  {count:7} {name}")
    return int(Exit.AGENT_ERROR) if errors else 0


@protocol.command()
@click.option("--json", "as_json", is_flag=True, help="For programs: one JSON object.")
@pass_invocation
def drift(invocation: Invocation, *, as_json: bool) -> int:
    """Show what claude printed in any session and this version does not know: kinds of lines, and fields.

    It is ignored or passed on, never an error; but a claude that has changed shows itself here first. Only what was
    seen last is remembered, 1,000 names. The version is `?` before claude has told it.

    \b
    Examples:
      betcode protocol drift
      betcode protocol drift --json | jq -r '.drift[] | [.version, .name, .count] | @tsv'
    """
    from betcode.cli.ask import ask
    from betcode.model.frames import GetDrift

    body = ask(invocation, GetDrift())
    if as_json:
        say_json(body)
    elif body["drift"]:
        for line in drift_lines(body["drift"]):
            say(line)
    else:
        say("nothing unknown was seen")
    return 0


def drift_lines(found: list[dict[str, Any]]) -> list[str]:
    """The report for people: a table, then an example of each where there is one."""
    rows = [["CLAUDE", "WHAT", "NAME", "COUNT", "FIRST", "LAST"]]
    examples = []
    for one in found:
        version = one["version"] or "?"
        times = local(one["first_seen"]), local(one["last_seen"])
        rows.append([version, one["what"], one["name"], str(one["count"]), *times])
        if one["example"]:
            example = visible(one["example"][:EXAMPLE_CHARS], keep_newlines=False)
            examples.append(f"{visible(one['name'], keep_newlines=False)} (session {one['session']}): {example}")
    return [table(rows), *(["", *examples] if examples else [])]


def read(recording: BinaryIO) -> Report:
    """Judge a whole recording in bounded memory. Raises OSError."""
    from betcode.wire.check import Check

    judge = Check()
    while chunk := recording.read(CHUNK_BYTES):
        judge.feed(chunk)
    return judge.finish()
