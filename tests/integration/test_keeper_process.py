"""A real keeper with a small scripted program in the place of claude: pipes, daemons, ends."""

import fcntl
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
from betcode.keeper.limits import CONNECTIONS_MAX
from betcode.keeper.protocol import HEAD, Kind, frame, json_frame
from betcode.keeper.records import read_records
from betcode.testing.keeper_process import (
    KeeperLink,
    KeeperProcess,
    LaunchFailed,
    is_running,
    launch,
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
RSS_KIB_MAX = 16 * 1024


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


def _rss_kib(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0])


def _lock_is_free(session_dir: Path) -> bool:
    with (session_dir / "lock").open() as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


# -- stdout and stdin -------------------------------------------------------------------------------------------


@pytest.mark.req("PS-6")
def test_a_line_goes_to_claude_and_its_output_comes_back_and_is_in_the_journal(cat: KeeperProcess) -> None:
    link = cat.link().attach()
    link.write("a", b"hello")
    assert link.ack("a") == {"id": "a", "result": "written", "state": "done", "out_offset": 0, "reason": None}
    link.until(lambda: link.out == b"hello\n", what="the echo")
    assert JournalReader(str(cat.session_dir)).read(1, 0, 100) == b"hello\n"
    records = read_records(str(cat.path("in")))
    assert [(r["id"], r["state"], r["bytes"]) for r in records] == [("a", "intent", 6), ("a", "done", 6)]
    assert link.hello is not None
    assert (link.hello["protocol"], link.hello["run"], link.hello["out_end"], link.hello["ended"]) == ([1, 1], 1, 0, False)
    assert (link.hello["keeper_pid"], link.hello["claude_pid"]) == (cat.keeper_pid, cat.claude_pid)


@pytest.mark.req("PS-6", "INV-2")
def test_a_daemon_that_comes_back_gets_the_rest_from_its_offset(cat: KeeperProcess) -> None:
    first = cat.link().attach()
    first.write("a", b"0123456789")
    first.until(lambda: len(first.out) == 11, what="the echo")
    first.close()
    second = cat.link().attach(from_offset=4)
    second.write("b", b"more")
    second.until(lambda: len(second.out) == 12, what="both echoes")
    assert second.out == b"456789\nmore\n"


@pytest.mark.req("INV-1", "PS-6")
def test_a_line_sent_again_after_a_lost_connection_is_written_once(cat: KeeperProcess) -> None:
    first = cat.link().attach()
    first.write("a", b"once")
    first.close()  # before its ACK could be read
    second = cat.link().attach()
    second.write("a", b"once")
    second.write("a", b"another body")
    second.write("z", b"end")
    second.until(lambda: second.out.endswith(b"end\n"), what="the last line")
    assert second.out == b"once\nend\n"
    answers = {second.ack("a", number=number)["reason"]: second.ack("a", number=number)["state"] for number in (1, 2)}
    assert answers == {None: "done", "conflict": None}


@pytest.mark.req("INV-8", "INV-4")
def test_a_daemon_that_does_not_read_costs_no_memory_and_holds_nothing_up(session_dir: Path) -> None:
    script = "import sys\nfor n in range(30):\n sys.stdout.write((str(n) + 'x' * 99 + '\\n') * 10_000)\nsys.stdin.read()"
    with scripted_child(session_dir, script, segment_bytes=5_000_000) as keeper:
        link = keeper.link().attach()
        reader = JournalReader(str(session_dir))
        size = 10_000 * sum(len(f"{n}") + 100 for n in range(30))
        wait_until(lambda: reader.end(1) == size, what="all output in the journal")
        assert _rss_kib(keeper.keeper_pid) <= RSS_KIB_MAX
        link.until(lambda: len(link.out) == size, what="all output")
        assert link.out == reader.read(1, 0, size)
        assert len(reader.segments(1)) == size // 5_000_000 + 1
        assert _rss_kib(keeper.keeper_pid) <= RSS_KIB_MAX


@pytest.mark.req("INV-1")
def test_a_line_larger_than_the_pipe_arrives_whole_and_the_next_one_after_it(session_dir: Path) -> None:
    script = "import sys, hashlib\nfor line in sys.stdin.buffer: print(len(line), hashlib.md5(line).hexdigest(), flush=True)"
    with scripted_child(session_dir, script) as keeper:
        link = keeper.link().attach()
        link.write("big", b"y" * 5_000_000)
        link.write("small", b"z")
        link.until(lambda: link.out.count(b"\n") == 2, what="both lines")
        assert [int(line.split()[0]) for line in link.out.splitlines()] == [5_000_001, 2]
        assert link.ack("big")["result"] == link.ack("small")["result"] == "written"


