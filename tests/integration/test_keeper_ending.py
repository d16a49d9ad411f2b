"""A real keeper with a small scripted program in the place of claude: how it starts, and every way it can end."""

import json
import os
import shutil
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import betcode
from betcode.keeper.journal import JournalReader
from betcode.keeper.limits import CLOSED_S_MAX, DRAIN_READS_MAX, DRAIN_S_MAX, READ_BYTES
from betcode.testing.keeper_process import (
    KeeperProcess,
    LaunchFailed,
    is_running,
    launch,
    lock_is_free,
    scripted_child,
    wait_until,
)

CAT = ["/bin/cat"]
IGNORES_TERM = """
import signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("ready", flush=True)
time.sleep(600)
"""


@pytest.fixture
def session_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a short name: the path of a socket has 107 bytes at most."""
    path = tmp_path_factory.mktemp("k")
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def cat(session_dir: Path) -> Iterator[KeeperProcess]:
    with KeeperProcess(session_dir, CAT) as keeper:
        yield keeper


# -- the end ----------------------------------------------------------------------------------------------------


@pytest.mark.req("PS-3", "PS-6")
def test_the_exit_report_tells_how_claude_ended_and_is_the_last_frame(session_dir: Path) -> None:
    with scripted_child(session_dir, LAST_WORDS) as keeper:
        link = keeper.link().attach()
        link.write("a", b"go")
        link.until(lambda: link.closed, what="the end")
        report = keeper.report()
        assert link.exit == report
        assert link.out == b"out\nlate\n"
        assert (report["code"], report["signal"], report["reason"], report["run"]) == (7, None, "exited", 1)
        assert (report["stderr_tail"], report["out_end"]) == (["trouble", "more"], 9)
        assert int(str(report["peak_rss_bytes"])) > 1_000_000
        assert float(str(report["cpu_s"])) > 0
        assert float(str(report["started_unix_s"])) <= float(str(report["ended_unix_s"]))
        assert {path.name for path in session_dir.iterdir()} == {"lock", "1.0.out", "1.in", "1.run", "1.exit"}
        wait_until(lambda: lock_is_free(session_dir), what="the lock")


@pytest.mark.req("PS-6")
def test_a_report_is_written_when_no_daemon_is_there(session_dir: Path) -> None:
    with scripted_child(session_dir, "print('x' * 1_000_000)") as keeper:
        assert keeper.report()["out_end"] == JournalReader(str(session_dir)).end(1) == 1_000_001


@pytest.mark.req("PS-4")
def test_end_by_term_gives_claude_its_grace_and_then_kills(session_dir: Path) -> None:
    with scripted_child(session_dir, IGNORES_TERM) as keeper:
        link = keeper.link().attach()
        link.until(lambda: link.out, what="ready")
        link.end("term", grace_s=0.1)
        link.until(lambda: link.exit, what="EXIT")
        report = keeper.report()
        assert (report["code"], report["signal"], report["reason"]) == (None, signal.SIGKILL, "term")


@pytest.mark.req("PS-4")
def test_end_by_term_is_enough_for_a_claude_that_obeys(cat: KeeperProcess) -> None:
    cat.link().attach().end("term", grace_s=3600)
    assert cat.report()["signal"] == signal.SIGTERM


@pytest.mark.req("PS-7")
def test_end_by_closing_stdin_lets_claude_take_what_was_accepted(cat: KeeperProcess) -> None:
    link = cat.link().attach()
    link.write("a", b"y" * 3_000_000)
    link.write("b", b"last")
    link.end("close_stdin")
    link.write("c", b"too late")
    link.until(lambda: link.exit, what="EXIT")
    assert link.out.endswith(b"y\nlast\n")
    assert len(link.out) == 3_000_001 + 5
    assert link.ack("c")["reason"] == "stdin_closed"
    report = cat.report()
    assert (report["code"], report["reason"]) == (0, "close_stdin")


LAST_WORDS = """
import sys
print("out")
print("trouble\\nmore", file=sys.stderr)
sys.stdin.readline()
print("late")
sys.exit(7)
"""

TREE = """
import os, sys, time
def leave(path):
    open(path + ".new", "w").write(str(os.getpid())); os.rename(path + ".new", path)
    time.sleep(600)
if os.fork() == 0:
    os.setsid(); leave("child")            # as claude starts its tools
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0: leave("orphan")     # a tool that daemonizes
    os._exit(0)
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0: os.execve(sys.executable, [sys.executable, "-I", "-S", "-c", '''
import os, time
open("bare.new", "w").write(str(os.getpid())); os.rename("bare.new", "bare")
time.sleep(600)
'''], {})                                  # and throws its environment away
    os._exit(0)
