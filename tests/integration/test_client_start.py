"""Starting a daemon in the background: its failure reaches the user, and two at once are no failure."""

import asyncio
import fcntl
import json
import os
import sys
from functools import partial
from pathlib import Path

import pytest

from betcode.client.start import start_daemon
from betcode.model import limits
from betcode.model.errors import BetcodeError

SERVER = """
import os, socket, sys
fd = int(sys.argv[sys.argv.index("--report-fd") + 1])
server = socket.socket(socket.AF_UNIX)
server.bind({path!r})
server.listen()
os.write(fd, b'{{"ok": true, "pid": 1}}\\n')
os.close(fd)
for _ in range({clients}):
    link, _ = server.accept()
    link.recv(1000)
    link.sendall(b"HTTP/1.1 200 OK\\r\\n\\r\\n")
    link.close()
"""
CLIENTS = 10
REPORT = """
import os, sys
fd = int(sys.argv[sys.argv.index("--report-fd") + 1])
os.write(fd, {report!r}.encode() + b"\\n")
sys.exit({status})
"""


def start(tmp_path: Path, program: str) -> None:
    asyncio.run(
        start_daemon(
            [sys.executable, "-c", program],
            env=dict(os.environ),
            stderr_path=tmp_path / "log",
            socket_path=tmp_path / "socket",
        )
    )


def failing(tmp_path: Path, program: str) -> BetcodeError:
    with pytest.raises(BetcodeError) as caught:
        start(tmp_path, program)
    return caught.value


@pytest.mark.parametrize("code, status", [("claude.not_found", 72), ("config.invalid", 78), ("daemon.socket", 2)])
def test_what_the_daemon_reports_reaches_the_user_with_its_exit_status(tmp_path: Path, code: str, status: int) -> None:
    report = json.dumps({"ok": False, "code": code, "message": "it is wrong", "hint": "mend it"})
    error = failing(tmp_path, REPORT.format(report=report, status=status))
    assert (error.code, str(error), error.hint, error.exit_status) == (code, "it is wrong", "mend it", status)


def test_a_code_that_this_version_does_not_know_is_shown(tmp_path: Path) -> None:
    report = json.dumps({"ok": False, "code": "moon.full", "message": "it is wrong", "hint": ""})
    error = failing(tmp_path, REPORT.format(report=report, status=1))
    assert (error.code, str(error)) == ("daemon.start_failed", "it is wrong (moon.full)")


