"""`betcode protocol`: look at recordings of what claude prints."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import click

from betcode.cli.output import say, say_json
from betcode.model.errors import BetcodeError, Exit

if TYPE_CHECKING:
    from betcode.wire.check import Report

CHUNK_BYTES = 256 * 1024
"""Read at a time: a recording may be larger than memory."""


@click.group()
def protocol() -> None:
    """Check recordings of what claude prints with --output-format stream-json.

    \b
    Example:
      betcode protocol check recording.ndjson
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
                "errors": report.errors,
                "tail": report.tail,
            }
        )
    else:
        say(f"{report.lines} lines, {report.bytes} bytes, last line {report.tail}")
        for heading, counts in (
            ("events", report.events),
            ("unknown kinds", report.unknown),
            ("errors", report.errors),
        ):
            say(f"{heading}:")
            for name, count in sorted(counts.items(), key=lambda pair: -pair[1]):
                say(f"  {count:7} {name}")
    return int(Exit.AGENT_ERROR) if errors else 0


def read(recording: BinaryIO) -> Report:
    """Judge a whole recording in bounded memory. Raises OSError."""
    from betcode.wire.check import Check

    judge = Check()
    while chunk := recording.read(CHUNK_BYTES):
        judge.feed(chunk)
    return judge.finish()