sys.stdin.readline()
"""


@pytest.mark.req("PS-11")
@pytest.mark.parametrize("end", ["kill", "term", "exit", "killed"])
def test_no_process_of_the_tree_survives_however_the_run_ends(session_dir: Path, end: str) -> None:
    with scripted_child(session_dir, TREE) as keeper:
        names = ("child", "orphan", "bare")
        wait_until(lambda: all((session_dir / name).exists() for name in names), what="the tree")
        pids = {int((session_dir / name).read_text()) for name in names}
        link = keeper.link().attach()
        if end == "exit":
            link.write("a", b"go")
        elif end == "killed":
            os.kill(keeper.claude_pid, signal.SIGKILL)
        else:
            link.end(end, grace_s=60)
        report = keeper.report()
        assert not any(is_running(pid) for pid in pids)
        assert set(report["tree_killed"]) == pids  # type: ignore[call-overload]
        waited_s = keeper.path("exit").stat().st_mtime - float(str(report["ended_unix_s"]))
        assert waited_s < DRAIN_S_MAX, "the keeper waited for a pipe that only the tree held open"


@pytest.mark.req("PS-6", "INV-8")
def test_silence_without_a_daemon_ends_claude_and_leaves_a_record(session_dir: Path) -> None:
    with KeeperProcess(session_dir, CAT, silence_s_max=0.2) as keeper:
        report = keeper.report()
        assert (report["reason"], report["signal"]) == ("silence", signal.SIGTERM)


@pytest.mark.req("PS-6")
def test_silence_is_no_reason_while_a_daemon_is_attached(session_dir: Path) -> None:
    with scripted_child(session_dir, "import time\ntime.sleep(1.5)", silence_s_max=0.5) as keeper:
        link = keeper.link().attach()
        link.until(lambda: link.exit, what="EXIT")
        assert keeper.report()["reason"] == "exited"


@pytest.mark.req("PS-11")
def test_a_terminated_keeper_ends_claude_and_reports_it(cat: KeeperProcess) -> None:
    cat.signal(signal.SIGHUP)
    cat.signal(signal.SIGINT)
    cat.link().attach().ping()
    cat.signal(signal.SIGTERM)
    report = cat.report()
    assert (report["reason"], report["signal"]) == ("keeper_terminated", signal.SIGTERM)


# -- the lock and the start -------------------------------------------------------------------------------------


@pytest.mark.req("INV-7")
def test_the_lock_is_free_only_when_keeper_and_claude_are_both_gone(session_dir: Path) -> None:
    with scripted_child(session_dir, IGNORES_TERM) as keeper:
        link = keeper.link().attach()
        link.until(lambda: link.out, what="ready")
        with pytest.raises(LaunchFailed) as refused:
            launch({**keeper.spec, "run": 2})
        assert refused.value.fields["code"] == "lock_held"
        keeper.signal(signal.SIGKILL)
        keeper.wait_gone()
        assert is_running(keeper.claude_pid)
        with pytest.raises(LaunchFailed):
            launch({**keeper.spec, "run": 2})
        os.kill(keeper.claude_pid, signal.SIGKILL)
        wait_until(lambda: lock_is_free(session_dir), what="the lock")
        with KeeperProcess(session_dir, CAT, run=2) as next_keeper:
            assert JournalReader(str(session_dir)).runs() == [1, 2]
            assert next_keeper.link().hello["run"] == 2


@pytest.mark.req("PS-6", "INV-7")
def test_claude_gets_sigterm_when_its_keeper_is_killed_and_the_journal_has_all_it_forwarded(session_dir: Path) -> None:
    script = "import time\nfor n in range(50_000): print(n, flush=True)\ntime.sleep(600)"
    with scripted_child(session_dir, script) as keeper:
        link = keeper.link().attach()
        link.until(
            lambda: link.out.endswith(b"49999\n"), what="the output; claude is idle now and meets no closed pipe"
        )
        keeper.signal(signal.SIGKILL)
        wait_until(lambda: not is_running(keeper.claude_pid), what="the end of claude")
        wait_until(lambda: lock_is_free(session_dir), what="the lock")
        while not link.closed:
            link.receive(1.0)
        reader = JournalReader(str(session_dir))
        assert reader.read(1, 0, 1 << 30)[: len(link.out)] == link.out
        assert not keeper.path("exit").exists()
        run_file = json.loads(keeper.path("run").read_bytes())
        assert (run_file["claude_pid"], run_file["mark"]) == (keeper.claude_pid, keeper.spec["mark"])


LOOK = """
import json, os, signal
status = open("/proc/self/status").read()
print(json.dumps({
    "fds": {fd: os.readlink(p) for fd in os.listdir("/proc/self/fd") if os.path.exists(p := f"/proc/self/fd/{fd}")},
    "ignored": int(status.partition("SigIgn:")[2].split()[0], 16),
    "blocked": int(status.partition("SigBlk:")[2].split()[0], 16),
    "umask": os.umask(0), "env": dict(os.environ), "cwd": os.getcwd(), "leader": os.getsid(0) == os.getpid(),
}), flush=True)
import sys; sys.stdin.read()
"""


@pytest.mark.req("PS-10", "PS-9")
def test_claude_starts_with_a_clean_slate_and_the_lock(session_dir: Path) -> None:
    before = os.umask(0o027)
    try:
        keeper = KeeperProcess(
            session_dir, ["/bin/sh", "-c", 'exec "$@"', "sh", sys.executable, "-I", "-S", "-c", LOOK]
        )
    finally:
        os.umask(before)
    with keeper:
        link = keeper.link().attach()
        link.until(lambda: link.out.endswith(b"\n"), what="what claude sees")
        seen = json.loads(bytes(link.out))
    files = [target for fd, target in seen["fds"].items() if int(fd) > 2]
    assert files == [str(session_dir / "lock")]
    by_python = 1 << (signal.SIGPIPE - 1) | 1 << (signal.SIGXFSZ - 1)  # any Python ignores these two, this child too
    by_libc = 1 << 31 | 1 << 32  # signals 32 and 33, which no program can set and which come as they were inherited
    assert (seen["ignored"] & ~(by_python | by_libc), seen["blocked"], seen["umask"]) == (0, 0, 0o027)
    assert seen["cwd"] == str(session_dir)
    assert seen["leader"]
    assert seen["env"].pop("SESSION_KEEPER_MARK") == keeper.spec["mark"]
    assert {name for name in seen["env"] if name not in ("PWD", "SHLVL", "_", "LC_CTYPE", "OLDPWD")} == {"PATH"}


@pytest.mark.req("PS-12")
@pytest.mark.parametrize(
    "change, code, errno",
    [
        ({"argv": ["/does/not/exist"]}, "spawn_failed", 2),
        ({"argv": ["not-on-the-path"]}, "spawn_failed", 2),
        ({"cwd": "/does/not/exist"}, "spawn_failed", 2),
        ({"argv": ["/etc/passwd"]}, "spawn_failed", 13),
        ({"socket": "/tmp/" + "s" * 200}, "socket_failed", None),
        ({"socket": "/etc/passwd"}, "socket_failed", 17),
        ({"argv": []}, "bad_spec", None),
        ({"session_dir": "/does/not/exist"}, "journal_failed", 2),
    ],
)
def test_a_start_that_fails_says_why_and_leaves_the_run_number_free(
    session_dir: Path, change: dict[str, object], code: str, errno: int | None
) -> None:
    spec: dict[str, object] = {"session_dir": str(session_dir), "argv": CAT, "socket": str(session_dir / "s")}
    spec |= {"run": 1, "env": {}, "cwd": "/", "generation": 1, "mark": "m"}
    with pytest.raises(LaunchFailed) as failed:
        launch(spec | change)
    assert (failed.value.fields["code"], failed.value.fields["errno"]) == (code, errno)
    assert failed.value.fields["hint"]
    assert failed.value.fields["message"]
    assert {path.name for path in session_dir.iterdir()} <= {"lock"}
    with KeeperProcess(session_dir, CAT) as keeper:
        keeper.link().attach().ping()


@pytest.mark.req("INV-7")
def test_a_run_number_is_never_used_twice_and_a_stale_socket_is_replaced(session_dir: Path) -> None:
    with KeeperProcess(session_dir, CAT) as keeper:
        os.kill(keeper.claude_pid, signal.SIGKILL)
        keeper.report()
        with pytest.raises(LaunchFailed) as failed:
            launch(keeper.spec)
        assert (failed.value.fields["code"], failed.value.fields["errno"]) == ("journal_failed", 17)
        assert keeper.path("0.out").exists()
        assert keeper.path("exit").exists()
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(str(session_dir / "s"))
    stale.close()
    with KeeperProcess(session_dir, CAT, run=2) as keeper:
        keeper.link().attach().ping()
        assert (session_dir / "s").stat().st_mode & 0o777 == 0o600


@pytest.mark.req("PS-6")
def test_a_keeper_goes_on_after_its_files_were_replaced_by_an_upgrade(session_dir: Path, tmp_path: Path) -> None:
    package = tmp_path / "betcode"
    shutil.copytree(Path(betcode.__file__).parent / "keeper", package / "keeper")
    shutil.copy(betcode.__file__, package)
    command = [sys.executable, "-I", "-S", str(package / "keeper" / "__main__.py")]
    with KeeperProcess(session_dir, CAT, command=command) as keeper:
        link = keeper.link()
        shutil.rmtree(package)
        link.attach().write("a", b"x")
        link.until(lambda: link.out == b"x\n", what="the echo")
        link.end("kill")
        link.until(lambda: link.exit, what="EXIT")
        assert keeper.report()["reason"] == "kill"
        assert not keeper.path("crash").exists()


# -- a claude that is of no use -----------------------------------------------------------------------------------

ENDLESS_LINE = "import os\nwhile True: os.write(1, b'x' * 65536)"
ENDLESS_OUTPUT = "import os\nwhile True: os.write(1, b'line\\n' * 10000)"
ON_AND_ON = """
import os, sys
for line in sys.stdin:
    os.write(1, b"x" * 60_000 + b"\\n")
