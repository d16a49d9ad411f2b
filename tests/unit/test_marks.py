"""The mark of a session: a second opinion that is exact or absent."""

from pathlib import Path

import pytest

from betcode.adapters.marks import SessionMarks, read_mark, write_mark
from betcode.model.errors import BetcodeError
from betcode.model.ids import SessionId
from betcode.model.rows import Mark


@pytest.mark.req("INV-2")
def test_the_newest_mark_is_read_back(tmp_path: Path) -> None:
    for seq in (1, 99, 100_000_000_000):
        write_mark(tmp_path, Mark(epoch=2, seq=seq, run=3, offset=2**63))
        assert read_mark(tmp_path) == Mark(epoch=2, seq=seq, run=3, offset=2**63)
    assert [p.name for p in tmp_path.iterdir()] == ["mark"]
    assert (tmp_path / "mark").stat().st_mode & 0o077 == 0


def test_without_a_file_there_is_no_mark(tmp_path: Path) -> None:
    assert read_mark(tmp_path) is None
    assert read_mark(tmp_path / "nowhere") is None


@pytest.mark.req("INV-2")
def test_a_damaged_mark_is_none_and_never_a_wrong_one(tmp_path: Path) -> None:
    write_mark(tmp_path, Mark(epoch=1, seq=27, run=3, offset=4096))
    mark = read_mark(tmp_path)
    assert mark is not None
    whole = (tmp_path / "mark").read_bytes()
    damaged = [whole[:n] for n in range(len(whole) - 1)]
    damaged += [whole[:n] + bytes([whole[n] ^ bit]) + whole[n + 1 :] for n in range(len(whole) - 1) for bit in (1, 128)]
    damaged += [bytes(len(whole)), b"-1 2 3 4 00000000\n", b"x" * 1000, "\u0661 2 3 4 5\n".encode()]
    for content in damaged:
        (tmp_path / "mark").write_bytes(content)
        assert read_mark(tmp_path) is None, content


def test_a_mark_that_cannot_be_written_leaves_the_old_one_and_says_so(tmp_path: Path) -> None:
    write_mark(tmp_path, Mark(epoch=1, seq=1, run=1, offset=1))
    (tmp_path / "mark.new").mkdir()
    with pytest.raises(BetcodeError) as raised:
        write_mark(tmp_path, Mark(epoch=1, seq=2, run=1, offset=2))
    assert raised.value.code == "store.failed"
    assert read_mark(tmp_path) == Mark(1, 1, 1, 1)


@pytest.mark.req("INV-2")
def test_each_session_that_ever_ran_has_its_own_mark(tmp_path: Path) -> None:
    marks = SessionMarks(tmp_path)
    for session in ("aaaaaaaaaa", "bbbbbbbbbb"):
        (tmp_path / session).mkdir()
        marks.write(SessionId(session), Mark(1, ord(session[0]), 1, 0))
    marks.write(SessionId("never-ran"), Mark(1, 1, 1, 1))
    assert marks.read(SessionId("aaaaaaaaaa")) == Mark(1, ord("a"), 1, 0)
    assert marks.read(SessionId("bbbbbbbbbb")) == Mark(1, ord("b"), 1, 0)
    assert marks.read(SessionId("never-ran")) is None
