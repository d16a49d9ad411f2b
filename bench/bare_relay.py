"""A second anchor: the way of a delta through three processes, with nothing of ours in them.

flood -> pipe -> a relay (where the keeper stands) -> Unix socket -> a relay (where the daemon stands) -> the WebSocket
library's `broadcast` -> clients. No journal, no session, no database: what is left is what the hops and the library
cost on this machine at this time. Run as a program it is one of the relays.
"""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

from websockets.asyncio.client import unix_connect
from websockets.asyncio.server import ServerConnection, broadcast, unix_serve
from websockets.exceptions import ConnectionClosed

from bench.raw_socket import Fanned
from bench.setting import FLOOD, STAMP, wish


def relay(path: str, wished: str) -> None:
    """From a flood's pipe to the socket, what is there at a time."""
    with socket.socket(socket.AF_UNIX) as peer:
        peer.connect(path)
        argv = [sys.executable, "-I", "-S", str(FLOOD), "direct", wished]
        with subprocess.Popen(argv, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            while chunk := os.read(process.stdout.fileno(), 65536):
                peer.sendall(chunk)


async def fan_out(upstream: str, downstream: str, clients: int) -> None:
    """Lines from one socket to that many WebSocket clients; then print the processor seconds that it took."""
    connections: set[ServerConnection] = set()
    ended = asyncio.Event()

    async def keep(connection: ServerConnection) -> None:
        connections.add(connection)
        if len(connections) == clients:
            _say("ready")
        await ended.wait()

    async def read(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        used = time.process_time()
        async for line in reader:
            broadcast(connections, line, text=True)
        _say(str(time.process_time() - used))
        writer.close()
        ended.set()

    above = await asyncio.start_unix_server(read, upstream, limit=1 << 26)
    async with above, unix_serve(keep, downstream, compression=None, ping_interval=None):
        _say("listening")
        await ended.wait()


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


async def relayed(folder: Path, clients: int, count: int, hz: float) -> Fanned:
    """Ages of all deltas at all clients in this process, processor seconds of the fan-out, seconds from the first
    delta's printing to the last one's arrival.
    """
    up, down = folder / "up.sock", folder / "down.sock"
    up.unlink(missing_ok=True)
    down.unlink(missing_ok=True)
    middle = await _program(str(up), str(down), str(clients))
    assert middle.stdout is not None
    await middle.stdout.readline()
    readers = [asyncio.create_task(_ages_s(down)) for _ in range(clients)]
    await middle.stdout.readline()
    first = await _program(str(up), wish(count, hz))
    read = await asyncio.gather(*readers)
    used = float(await middle.stdout.readline())
    await first.wait()
    await middle.wait()
    seen = [one for some in read for one in some]
    took = max(came for came, _ in seen) - min(came - age for came, age in seen)
    return Fanned([age for _, age in seen], used, took)


async def _program(*arguments: str) -> asyncio.subprocess.Process:
    """One of the relays."""
    argv = ["-m", "bench.bare_relay", *arguments]
    pipe = asyncio.subprocess.PIPE
    return await asyncio.create_subprocess_exec(sys.executable, *argv, stdout=pipe, cwd=FLOOD.parents[1])


async def _ages_s(path: Path) -> list[tuple[float, float]]:
    """When each delta came and how old it was. Frames are looked at and not read, as the watchers of those rows do."""
    seen: list[tuple[float, float]] = []
    async with unix_connect(str(path), compression=None, max_size=None, ping_interval=None) as connection:
        try:
            while True:
                frame = await connection.recv(decode=False)
                found = STAMP.search(frame) if b"delta" in frame else None
                if found is not None:
                    now_ns = time.monotonic_ns()
                    seen.append((now_ns / 1e9, (now_ns - int(found.group())) / 1e9))
        except ConnectionClosed:
            return seen


if __name__ == "__main__":
    if len(sys.argv) == 3:
        relay(sys.argv[1], sys.argv[2])
    else:
        asyncio.run(fan_out(sys.argv[1], sys.argv[2], int(sys.argv[3])))