"""
CLOSES = """
import os, signal, sys
signal.signal(signal.SIGTERM, lambda *_: os._exit(3))
sys.stdin.readline()
os.close(%d)
open("closed", "w").close()
while True: signal.pause()
"""


@pytest.mark.req("INV-8")
@pytest.mark.parametrize("script, reason", [(ENDLESS_LINE, "endless_line"), (ENDLESS_OUTPUT, "endless_output")])
@pytest.mark.parametrize("ignores", ["", "import signal; signal.signal(15, signal.SIG_IGN)\n"])
def test_a_claude_that_prints_without_an_end_is_ended_and_the_journal_stays_bounded(
    session_dir: Path, script: str, reason: str, ignores: str
) -> None:
    bounds = {"line_out_bytes_max": 3_000_000, "stretch_bytes_max": 5_000_000}
    with scripted_child(session_dir, ignores + script, **bounds) as keeper:
        link = keeper.link().attach()
        link.until(lambda: link.exit, what="EXIT")
        report = keeper.report()
        assert report["reason"] == reason
        most = (3_000_000 if reason == "endless_line" else 5_000_000) + (DRAIN_READS_MAX + 1) * READ_BYTES
        assert JournalReader(str(session_dir)).end(1) == report["out_end"] == len(link.out) <= most


@pytest.mark.req("INV-8")
def test_only_what_is_printed_without_being_asked_counts_as_endless(session_dir: Path) -> None:
    with scripted_child(session_dir, ON_AND_ON, stretch_bytes_max=100_000) as keeper:
        link = keeper.link().attach()
        for number in range(1, 11):
            link.write(f"line {number}", b"go on")
            link.until(lambda: len(link.out) == number * 60_001, what="the answer")  # noqa: B023
        link.end("close_stdin")
        link.until(lambda: link.exit, what="EXIT")
        assert (keeper.report()["reason"], keeper.report()["code"]) == ("close_stdin", 0)


@pytest.mark.req("PS-4")
@pytest.mark.parametrize("fd, reason", [(0, "stdin_closed"), (1, "stdout_closed")])
def test_a_claude_that_closes_a_pipe_and_lives_on_is_ended(session_dir: Path, fd: int, reason: str) -> None:
    with scripted_child(session_dir, CLOSES % fd) as keeper:
        link = keeper.link().attach()
        link.write("a", b"go")
        wait_until((session_dir / "closed").exists, what="the closing")
        if fd == 0:
            link.write("b", b"anybody there?")
            assert link.ack("b")["state"] == "failed"
        link.until(lambda: link.exit, what="EXIT")
        report = keeper.report()
        assert (report["reason"], report["code"]) == (reason, 3)
        assert float(str(report["ended_unix_s"])) - (session_dir / "closed").stat().st_mtime >= CLOSED_S_MAX - 1


@pytest.mark.req("PS-4")
def test_a_claude_that_closes_its_output_and_then_ends_by_itself_is_not_called_useless(session_dir: Path) -> None:
    with scripted_child(session_dir, "import os, time\nos.close(1)\ntime.sleep(0.3)\nos._exit(4)") as keeper:
        report = keeper.report()
        assert (report["reason"], report["code"]) == ("exited", 4)
