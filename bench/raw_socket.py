"""The anchor of the rows with fifty clients: one process that writes the same deltas to raw Unix sockets.

No session, no database, no WebSocket: what is left is what the system asks of whoever writes to so many sockets. Run as
a program it takes a socket's path, the number of clients, `count` and `hz` as in `bench/flood.py`; at the end it prints
the seconds of processor time that writing took.
"""

from __future__ import annotations

import asyncio
import json
import socket
import sys
import time
from dataclasses import dataclass
from pathlib import Path

DIGITS = 16
"""Length of a delta, as in `bench/flood.py`."""


@dataclass(frozen=True, slots=True)
class Fanned:
    """One run: ages of all deltas at all clients, processor seconds of the writer, seconds in all."""

    ages_s: list[float]
    used_s: float
    took_s: float


def serve(path: str, clients: int, count: int, hz: float) -> float:
    """Write to so many clients. Returns the seconds of processor time that it took."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(clients)
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        peers = [listener.accept()[0] for _ in range(clients)]
    begun, used = time.monotonic(), time.process_time()
    for number in range(count):
        if hz:
            time.sleep(max(0.0, begun + number / hz - time.monotonic()))
        value = {"type": "preview", "offset": number * DIGITS, "text": f"{time.monotonic_ns():>{DIGITS - 1}} "}
        line = json.dumps(value, separators=(",", ":")).encode() + b"\n"
        for peer in peers:
            peer.sendall(line)
    used = time.process_time() - used
    for peer in peers:
        peer.close()
    return used


async def fanned(folder: Path, clients: int, count: int, hz: float) -> Fanned:
    """Let such a process write, and read it with as many clients in this process."""
    path = folder / "raw.sock"
    path.unlink(missing_ok=True)
    argv = ["-I", "-S", __file__, str(path), str(clients), str(count), str(hz)]
    process = await asyncio.create_subprocess_exec(sys.executable, *argv, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    await process.stdout.readline()
    begun = time.monotonic()
    read = await asyncio.gather(*(_ages_s(path) for _ in range(clients)))
    took = time.monotonic() - begun
    used, _ = await process.communicate()
    return Fanned([age for ages in read for age in ages], float(used), took)


async def _ages_s(path: Path) -> list[float]:
    """Lines are looked at and not read, as the watchers of those rows do; a delta stands before the last four bytes."""
    reader, writer = await asyncio.open_unix_connection(path)
    ages = [(time.monotonic_ns() - int(line[-19:-4])) / 1e9 async for line in reader]
    writer.close()
    return ages


if __name__ == "__main__":
    print(serve(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])))
