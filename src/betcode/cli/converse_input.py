"""What a person types, line by line, and ctrl-c; and what a line means. The terminal itself edits the line."""

from __future__ import annotations

import asyncio
import os
import signal
from dataclasses import dataclass
from types import TracebackType
from typing import Final

PASTE_S: Final = 0.05
"""Lines that follow each other this closely were pasted: they are one message. No person types so fast."""
ITEMS_MAX: Final = 1_000
"""Lines that wait to be looked at; beyond it the terminal is not read, and whoever pastes more waits."""
LINE_BYTES_MAX: Final = 4_095
"""A terminal keeps no more of one line and drops the rest without a word (`N_TTY` of Linux)."""
READ_BYTES: Final = 65_536


@dataclass(frozen=True, slots=True)
class Line:
    """A message, a command or an answer.

    `begun_s`: when the first of it was read, on the loop's clock. `cut`: the terminal may have dropped an end.
    """

    text: str
    begun_s: float
    cut: bool = False


class CtrlC:
    """Somebody pressed it."""


class End:
    """Ctrl-d at the beginning of a line, or the terminal is gone."""


Item = Line | CtrlC | End


class Keyboard:
    """Standard input of the event loop; use it with `with`."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._items: asyncio.Queue[tuple[float, bytes] | CtrlC | End] = (
            asyncio.Queue()
        )  # `_read` and `_interrupt` bound it
        self._reading = False
        self._ended = False
        self._end: End | None = None

    def __enter__(self) -> Keyboard:
        self._listen()
        self._loop.add_signal_handler(signal.SIGINT, self._interrupt)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.remove_signal_handler(signal.SIGINT)
        self._loop.remove_reader(0)

    async def next(self) -> Item:
        """Wait for the next thing. Lines that belong together come as one."""
        if self._end is not None:
            return self._end
        typed = b""
        begun_s = 0.0
        cut = False
        while True:
            item = await self._items.get()
            if not self._reading and not self._ended and self._items.qsize() < ITEMS_MAX:
                self._listen()
            if isinstance(item, End):
                self._end = item
                return Line(typed.decode("utf-8", "replace"), begun_s, cut) if typed else item
            if isinstance(item, CtrlC):
                return item  # what is typed and not finished is dropped, as the terminal does
            read_s, piece = item
            begun_s = begun_s or read_s
            cut = cut or len(piece) >= LINE_BYTES_MAX
            typed += piece
            if typed.endswith(b"\\\n"):  # a backslash at the end: the message goes on
                typed = typed[:-2] + b"\n"
                continue
            if typed.endswith(b"\n") and not await self._more():
                return Line(typed[:-1].decode("utf-8", "replace"), begun_s, cut)

    async def _more(self) -> bool:
        """Whether another line follows at once."""
        deadline = self._loop.time() + PASTE_S
        while self._items.empty():
            left = deadline - self._loop.time()
            if left <= 0:
                return False
            await asyncio.sleep(min(left, PASTE_S / 5))
        return True

    def _interrupt(self) -> None:
        if self._items.qsize() < ITEMS_MAX:  # more of them say nothing new
            self._items.put_nowait(CtrlC())

    def _listen(self) -> None:
        self._loop.add_reader(0, self._read)
        self._reading = True

    def _read(self) -> None:
        try:
            data = os.read(0, READ_BYTES)
        except OSError:  # the terminal was closed
            data = b""
        self._ended = not data
        self._items.put_nowait((self._loop.time(), data) if data else End())
        if self._ended or self._items.qsize() >= ITEMS_MAX:
            self._loop.remove_reader(0)
            self._reading = False


@dataclass(frozen=True, slots=True)
class Command:
    """A line that begins with a slash."""

    name: str
    rest: str


def meaning(text: str) -> Command | str:
    """A command of ours, or the text for claude: `//` at the beginning stands for one slash."""
    if text.startswith("//"):
        return text[1:]
    if text.startswith("/") and "\n" not in text.strip():
        name, _, rest = text[1:].strip().partition(" ")
        return Command(name.lower(), rest.strip())
    return text
