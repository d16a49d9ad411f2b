"""A real keeper with a small scripted program in the place of claude: pipes, daemons, ends."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from betcode.keeper.journal import JournalReader
from betcode.keeper.limits import CONNECTIONS_MAX
from betcode.keeper.protocol import HEAD, Kind, frame, json_frame
from betcode.keeper.records import read_records
from betcode.testing.keeper_process import (
    KeeperLink,
    KeeperProcess,
    scripted_child,
    wait_until,
)

CAT = ["/bin/cat"]
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
    assert (link.hello["protocol"], link.hello["run"], link.hello["out_end"], link.hello["ended"]) == (
        [1, 1],
        1,
        0,
        False,
    )
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
    script = (
        "import sys\nfor n in range(30):\n sys.stdout.write((str(n) + 'x' * 99 + '\\n') * 10_000)\nsys.stdin.read()"
    )
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
    script = (
        "import sys, hashlib\nfor line in sys.stdin.buffer: print(len(line), hashlib.md5(line).hexdigest(), flush=True)"
    )
    with scripted_child(session_dir, script) as keeper:
        link = keeper.link().attach()
        link.write("big", b"y" * 5_000_000)
        link.write("small", b"z")
        link.until(lambda: link.out.count(b"\n") == 2, what="both lines")
        assert [int(line.split()[0]) for line in link.out.splitlines()] == [5_000_001, 2]
        assert link.ack("big")["result"] == link.ack("small")["result"] == "written"


@pytest.mark.req("INV-1")
def test_a_line_that_claude_cannot_take_any_more_has_failed(session_dir: Path) -> None:
    with scripted_child(
        session_dir, "import os, time\nos.close(0)\nprint('closed', flush=True)\ntime.sleep(600)"
    ) as keeper:
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
    assert first.refused is not None
    assert first.refused["code"] == "older_generation"
    first.until(lambda: first.closed, what="the close")
    second.write("b", b"two")
    second.until(lambda: second.out == b"one\ntwo\n", what="both lines")


@pytest.mark.req("PS-6", "INV-7")
def test_an_older_daemon_is_refused_and_the_attached_one_stays(cat: KeeperProcess) -> None:
    attached = cat.link().attach(generation=5)
    attached.ping()
    late = cat.link()
    assert late.hello["generation"] == 5
    late.attach(generation=4)
    late.until(lambda: late.refused, what="REFUSED")
    assert late.refused is not None
    assert late.refused["code"] == "older_generation"
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
    assert bad.refused is not None
    assert bad.refused["code"] == "bad_protocol"
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
