"""One daemon's connection: what it still has to get, and what arrived from it.

Nothing is queued for a slow daemon but answers: stdout comes straight from memory while the socket takes it, and
from the journal, at the connection's own offset, once it does not. So memory is bounded however slow a daemon is.
"""

from __future__ import annotations

from betcode.keeper.bare import sockets
from betcode.keeper.journal import Journal
from betcode.keeper.limits import (
    CONTROL_BACKLOG_BYTES_MAX,
    CONTROL_FRAME_BYTES_MAX,
    FLUSH_FRAMES_MAX,
    OUT_FRAME_BYTES_MAX,
    READ_BYTES,
)
from betcode.keeper.protocol import FRAME_BYTES_MAX, FrameReader, Kind, frame, json_frame, out_frame

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


def _nobody(_events: int) -> None:
    """Stands for a handler until there is one."""


class Connection:
    """A nonblocking socket with what is to be sent on it.

    `dead` is set once nothing can be sent or received any more; whoever sees it closes the connection.
    """

    def __init__(self, sock: sockets.socket, number: int, *, idle_since: float) -> None:
        self._sock = sock
        self.number = number
        self.idle_since = idle_since  # seconds on the keeper's clock; of no meaning while attached
        self.on_ready: Callable[[int], None] = _nobody
        self.fd = sock.fileno()
        self.attached = False
        self.refused = False
        self.dead = False
        self._reader = FrameReader(CONTROL_FRAME_BYTES_MAX)
        self._position = 0
        self._backlog = memoryview(b"")  # the rest of a frame that the socket took in part
        self._control: list[bytes] = []
        self._control_bytes = 0
        self._last: bytes | None = None
        self._stderr_dropped = 0

    # -- receiving --------------------------------------------------------------------------------------------

    def receive(self) -> list[tuple[int, bytes]]:
        """Frames that arrived. Raises ProtocolError; sets `dead` when the other side has gone."""
        try:
            chunk = self._sock.recv(READ_BYTES)
        except BlockingIOError:
            return []
        except OSError:
            chunk = b""
        if not chunk:
            self.dead = True
        return self._reader.feed(chunk)

    def receive_rest(self) -> list[tuple[int, bytes]]:
        """Frames of the same chunk that only the handling of those before has allowed. Raises ProtocolError."""
        return [] if self.refused else self._reader.feed(b"")

    def attach(self, offset: int) -> None:
        """From now on this connection gets stdout from `offset`, and may send whole lines."""
        self.attached = True
        self._position = offset
        self._reader.payload_bytes_max = FRAME_BYTES_MAX

    @property
    def reads(self) -> bool:
        """Whether more is to be read: not from one that was refused or leaves its answers lying."""
        return not self.refused and self._control_bytes <= CONTROL_BACKLOG_BYTES_MAX

    # -- sending ----------------------------------------------------------------------------------------------

    def push(self, kind: int, fields: dict[str, object]) -> None:
        """Queue a JSON frame. Bounded by `reads` (one answer a request) and by the keeper's beat."""
        self._push(json_frame(kind, fields))

    def push_stderr(self, chunk: bytes) -> None:
        """Queue stderr bytes, or drop them if this daemon does not read; a note then says how many."""
        if self._stderr_dropped or self._control_bytes > CONTROL_BACKLOG_BYTES_MAX // 2:
            self._stderr_dropped += len(chunk)
        else:
            self._push(frame(Kind.ERR, chunk))

    def _push_stderr_note(self) -> None:
        note = b"\n[keeper: %d bytes of stderr were not forwarded]\n" % self._stderr_dropped
        self._stderr_dropped = 0
        self._push(frame(Kind.ERR, note))

    def _push(self, encoded: bytes) -> None:
        self._control.append(encoded)
        self._control_bytes += len(encoded)

    def push_beat(self, fields: dict[str, object]) -> None:
        """Queue a BEAT, unless answers are piling up: a daemon that does not read needs no more of them."""
        if self._control_bytes <= CONTROL_BACKLOG_BYTES_MAX:
            self.push(Kind.BEAT, fields)

    def refuse(self, code: str, message: str) -> None:
        """The last thing this connection gets is REFUSED; it takes part in nothing any more."""
        self.attached = False
        self.refused = True
        self._control = [json_frame(Kind.REFUSED, {"code": code, "message": message})]
        self._control_bytes = len(self._control[0])

    def finish(self, exit_fields: dict[str, object]) -> None:
        """EXIT is to follow the last byte of stdout."""
        self._last = json_frame(Kind.EXIT, exit_fields)

    def forward(self, start: int, stdout: bytes) -> None:
        """Bytes that are in the journal at `start`: sent from memory if this connection has all before them."""
        if self.attached and stdout and self._position == start and not self._backlog and not self._control:
            self._position += len(stdout)
            self._send(out_frame(start, stdout))

    def flush(self, journal: Journal) -> None:
        """Send what the socket takes, FLUSH_FRAMES_MAX frames at most. Raises what `Journal.read` raises."""
        for _ in range(FLUSH_FRAMES_MAX):
            if not self._backlog and not self._take_next(journal):
                return
            if not self._send(self._backlog):
                return

    def _take_next(self, journal: Journal) -> bool:
        """Put the next frame into the backlog; False if there is none."""
        if self._stderr_dropped and not self._control and self.attached:
            self._push_stderr_note()
        if self._control:
            self._backlog = memoryview(self._control.pop(0))
            self._control_bytes -= len(self._backlog)
        elif self.attached and self._position < journal.end:
            stdout = journal.read(self._position, OUT_FRAME_BYTES_MAX)
            self._backlog = memoryview(out_frame(self._position, stdout))
            self._position += len(stdout)
        elif self.attached and self._last is not None:
            self._backlog = memoryview(self._last)
            self._last = None
        else:
            return False
        return True

    def _send(self, content: bytes | memoryview) -> bool:
        """Send; what the socket did not take becomes the backlog. True if it took all."""
        view = memoryview(content)
        try:
            taken = self._sock.send(view)
        except BlockingIOError:
            taken = 0
        except OSError:
            self.dead = True
            return False
        self._backlog = view[taken:]
        return not self._backlog

    def has_more(self, journal: Journal) -> bool:
        """Whether anything is still to be sent."""
        behind = self.attached and (self._position < journal.end or self._last is not None)
        return bool(self._backlog or self._control or behind)

    def close(self) -> None:
        """Close the socket. Unsent bytes are dropped; the journal has those of stdout."""
        self._sock.close()
