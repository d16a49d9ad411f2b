"""What a service manager hears from a real daemon, on a real datagram socket that stands in for systemd's."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from betcode.adapters.service_notice import ServiceNotice, failure_text, read_failure
from betcode.client import brief
from betcode.model.errors import BetcodeError
from betcode.model.frames import Create
from betcode.testing.installation import Installation, installation

WAIT_S = 40.0
WATCHDOG_S = 0.4
"""Asked of the daemon here, so that signs of life come every 0.1 s."""
QUIET_S = 1.0
"""Ten signs that did not come."""


class Listener:
    """The other end of NOTIFY_SOCKET."""

    def __init__(self, link: socket.socket) -> None:
        self._link = link

    def next(self, within_s: float = WAIT_S) -> dict[str, str] | None:
        """The next notice; None when none comes in time."""
        self._link.settimeout(within_s)
        try:
            lines = self._link.recv(65_536).decode().splitlines()
        except TimeoutError:
            return None
        return {name: value for name, _, value in (line.partition("=") for line in lines)}

    def until(self, name: str) -> dict[str, str]:
        """The first notice from now on that holds this."""
        end = time.monotonic() + WAIT_S
        while time.monotonic() < end:
            notice = self.next()
            if notice is not None and name in notice:
                return notice
        raise AssertionError(f"no {name} came")

    def until_quiet(self) -> None:
        """Return when nothing has come for a while."""
        end = time.monotonic() + WAIT_S
        while self.next(QUIET_S) is not None:
            assert time.monotonic() < end, "signs of life go on and on"


@pytest.fixture
def made() -> Iterator[Installation]:
    with installation() as one:
        yield one


@contextlib.contextmanager
def listener(made: Installation, *, abstract: bool = False) -> Iterator[Listener]:
    """A socket that the daemons of `made` are told of."""
    path = str(made.home / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as link:
        link.bind("\0" + path if abstract else path)
        made.env |= {"NOTIFY_SOCKET": ("@" if abstract else "") + path, "WATCHDOG_USEC": str(int(WATCHDOG_S * 1e6))}
        yield Listener(link)


@contextlib.contextmanager
def daemon(made: Installation) -> Iterator[subprocess.Popen[bytes]]:
    """The daemon as a service manager starts it: with no pipe to report on."""
    with (made.home / "stderr").open("wb") as stderr:
        child = subprocess.Popen(
            [sys.executable, "-P", "-m", "betcode.daemon"], env=made.env, stdin=subprocess.DEVNULL, stderr=stderr
        )
    try:
        yield child
    finally:
        child.kill()
        child.wait()


@pytest.mark.req("OB-5", "PS-7")
@pytest.mark.parametrize("abstract", [False, True])
def test_a_supervisor_hears_that_the_daemon_serves_lives_and_stops(made: Installation, abstract: bool) -> None:
    with listener(made, abstract=abstract) as heard, daemon(made) as child:
        first = heard.next()
        assert first == {"READY": "1", "STATUS": "serving"}
        assert brief.answers(made.paths.socket), "it says ready when it answers"
        for _ in range(3):
            assert heard.next() == {"WATCHDOG": "1"}
        child.send_signal(signal.SIGTERM)
        assert heard.until("STOPPING") == {"STOPPING": "1", "STATUS": "stopping; turns go on"}
        assert child.wait(WAIT_S) == 0


@pytest.mark.req("OB-5")
def test_signs_of_life_stop_while_the_database_thread_hangs_and_come_again_after(made: Installation) -> None:
    async def create() -> None:
        async with made.client(starts=False) as client:
            await client.request(Create(directory=str(made.project), options=made.options()))

    with listener(made) as heard, daemon(made):
        heard.until("WATCHDOG")
        with contextlib.closing(apsw.Connection(str(made.paths.database))) as other:
            other.execute("BEGIN IMMEDIATE")
            creating = asyncio.new_event_loop()
            try:
                task = creating.create_task(create())
                creating.run_until_complete(asyncio.wait([task], timeout=0.5))
                assert not task.done(), "the commit waits for the lock"
                heard.until_quiet()
                assert brief.answers(made.paths.socket), "the event loop alone would have given signs"
                other.execute("ROLLBACK")
                assert heard.until("WATCHDOG")
                creating.run_until_complete(asyncio.wait_for(task, WAIT_S))
            finally:
                creating.close()


@pytest.mark.req("OB-5")
def test_signs_of_life_stop_while_the_event_loop_hangs(made: Installation) -> None:
    with listener(made) as heard, daemon(made) as child:
        heard.until("WATCHDOG")
        child.send_signal(signal.SIGSTOP)
        heard.until_quiet()
        child.send_signal(signal.SIGABRT)  # as systemd does then
        child.send_signal(signal.SIGCONT)
        # It prints its stacks first, those of running threads too, which Python cannot always do unharmed.
        assert child.wait(WAIT_S) in (-signal.SIGABRT, -signal.SIGSEGV)
        stacks = (made.home / "stderr").read_text()
        assert "Fatal Python error: Aborted" in stacks
        assert "/betcode/" in stacks.partition("Aborted")[2], "it says where it hung"


@pytest.mark.req("RS-1")
def test_a_start_that_fails_says_why_to_the_supervisor(made: Installation) -> None:
    made.paths.config.mkdir(mode=0o700)
    made.paths.settings.write_text('{"daemon": {"log_level": "loud"}}')
    with listener(made) as heard, daemon(made) as child:
        told = read_failure(heard.until("STATUS")["STATUS"])
        assert told is not None
        assert (told[0], "log_level" in told[1], "default of" in told[2]) == ("config.invalid", True, True)
        assert child.wait(WAIT_S) == 78


def test_a_calm_daemon_ends_well_where_only_a_person_can_mend_it(made: Installation) -> None:
    argv = [sys.executable, "-P", "-m", "betcode.daemon", "--calm"]

    def ended(**changes: str) -> int:
        return subprocess.run(argv, env=made.env | changes, capture_output=True, timeout=WAIT_S, check=False).returncode

    assert ended(BETCODE_CLAUDE="/nowhere/claude") == 0
    assert ended(BETCODE_DAEMON_LOG_LEVEL="loud") == 0
    made.paths.runtime.mkdir(mode=0o700, exist_ok=True)
    made.paths.socket.mkdir()
    assert ended() == 2, "a restart may help here"


def test_the_variables_of_a_supervisor_are_taken_out_and_those_for_another_process_are_not_obeyed() -> None:
    env = {"NOTIFY_SOCKET": "/run/x", "WATCHDOG_USEC": "3000000", "WATCHDOG_PID": str(os.getpid()), "A": "b"}
    assert ServiceNotice.taken_from(env) == ServiceNotice("/run/x", 3.0)
    assert env == {"A": "b"}
    for changes in ({"WATCHDOG_PID": "1"}, {"WATCHDOG_USEC": "0"}, {"WATCHDOG_USEC": "x"}, {"WATCHDOG_USEC": ""}):
        env = {"NOTIFY_SOCKET": "@x", "WATCHDOG_USEC": "3000000", **changes}
        assert ServiceNotice.taken_from(env) == ServiceNotice("@x", None)
    assert ServiceNotice.taken_from({"NOTIFY_SOCKET": "relative", "WATCHDOG_USEC": "1"}) == ServiceNotice()


def test_a_notice_that_nobody_takes_harms_nothing(tmp_path: Path) -> None:
    assert not ServiceNotice().alive()
    assert not ServiceNotice(str(tmp_path / "gone")).ready("serving")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as link:
        link.bind(str(tmp_path / "full"))
        notice = ServiceNotice(str(tmp_path / "full"))
        sent = 0
        while notice.alive():
            sent += 1
            assert sent < 100_000
        assert sent > 0, "what does not fit is not waited for"


def test_a_failure_is_read_as_it_was_told() -> None:
    error = BetcodeError("config.invalid", "a: b\nc", hint="Do: this. Hint: no")
    assert read_failure(failure_text(BetcodeError("config.invalid", "a: b", hint="Do."))) == (
        "config.invalid",
        "a: b",
        "Do.",
    )
    assert read_failure(failure_text(error)) is not None
    for other in ("serving", "", "stopping; turns go on", "odd words: Hint: x"):
        assert read_failure(other) is None
