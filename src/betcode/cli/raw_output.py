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

_LOOK_S = 0.05
"""Between looks at whether the result is there."""


class RawOutput:
    """The reader of one turn's lines; made by `raw_output`."""

    def __init__(self, turn: RawTurn, reading: asyncio.Task[None]) -> None:
        self._turn = turn
        self._reading = reading

    @property
    def unprinted(self) -> bool:
        """Whether the result was held back."""
        return self._turn.held

    async def result(self, *, refused: bool) -> bytes | None:
        """claude's result line, waited for; None when it does not come. `refused`: one that was held back will do."""
        left_s = limits.RESULT_WAIT_S
        while left_s > 0 and not self._reading.done() and not (refused and self._turn.held):
            await asyncio.wait([self._reading], timeout=_LOOK_S)
            left_s -= _LOOK_S
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
