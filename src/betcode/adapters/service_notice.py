"""Tells the service manager how the daemon is (systemd's `sd_notify`): ready, working, stopping, failed.

The protocol is one datagram of `NAME=value` lines to the socket named in NOTIFY_SOCKET. Nobody waits for it: what
cannot be sent at once is not sent, and a watchdog that misses signs of life then does what it is for.
"""

from __future__ import annotations

import os
import socket
from collections.abc import MutableMapping
from dataclasses import dataclass

from betcode.model.errors import BetcodeError

_VARIABLES = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")
_HINT = " Hint: "
"""Between message and hint in the status of a start that failed."""


@dataclass(frozen=True, slots=True)
class ServiceNotice:
    """The way to the service manager; without one (`address` is empty) nothing is sent."""

    address: str = ""
    watchdog_s: float | None = None
    """A sign of life is wanted at least this often."""

    @classmethod
    def taken_from(cls, env: MutableMapping[str, str]) -> ServiceNotice:
        """What the variables say; they are taken out, so that no process started later speaks for the daemon."""
        address, period, pid = (env.pop(name, "") for name in _VARIABLES)
        if not address.startswith(("/", "@")):
            return cls()
        ours = pid in ("", str(os.getpid()))
        watchdog_s = int(period) / 1e6 if ours and period.isdecimal() and int(period) else None
        return cls(address, watchdog_s)

    def ready(self, status: str) -> bool:
        """It serves."""
        return self._send("READY=1", f"STATUS={status}")

    def alive(self) -> bool:
        """It works. Returns whether that could be sent."""
        return self._send("WATCHDOG=1")

    def stopping(self) -> bool:
        """It ends, in order."""
        return self._send("STOPPING=1", "STATUS=stopping; turns go on")

    def failed(self, error: BetcodeError) -> bool:
        """It ends because of this."""
        return self._send("STATUS=" + failure_text(error))

    def _send(self, *lines: str) -> bool:
        if not self.address:
            return False
        path = "\0" + self.address[1:] if self.address.startswith("@") else self.address
        message = "\n".join(line.replace("\n", " ") for line in lines)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as link:
            try:
                link.sendto(message.encode("utf-8", "replace"), socket.MSG_DONTWAIT, path)
            except OSError:
                return False
        return True


def failure_text(error: BetcodeError) -> str:
    """An error as one line: what the service manager keeps of a start that failed."""
    return f"{error.code}: {error}{_HINT}{error.hint}"


def read_failure(text: str) -> tuple[str, str, str] | None:
    """Code, message and hint of such a line; None for any other."""
    code, colon, rest = text.partition(": ")
    message, mark, hint = rest.rpartition(_HINT)
    return (code, message, hint) if colon and mark and " " not in code else None
