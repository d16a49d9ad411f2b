"""The order of things inside the keeper: durable before written, in the journal before forwarded, no byte twice."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from betcode.keeper.connection import Connection
from betcode.keeper.decide import Ack
from betcode.keeper.files import Files
from betcode.keeper.journal import Journal
from betcode.keeper.limits import CONTROL_BACKLOG_BYTES_MAX, FLUSH_FRAMES_MAX, OUT_FRAME_BYTES_MAX
from betcode.keeper.poller import Poller
from betcode.keeper.protocol import FrameReader, Kind, out_payload
from betcode.keeper.records import StdinRecords, read_records
from betcode.keeper.stdin_pipe import StdinPipe

PIPE_BYTES = 65_536  # what Linux keeps in a pipe


class Stdin:
    """A StdinPipe on a real pipe; intents become durable when the test says so."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.read_fd, write_fd = os.pipe()
        os.set_blocking(self.read_fd, False)
        os.set_blocking(write_fd, False)
        self.poller = Poller()
        self.syncs: list[str] = []
        self.acks: list[tuple[int, Ack]] = []
        self.pipe = StdinPipe(
            write_fd,
            poller=self.poller,
            records=StdinRecords(str(folder), 1, files=Files()),
            sync_intent=self.syncs.append,
            reply=lambda asker, ack: self.acks.append((asker, ack)),
            out_end=lambda: 0,
            clock_unix_s=lambda: 0.0,
        )

    def arrived(self) -> bytes:
        try:
            return os.read(self.read_fd, 1 << 20)
        except BlockingIOError:
            return b""

    def states(self) -> list[object]:
        return [record["state"] for record in read_records(str(self.folder / "1.in"))]


@pytest.fixture
def stdin(tmp_path: Path) -> Iterator[Stdin]:
    stdin = Stdin(tmp_path)
    yield stdin
    stdin.pipe.gone()
    os.close(stdin.read_fd)


@pytest.mark.req("INV-1")
def test_not_a_byte_is_written_before_the_intent_is_durable(stdin: Stdin) -> None:
    stdin.pipe.ask(1, "a", b"line\n")
    assert (stdin.syncs, stdin.states(), stdin.arrived(), stdin.acks) == (["a"], ["intent"], b"", [])
    stdin.pipe.intent_synced("a", 0)
    assert (stdin.arrived(), stdin.states()) == (b"line\n", ["intent", "done"])
    assert [(asker, ack.result) for asker, ack in stdin.acks] == [(1, "written")]


@pytest.mark.req("INV-1")
def test_a_line_whose_intent_could_not_be_made_durable_is_never_written(stdin: Stdin) -> None:
    stdin.pipe.ask(1, "a", b"first\n")
    stdin.pipe.ask(1, "b", b"second\n")
    stdin.pipe.intent_synced("a", 5)
    assert [(ack.line_id, ack.reason) for _, ack in stdin.acks] == [("a", "intent_failed")]
    stdin.pipe.intent_synced("b", 0)
    assert stdin.arrived() == b"second\n"
    assert [record["id"] for record in read_records(str(stdin.folder / "1.in"))] == ["b", "b"]


@pytest.mark.req("INV-1")
def test_a_sync_that_ends_after_stdin_has_gone_writes_nothing(stdin: Stdin) -> None:
    stdin.pipe.ask(1, "a", b"line\n")
    stdin.pipe.gone()
    stdin.pipe.intent_synced("a", 0)
    assert (stdin.arrived(), stdin.states()) == (b"", ["intent", "failed"])
    assert [(ack.result, ack.state) for _, ack in stdin.acks] == [("refused", "failed")]


@pytest.mark.req("INV-1")
def test_a_half_written_line_is_completed_before_the_next_one_begins(stdin: Stdin) -> None:
    big = b"y" * 1_000_000 + b"\n"
    stdin.pipe.ask(1, "a", big)
    stdin.pipe.ask(1, "b", b"next\n")
    stdin.pipe.intent_synced("a", 0)
    arrived = b""
    while len(arrived) < len(big):
        assert not stdin.acks or len(big) - len(arrived) <= PIPE_BYTES
        arrived += stdin.arrived()
        stdin.poller.wait(1.0)
    assert arrived == big
    stdin.pipe.intent_synced("b", 0)
    assert stdin.arrived() == b"next\n"