@pytest.mark.req("INV-1")
def test_a_line_that_claude_cannot_take_any_more_has_failed(session_dir: Path) -> None:
    with scripted_child(session_dir, "import os, time\nos.close(0)\nprint('closed', flush=True)\ntime.sleep(600)") as keeper:
        link = keeper.link().attach()
        link.until(lambda: link.out, what="the closing of stdin")
        link.write("a", b"x")
        ack = link.ack("a")
        assert (ack["result"], ack["state"], ack["reason"]) == ("refused", "failed", "stdin_closed")
        assert [record["state"] for record in read_records(str(keeper.path("in")))] == ["intent", "failed"]


@pytest.mark.req("INV-4")
def test_stderr_is_passed_on_and_never_blocks_claude(session_dir: Path) -> None:
    script = "import sys\nsys.stderr.write('e' * 5_000_000 + '\\nlast\\n')\nprint('done', flush=True)\nsys.stdin.read()"
    with scripted_child(session_dir, script) as keeper:
        link = keeper.link().attach()
        wait_until(lambda: JournalReader(str(session_dir)).end(1), what="the line after stderr")
        link.until(lambda: link.err.endswith(b"last\n") or b"not forwarded]" in link.err, what="stderr, or a note")
        assert _rss_kib(keeper.keeper_pid) <= RSS_KIB_MAX


# -- who is attached --------------------------------------------------------------------------------------------


@pytest.mark.req("PS-6", "INV-7")
@pytest.mark.parametrize("newer", [5, 6])
def test_a_later_daemon_displaces_the_one_before_which_can_write_nothing_more(cat: KeeperProcess, newer: int) -> None:
    first = cat.link().attach(generation=5)
    first.write("a", b"one")
    first.ack("a")
    second = cat.link().attach(generation=newer)
    first.until(lambda: first.refused, what="REFUSED")
    assert first.refused is not None and first.refused["code"] == "older_generation"
    first.until(lambda: first.closed, what="the close")
    second.write("b", b"two")
    second.until(lambda: second.out == b"one\ntwo\n", what="both lines")


@pytest.mark.req("PS-6", "INV-7")
def test_an_older_daemon_is_refused_and_the_attached_one_stays(cat: KeeperProcess) -> None:
    attached = cat.link().attach(generation=5)
    attached.ping()
    late = cat.link()
    assert late.hello is not None and late.hello["generation"] == 5
    late.attach(generation=4)
    late.until(lambda: late.refused, what="REFUSED")
    assert late.refused is not None and late.refused["code"] == "older_generation"
    attached.write("a", b"still here")
    assert attached.ack("a")["result"] == "written"


@pytest.mark.req("INV-8")
@pytest.mark.parametrize(
    "broken",
    [
        HEAD.pack(1 << 31, Kind.STDIN),
        frame(Kind.STDIN, b"\0\1ax"),
        frame(Kind.PING),
        frame(Kind.ATTACH, b"{"),
        json_frame(Kind.ATTACH, {"protocol": 1}),
        json_frame(Kind.ATTACH, {"protocol": 1, "generation": 1, "from": 0}) + json_frame(Kind.END, {"how": "softly"}),
    ],
)
def test_a_connection_that_breaks_the_protocol_is_told_and_closed_alone(cat: KeeperProcess, broken: bytes) -> None:
    bad = cat.link()
    bad.send(broken)
    bad.until(lambda: bad.closed, what="the close")
    assert bad.refused is not None and bad.refused["code"] == "bad_protocol"
    good = cat.link().attach()
    good.send(frame(200, b"from the future"))
    good.write("a", b"x")
    assert good.ack("a")["result"] == "written"


@pytest.mark.req("INV-8")
def test_idle_connections_cannot_keep_a_daemon_out(cat: KeeperProcess) -> None:
    attached = cat.link().attach()
    attached.ping()
    idle = [cat.link() for _ in range(2 * CONNECTIONS_MAX)]
    assert len(os.listdir(f"/proc/{cat.keeper_pid}/fd")) < 2 * CONNECTIONS_MAX + 20
    idle[0].until(lambda: idle[0].closed, what="the close of the oldest idle one")
    attached.ping()
    newest = cat.link().attach(generation=2)
    newest.ping()


# -- the end ----------------------------------------------------------------------------------------------------


