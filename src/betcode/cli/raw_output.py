"""Prints claude's own lines of one turn as they come, for `betcode run` with a program as its reader."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from betcode.cli.follow import running
from betcode.cli.output import remark, say_raw
from betcode.cli.raw_turn import RawTurn
from betcode.client.tap import Tap
from betcode.model import limits


class RawOutput:
    """The reader of one turn's lines; made by `raw_output`."""

    def __init__(self, turn: RawTurn, reading: asyncio.Task[None]) -> None:
        self._turn = turn
        self._reading = reading

    async def result(self) -> bytes | None:
        """claude's result line, waited for; None when it does not come."""
        await asyncio.wait([self._reading], timeout=limits.RESULT_WAIT_S)
        return self._turn.result


@contextlib.asynccontextmanager
async def raw_output(tap: Tap, turn: RawTurn, *, shows: bool) -> AsyncIterator[RawOutput]:
    """Read beside the block; the tap is set when it begins, so send the message inside.

    `shows`: print the lines; otherwise only claude's result is kept.
    """
    await tap.begin()
    async with running(_read(tap, turn, shows), "claude's lines") as reading:
        yield RawOutput(turn, reading)


async def _read(tap: Tap, turn: RawTurn, shows: bool) -> None:
    async for line in tap:
        if line.missing:
            remark(f"! {line.missing} bytes of claude's output before the next line are lost")
        for shown in turn.take(line.data):
            if shows:
                say_raw(shown)
        if turn.over:
            return
