"""Standard input line by line without blocking the event loop, whatever it is: a pipe, a socket, a terminal, a file."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator

from betcode.model import limits
from betcode.model.errors import BetcodeError


async def lines_of_stdin() -> AsyncIterator[bytes]:
    """Each line with its newline; the last may lack it.

    Raises:
        BetcodeError: `frame.too_large` for a line longer than `limits.FRAME_BYTES_MAX`.
    """
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=limits.FRAME_BYTES_MAX)
    try:
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin.buffer)
    except ValueError:  # a regular file: it never makes anybody wait
        while line := await asyncio.to_thread(sys.stdin.buffer.readline, limits.FRAME_BYTES_MAX):
            yield line
        return
    while True:
        try:
            line = await reader.readline()
        except ValueError as error:
            raise BetcodeError(
                "frame.too_large",
                f"a line of standard input is longer than {limits.FRAME_BYTES_MAX} bytes",
                hint="Send a large text as a file that claude reads.",
            ) from error
        if not line:
            return
        yield line