@pytest.mark.req("PS-3", "PS-6")
def test_the_exit_report_tells_how_claude_ended_and_is_the_last_frame(session_dir: Path) -> None:
    script = "import sys\nprint('out')\nprint('trouble\\nmore', file=sys.stderr)\nsys.stdin.readline()\nprint('late')\nsys.exit(7)"
    with scripted_child(session_dir, script) as keeper:
        link = keeper.link().attach()
        link.write("a", b"go")
        link.until(lambda: link.closed, what="the end")
        report = keeper.report()
        assert link.exit == report
        assert link.out == b"out\nlate\n"
        assert (report["code"], report["signal"], report["reason"], report["run"]) == (7, None, "exited", 1)
        assert (report["stderr_tail"], report["out_end"]) == (["trouble", "more"], 9)
        assert int(str(report["peak_rss_bytes"])) > 1_000_000 and float(str(report["cpu_s"])) > 0
        assert float(str(report["started_unix_s"])) <= float(str(report["ended_unix_s"]))
        assert {path.name for path in session_dir.iterdir()} == {"lock", "1.0.out", "1.in", "1.run", "1.exit"}
        wait_until(lambda: _lock_is_free(session_dir), what="the lock")


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
    assert link.out.endswith(b"y\nlast\n") and len(link.out) == 3_000_001 + 5
    assert link.ack("c")["reason"] == "stdin_closed"
    report = cat.report()
    assert (report["code"], report["reason"]) == (0, "close_stdin")


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
        wait_until(lambda: _lock_is_free(session_dir), what="the lock")
        with KeeperProcess(session_dir, CAT, run=2) as next_keeper:
            assert JournalReader(str(session_dir)).runs() == [1, 2]
            assert next_keeper.link().hello is not None


@pytest.mark.req("PS-6", "INV-7")
@pytest.mark.skipif(sys.platform != "linux", reason="PDEATHSIG is Linux only")
def test_claude_gets_sigterm_when_its_keeper_is_killed_and_the_journal_has_all_it_forwarded(session_dir: Path) -> None:
    script = "import time\nfor n in range(10**9): print(n, flush=True)"
    with scripted_child(session_dir, script) as keeper:
        link = keeper.link().attach()
        link.until(lambda: len(link.out) > 100_000, what="a good deal of output")
        keeper.signal(signal.SIGKILL)
        wait_until(lambda: not is_running(keeper.claude_pid), what="the end of claude")
        wait_until(lambda: _lock_is_free(session_dir), what="the lock")
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
    "fds": {int(fd): os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{fd}")},
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
        keeper = KeeperProcess(session_dir, ["/bin/sh", "-c", 'exec "$@"', "sh", sys.executable, "-I", "-S", "-c", LOOK])
    finally:
        os.umask(before)
    with keeper:
        link = keeper.link().attach()
        link.until(lambda: link.out.endswith(b"\n"), what="what claude sees")
        seen = json.loads(bytes(link.out))
    files = [target for fd, target in seen["fds"].items() if int(fd) > 2]
    assert files == [str(session_dir / "lock")]
    sigpipe_by_python = 1 << (signal.SIGPIPE - 1) | 1 << (signal.SIGXFSZ - 1)  # the child itself, a Python, ignores these
    assert (seen["ignored"] & ~sigpipe_by_python, seen["blocked"], seen["umask"]) == (0, 0, 0o027)
    assert seen["cwd"] == str(session_dir) and seen["leader"]
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
    assert failed.value.fields["hint"] and failed.value.fields["message"]
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
        assert keeper.path("0.out").exists() and keeper.path("exit").exists()
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


@pytest.mark.req("PS-6")
def test_twenty_daemons_in_turn_lose_and_double_nothing(session_dir: Path) -> None:
    script = "import sys\nfor line in sys.stdin: print('got', line, end='', flush=True)"
    with scripted_child(session_dir, script) as keeper:
        have = b""
        for generation in range(1, 21):
            link: KeeperLink = keeper.link().attach(generation=generation, from_offset=len(have))
            for line in range(generation):  # what was asked before is asked again, the last line is new
                link.write(f"id-{line}", f"line {line}".encode())
            link.receive(1.0)
            have += bytes(link.out)
            link.close()
        last = keeper.link().attach(generation=21, from_offset=len(have))
        for line in range(20):
            last.write(f"id-{line}", f"line {line}".encode())
        last.until(lambda: (have + last.out).count(b"\n") == 20, what="all lines")
        assert have + last.out == b"".join(b"got line %d\n" % line for line in range(20))