class Peer:
    """A Connection to a real socket, with the journal it reads from."""

    def __init__(self, folder: Path) -> None:
        self.journal = Journal(str(folder), 1, segment_bytes=1 << 20, files=Files())
        ours, self.theirs = socket.socketpair()
        ours.setblocking(False)
        self.theirs.setblocking(False)
        self.connection = Connection(ours, 1, idle_since=0.0)
        self.reader = FrameReader()

    def grow(self, stdout: bytes) -> None:
        start = self.journal.end
        self.journal.append(stdout)
        self.connection.forward(start, stdout)

    def frames(self) -> list[tuple[int, bytes]]:
        try:
            return self.reader.feed(self.theirs.recv(1 << 24))
        except BlockingIOError:
            return []

    def take_all(self) -> bytes:
        """All of stdout that can be had now, checked to be gapless."""
        out = b""
        for _ in range(1000):
            self.connection.flush(self.journal)
            for kind, payload in self.frames():
                assert kind == Kind.OUT
                offset, stdout = out_payload(payload)
                assert offset == len(out)
                out += stdout
        return out


@pytest.fixture
def peer(tmp_path: Path) -> Iterator[Peer]:
    peer = Peer(tmp_path)
    yield peer
    peer.connection.close()
    peer.theirs.close()


@pytest.mark.req("INV-2")
def test_new_output_never_overtakes_what_a_connection_still_has_to_read(peer: Peer) -> None:
    peer.grow(b"before\n")
    peer.connection.attach(0)
    peer.grow(b"after\n")
    assert peer.frames() == []
    assert peer.take_all() == b"before\nafter\n"


@pytest.mark.req("INV-2", "INV-8")
def test_a_socket_that_takes_nothing_keeps_one_frame_in_memory_and_loses_nothing(peer: Peer) -> None:
    peer.connection.attach(0)
    for _ in range(100):
        peer.grow(b"x" * 65_535 + b"\n")
    assert len(peer.connection._backlog) <= OUT_FRAME_BYTES_MAX + 20
    assert not peer.connection._control
    assert peer.take_all() == peer.journal.read(0, 1) * 65_535 + b"\n" + (b"x" * 65_535 + b"\n") * 99


@pytest.mark.req("INV-4")
def test_one_connection_gets_a_bounded_share_of_a_round(peer: Peer) -> None:
    for _ in range(100):
        peer.grow(b"x" * 65_535 + b"\n")
    peer.theirs.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 24)
    peer.connection.attach(0)
    peer.connection.flush(peer.journal)
    assert peer.connection._position <= FLUSH_FRAMES_MAX * OUT_FRAME_BYTES_MAX
    assert peer.connection.has_more(peer.journal)


@pytest.mark.req("INV-8")
def test_answers_that_nobody_takes_stop_the_reading_of_that_connection(peer: Peer) -> None:
    peer.connection.attach(0)
    pushed = 0
    while peer.connection.reads:
        peer.connection.push(Kind.ACK, {"id": "x" * 1000})
        pushed += 1
        assert pushed < 2 * CONTROL_BACKLOG_BYTES_MAX // 1000
    while peer.connection.has_more(peer.journal):
        peer.connection.flush(peer.journal)
        pushed -= len(peer.frames())
    assert pushed == 0
    assert peer.connection.reads


@pytest.mark.req("INV-8")
def test_stderr_that_was_dropped_is_told_even_if_none_follows(peer: Peer) -> None:
    peer.connection.attach(0)
    for _ in range(100):
        peer.connection.push_stderr(b"e" * 65_536)
    received = b""
    for _ in range(1000):
        peer.connection.flush(peer.journal)
        received += b"".join(payload for _, payload in peer.frames())
    kept = received.count(b"e" * 65_536)
    assert b"[keeper: %d bytes of stderr were not forwarded]" % ((100 - kept) * 65_536) in received
    assert kept < 100


@pytest.mark.req("PS-6")
def test_a_refused_connection_gets_the_rest_of_its_frame_and_the_refusal_and_nothing_else(peer: Peer) -> None:
    peer.connection.attach(0)
    while not peer.connection._backlog:
        peer.grow(b"x" * 65_536)
    end = peer.connection._position
    peer.connection.push(Kind.BEAT, {})
    peer.connection.refuse("older_generation", "why")
    peer.grow(b"too late")
    kinds = []
    out_bytes = 0
    for _ in range(1000):
        peer.connection.flush(peer.journal)
        for kind, payload in peer.frames():
            kinds.append(kind)
            out_bytes += len(out_payload(payload)[1]) if kind == Kind.OUT else 0
    assert out_bytes == end
    assert kinds[-1] == Kind.REFUSED
    assert set(kinds[:-1]) == {Kind.OUT}
