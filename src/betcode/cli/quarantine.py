"""What `betcode sessions quarantine` does: list the lines that could not be read, or save their very bytes."""

from __future__ import annotations

import base64
import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from betcode.cli.invocation import Invocation
from betcode.cli.local_time import local
from betcode.cli.output import counted, remark, say, say_json
from betcode.client.client import Client
from betcode.model.errors import BetcodeError
from betcode.model.frames import Quarantine, QuarantinedLine
from betcode.wire.visible import visible

TEXT_CHARS = 200
"""How much of a line is shown to a person; `--export` has all of it."""


async def quarantine(invocation: Invocation, given: str, *, export: Path | None, as_json: bool) -> int:
    """List or export. Exit status 1: of some lines only the beginning is left. Raises BetcodeError."""
    async with invocation.client() as client:
        body = await client.request(Quarantine(session=given))
        lines: list[dict[str, Any]] = body["lines"]
        cut = await _export(client, body["session"], lines, export) if export is not None else []
    if as_json:
        say_json(body if export is None else body | {"export": str(export), "cut": cut})
    elif export is not None:
        say(f"{counted(len(lines), 'line')} saved in {export}")
    elif lines:
        for line in lines:
            say(_shown(line))
    else:
        say("all lines of the last days could be read")
    for line in cut if not as_json else ():
        remark(f"of the line at byte {line['offset']} of process {line['run']} only the beginning is left")
    return 1 if cut else 0


def _shown(line: dict[str, Any]) -> str:
    text = visible(line["text"][:TEXT_CHARS], keep_newlines=False)
    more = "" if len(line["text"]) <= TEXT_CHARS else " ..."
    when = local(line["time"], seconds=True)
    place = f"process {line['run']}, byte {line['offset']}"
    reason = visible(line["reason"], keep_newlines=False)
    return f"{when}  {place}, {counted(line['size'], 'byte')}  {line['error_type']}: {reason}\n    {text}{more}"


async def _export(client: Client, session: str, lines: list[dict[str, Any]], file: Path) -> list[dict[str, Any]]:
    """Write each line with its newline. Returns those of which not all is left. Never replaces a file."""
    cut = []
    try:
        with contextlib.closing(os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")) as out:
            for line in lines:
                saved = 0
                async for piece in _pieces(client, session, line):
                    out.write(piece)
                    saved += len(piece)
                out.write(b"\n")
                if saved < line["size"]:
                    cut.append({"run": line["run"], "offset": line["offset"], "size": line["size"], "saved": saved})
    except OSError as error:
        raise BetcodeError(
            "request.file",
            f"{str(file)!r} cannot be written: {error.strerror}",
            hint="Give the path of a file that does not exist yet, in a directory of yours.",
        ) from error
    return cut


async def _pieces(client: Client, session: str, line: dict[str, Any]) -> AsyncIterator[bytes]:
    """All that is left of a line."""
    start = 0
    while start < line["size"]:
        request = QuarantinedLine(session=session, run=line["run"], offset=line["offset"], start=start)
        piece = base64.b64decode((await client.request(request))["data"])
        if not piece:
            return
        yield piece
        start += len(piece)
