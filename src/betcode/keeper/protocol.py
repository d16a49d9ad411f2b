"""What keeper and daemon say to each other: length-framed messages on a Unix socket.

A frame is `>I` payload length, `>B` kind, payload. Integers are big-endian, JSON is one UTF-8 object. A
receiver ignores kinds and JSON fields that it does not know, so that an old keeper and a new daemon can talk.

    keeper -> daemon
      HELLO    JSON  {protocol: [min, max], run, keeper_pid, claude_pid, out_end, generation, ended, started_unix_s}
                     Sent upon accept; nothing else comes before ATTACH. `generation` is the highest one seen,
                     `ended` tells that claude is gone and only the rest of its output is left to take.
      OUT      >Q offset in the run, then 1..262,144 bytes of claude's stdout from there. Offsets are gapless.
      ERR      raw bytes of stderr, as they come; dropped (with a note in the text) if the daemon does not read
      ACK      JSON  {id, result: "written" | "duplicate" | "refused", state, out_offset, reason}
                     One per STDIN, once the line is whole in claude's stdin, or once it is known that it never will
                     be. A refused line may be sent again under its id, unless its state is "failed".
                     state: "done" | "failed" | null (nothing was written, nothing is remembered). reason: null or
                     stdin_closed, queue_full, too_large, ids_full, bad_line, bad_id, conflict, intent_failed.
      EXIT     JSON  the exit report, as in `<run>.exit`; after the last OUT. The connection then ends.
      BEAT     JSON  {out_end, stdin_pending, journal_blocked, sync_failed, memory}: every 5 s, at once on PING, when
                     journal_blocked (errno or null) changes, and when the memory is first measured or becomes high.
                     memory: {used, limit, base (null: not measured yet), high, by_kernel, most: [[pid, name, used]]},
                     sizes in bytes
      REFUSED  JSON  {code: "older_generation" | "bad_protocol" | "journal_unreadable", message}, then the end

    daemon -> keeper
      ATTACH   JSON  {protocol, generation, from}: the first frame. OUT starts at offset `from`. The daemon with
                     the highest generation wins; of two with the same one, the later.
      STDIN    >H length of the id, the id (UTF-8, 1..200 bytes), the line without its newline
      END      JSON  {how: "close_stdin" | "term" | "kill", grace_s}: close_stdin after the lines already taken;
                     term = SIGTERM and, after grace_s, the whole tree; kill = the whole tree now
      PING     empty
"""

from __future__ import annotations

import struct

from betcode.keeper.bare import dump_json, parse_json
from betcode.keeper.errors import KeeperError
from betcode.keeper.limits import LINE_BYTES_MAX, LINE_ID_BYTES_MAX, OUT_FRAME_BYTES_MAX

VERSION_MIN = 1
VERSION_MAX = 1
HEAD = struct.Struct(">IB")
_OFFSET = struct.Struct(">Q")
_ID_LENGTH = struct.Struct(">H")
FRAME_BYTES_MAX = LINE_BYTES_MAX + LINE_ID_BYTES_MAX + _ID_LENGTH.size
"""Payload of the largest frame either side may send; an exit report or an OUT frame is far below it."""


class Kind:
    """Numbers of the frames. Unknown ones come out of `FrameReader` as they are, for the caller to ignore."""

    HELLO = 1
    OUT = 2
    ERR = 3
    ACK = 4
    EXIT = 5
    BEAT = 6
    REFUSED = 7
    ATTACH = 65
    STDIN = 66
    END = 67
    PING = 68


class ProtocolError(KeeperError):
    """The other side sent bytes that are not this protocol. The connection cannot be used any further."""

    def __init__(self, message: str) -> None:
        hint = "Close the connection and connect again; if it comes back, daemon and keeper are of different versions."
        super().__init__("bad_protocol", message, hint=hint)


class FrameReader:
    """Turns received bytes, in any chunking, into frames.

    `payload_bytes_max` may be changed between calls: the keeper raises it when a connection has attached. So frames
    before one that is too long are returned first, and the error comes with the next call, even an empty one.
    """

    def __init__(self, payload_bytes_max: int = FRAME_BYTES_MAX) -> None:
        self.payload_bytes_max = payload_bytes_max
        self._buffer = bytearray()

    def feed(self, chunk: bytes) -> list[tuple[int, bytes]]:
        """(kind, payload) of each frame that `chunk` completes. Raises ProtocolError, and nothing else."""
        frames: list[tuple[int, bytes]] = []
        self._buffer += chunk
        at = 0
        while len(self._buffer) - at >= HEAD.size:
            length, kind = HEAD.unpack_from(self._buffer, at)
            if length > self.payload_bytes_max:
                if frames:
                    break
                raise ProtocolError(f"a frame of kind {kind} with {length} bytes; at most {self.payload_bytes_max}")
            end = at + HEAD.size + length
            if len(self._buffer) < end:
                break
            with memoryview(self._buffer) as view:
                frames.append((kind, bytes(view[at + HEAD.size : end])))
            at = end
        if at:
            del self._buffer[:at]
        return frames