def test_a_daemon_that_ends_without_a_report_leaves_its_last_line(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("an old line\n")
    error = failing(tmp_path, "import sys; print('first\\nthe last word\\n', file=sys.stderr); sys.exit(9)")
    assert error.code == "daemon.start_failed"
    assert str(error) == "the daemon ended with exit code 9 before it was ready: the last word"


def test_a_daemon_that_is_killed_says_by_what_and_no_old_line(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("an old line\n")
    error = failing(tmp_path, "import os; os.kill(os.getpid(), 9)")
    assert str(error) == "the daemon was ended by signal 9 before it was ready"


def test_a_daemon_that_is_ready_is_left_running_in_a_session_of_its_own(tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    start(
        tmp_path,
        SERVER.format(path=path, clients=1) + f"open({path!r} + '.sid', 'w').write(str(os.getsid(0) == os.getpid()))\n",
    )
    other = json.dumps({"ok": False, "code": "daemon.already_running", "message": "another one", "hint": ""})
    start(tmp_path, REPORT.format(report=other, status=2))  # asks the first one whether it answers
    for _ in range(500):
        if Path(path + ".sid").exists() and Path(path + ".sid").read_text():
            break
        asyncio.run(asyncio.sleep(0.01))
    assert Path(path + ".sid").read_text() == "True"


@pytest.mark.req("INV-5")
def test_of_many_clients_that_miss_their_daemon_one_starts_it(tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    program = f"open({path!r} + '.starts', 'a').write('x')\n" + SERVER.format(path=path, clients=CLIENTS - 1)

    async def scenario() -> None:
        argv = [sys.executable, "-c", program]
        log = tmp_path / "log"
        one = partial(start_daemon, argv, env=dict(os.environ), stderr_path=log, socket_path=tmp_path / "socket")
        await asyncio.gather(*(one() for _ in range(CLIENTS)))

    asyncio.run(scenario())
    assert Path(path + ".starts").read_text() == "x"


def test_another_daemon_that_never_answers_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "DAEMON_READY_WAIT_S", 3.0)
    other = json.dumps({"ok": False, "code": "daemon.already_running", "message": "pid 7 holds the lock", "hint": ""})

    async def scenario() -> None:
        argv = [sys.executable, "-c", REPORT.format(report=other, status=2)]
        await start_daemon(argv, env=dict(os.environ), stderr_path=tmp_path / "log", socket_path=tmp_path / "socket")

    with pytest.raises(BetcodeError, match="pid 7 holds the lock") as caught:
        asyncio.run(scenario())
    assert caught.value.code == "daemon.unreachable"
    assert str(tmp_path / "socket") in caught.value.hint


def test_a_program_that_cannot_be_started_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(BetcodeError, match="could not be started"):
        asyncio.run(start_daemon(["/nowhere"], env={}, stderr_path=tmp_path / "log", socket_path=tmp_path / "socket"))


KILLED = """
import os, signal, sys
from pathlib import Path
starts = Path({counter!r})
starts.write_text(starts.read_text() + "x" if starts.exists() else "x")
if len(starts.read_text()) <= {times}:
    os.kill(os.getpid(), signal.SIGKILL)
fd = int(sys.argv[sys.argv.index("--report-fd") + 1])
os.write(fd, b'{{"ok": true, "pid": 1}}\\n')
"""


def test_a_daemon_that_is_killed_in_its_start_is_started_again_but_not_for_ever(tmp_path: Path) -> None:
    counter = tmp_path / "starts"
    start(tmp_path, KILLED.format(counter=str(counter), times=limits.DAEMON_START_TRIES - 1))
    assert len(counter.read_text()) == limits.DAEMON_START_TRIES
    counter.unlink()
    error = failing(tmp_path, KILLED.format(counter=str(counter), times=100))
    assert (error.code, len(counter.read_text())) == ("daemon.start_failed", limits.DAEMON_START_TRIES)
    assert "signal 9" in str(error)


def test_a_client_that_waits_for_another_one_sees_the_new_daemon_without_queueing_for_its_turn(tmp_path: Path) -> None:
    path = tmp_path / "socket"

    async def run() -> None:
        lock = os.open(tmp_path / "starting.lock", os.O_WRONLY | os.O_CREAT)
        fcntl.flock(lock, fcntl.LOCK_EX)  # held all the time, as by forty others in turn
        waiting = asyncio.create_task(
            start_daemon(["/nonexistent"], env={}, stderr_path=tmp_path / "log", socket_path=path)
        )
        read, write = os.pipe()
        program = SERVER.format(path=str(path), clients=1)
        daemon = await asyncio.create_subprocess_exec(
            sys.executable, "-c", program, "--report-fd", str(write), pass_fds=(write,)
        )
        await asyncio.wait_for(waiting, limits.DAEMON_READY_WAIT_S / 2)
        await daemon.wait()
        for descriptor in (lock, read, write):
            os.close(descriptor)

    asyncio.run(run())


@pytest.mark.req("INV-8", "OB-1")
def test_what_daemons_say_on_standard_error_is_kept_up_to_a_limit_and_then_begins_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "DAEMON_STDERR_BYTES_MAX", 100)
    said = tmp_path / "log"
    for number in range(4):
        error = failing(tmp_path, f"import sys; sys.exit('word {number} ' + 'x' * 40)")
        assert f"word {number} " in str(error)
    assert [line.split()[1] for line in said.read_text().splitlines()] == ["3"], "of 49 bytes each, three passed 100"
