"""A keeper whose n-th socket operation fails: `python -I -S faulty_socket_keeper.py SRC N MODE FOLDER`, spec on stdin.

Operations are accept, send and recv. MODE `once`: that one alone. MODE `for_ever`: it and all later ones. A failing
accept has lost its connection, a failing send has sent half. FOLDER/fired tells that it happened.
"""

import errno
import sys

src, number, mode, folder = sys.argv[1:]
sys.path.append(src)

import betcode.keeper.limits  # noqa: E402

betcode.keeper.limits.RETRY_S = 0.02  # before anyone takes it: a test need not wait a second for each attempt

import betcode.keeper.daemons  # noqa: E402
import betcode.keeper.launch  # noqa: E402
from betcode.keeper.bare import accept, sockets  # noqa: E402

counter = iter(range(1, 1_000_000))


def fails() -> bool:
    count = next(counter)
    failing = count == int(number) or (mode == "for_ever" and count > int(number))
    if failing:
        open(f"{folder}/fired", "w").close()
    return failing


class FaultySocket:
    """As much of a socket as `Connection` uses."""

    def __init__(self, real: sockets.socket) -> None:
        self._real = real
        self.fileno = real.fileno
        self.close = real.close

    def recv(self, size: int) -> bytes:
        if fails():
            raise OSError(errno.ECONNRESET, "broken, says the test")
        return self._real.recv(size)

    def send(self, content: memoryview) -> int:
        if fails():
            self._real.send(content[: len(content) // 2])
            raise OSError(errno.EPIPE, "broken, says the test")
        return self._real.send(content)


def faulty_accept(listener: sockets.socket) -> FaultySocket:
    real = accept(listener)
    if fails():
        real.close()
        raise OSError(errno.ECONNABORTED, "gone, says the test")
    return FaultySocket(real)


setattr(betcode.keeper.daemons, "accept", faulty_accept)  # noqa: B010 - it is exported to nobody
betcode.keeper.launch.main()