def frame(kind: int, payload: bytes = b"") -> bytes:
    """One frame, ready to send."""
    return HEAD.pack(len(payload), kind) + payload


def json_frame(kind: int, value: dict[str, object]) -> bytes:
    """One frame whose payload is a JSON object."""
    return frame(kind, dump_json(value))


def json_payload(payload: bytes) -> dict[str, object]:
    """The object in a JSON frame. Raises ProtocolError if it is not one."""
    try:
        value = parse_json(payload)
    except ValueError as error:
        raise ProtocolError(f"a payload that is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise ProtocolError(f"a payload that is a JSON {type(value).__name__}, not an object")
    return value


def out_frame(offset: int, stdout: bytes) -> bytes:
    """An OUT frame. `stdout` starts at `offset` of the run and has at most OUT_FRAME_BYTES_MAX bytes."""
    if len(stdout) > OUT_FRAME_BYTES_MAX:
        raise ValueError(f"{len(stdout)} bytes in one OUT frame; at most {OUT_FRAME_BYTES_MAX}")
    return HEAD.pack(_OFFSET.size + len(stdout), Kind.OUT) + _OFFSET.pack(offset) + stdout


def out_payload(payload: bytes) -> tuple[int, bytes]:
    """(offset, stdout bytes) of an OUT frame."""
    if len(payload) < _OFFSET.size:
        raise ProtocolError("an OUT frame without its offset")
    return _OFFSET.unpack_from(payload)[0], payload[_OFFSET.size :]


def stdin_frame(line_id: str, line: bytes) -> bytes:
    """A STDIN frame; `line` without its newline. Raises ValueError if the id has not 1 to 200 bytes."""
    raw_id = line_id.encode()
    if not 1 <= len(raw_id) <= LINE_ID_BYTES_MAX:
        raise ValueError(f"an id of {len(raw_id)} bytes; 1 to {LINE_ID_BYTES_MAX} are allowed")
    return b"".join(
        (HEAD.pack(_ID_LENGTH.size + len(raw_id) + len(line), Kind.STDIN), _ID_LENGTH.pack(len(raw_id)), raw_id, line)
    )


def stdin_payload(payload: bytes) -> tuple[str, bytes]:
    """(id, line with its newline added) of a STDIN frame. Raises ProtocolError if there is no whole id."""
    if len(payload) < _ID_LENGTH.size:
        raise ProtocolError("a STDIN frame without the length of its id")
    start = _ID_LENGTH.size + _ID_LENGTH.unpack_from(payload)[0]
    if len(payload) < start:
        raise ProtocolError("a STDIN frame shorter than its id")
    try:
        line_id = payload[_ID_LENGTH.size : start].decode()
    except UnicodeDecodeError as error:
        raise ProtocolError("a STDIN frame whose id is not UTF-8") from error
    return line_id, b"".join((memoryview(payload)[start:], b"\n"))  # one copy: a line may have 64 MiB


def agreed(spoken: object) -> int | None:
    """The highest version that this side and one whose HELLO says `protocol: [min, max]` know; None without one."""
    if not isinstance(spoken, list) or len(spoken) != 2 or not all(type(version) is int for version in spoken):
        return None
    version = min(VERSION_MAX, spoken[1])
    return version if version >= max(VERSION_MIN, spoken[0]) else None


def attach_frame(*, generation: int, from_offset: int, protocol: int = VERSION_MAX) -> bytes:
    """An ATTACH frame. `generation` grows with every daemon start; `from_offset` is what the daemon has, in bytes."""
    return json_frame(Kind.ATTACH, {"protocol": protocol, "generation": generation, "from": from_offset})


def end_frame(how: str, *, grace_s: float = 0.0) -> bytes:
    """An END frame; `how` is close_stdin, term or kill, `grace_s` (term only) the time from SIGTERM to SIGKILL."""
    return json_frame(Kind.END, {"how": how, "grace_s": grace_s})
