"""The journal: any chunking reads back the same, whole lines a file, and losses are told, never skipped."""

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from betcode.keeper.files import Files
from betcode.keeper.journal import Journal, JournalGap, JournalReader

CHUNKS = st.lists(st.binary(max_size=12) | st.sampled_from([b"\n", b"a\nb", b"line\n"]), max_size=20)


def _read_all(reader: JournalReader, run: int, step: int) -> bytes:
    content = b""
    while piece := reader.read(run, len(content), step):
        content += piece
    return content


@pytest.mark.req("INV-2", "PS-6")
@given(CHUNKS, st.integers(1, 20), st.integers(1, 9))
def test_any_chunking_reads_back_the_same_from_any_offset(chunks: list[bytes], segment_bytes: int, step: int) -> None:
    with tempfile.TemporaryDirectory() as directory:
        journal = Journal(directory, 3, segment_bytes=segment_bytes, files=Files())
        for chunk in chunks:
            journal.append(chunk)
        whole = b"".join(chunks)
        reader = JournalReader(directory)
        assert journal.end == reader.end(3) == len(whole)
        assert _read_all(reader, 3, step) == whole
        for offset in range(len(whole)):
            piece = journal.read(offset, step)
            assert piece
            assert piece == whole[offset : offset + len(piece)]
            assert reader.read(3, offset, step) == whole[offset : offset + step]
        _close(journal)


@pytest.mark.req("INV-8")
@given(CHUNKS, st.integers(1, 20))
def test_a_new_file_begins_at_a_line_end_as_soon_as_the_old_one_is_full(
    chunks: list[bytes], segment_bytes: int
) -> None:
    with tempfile.TemporaryDirectory() as directory:
        journal = Journal(directory, 1, segment_bytes=segment_bytes, files=Files())
        for chunk in chunks:
            journal.append(chunk)
        whole = b"".join(chunks)
        segments = JournalReader(directory).segments(1)
        for start, _ in segments[1:]:
            assert whole[start - 1 : start] == b"\n"
        for start, length in segments:
            assert b"\n" not in whole[start + segment_bytes - 1 : start + length - 1], "an earlier line end was missed"
        _close(journal)


def _close(journal: Journal) -> None:
    for fd in (journal.fd, *journal.take_retired()):
        os.close(fd)
    if journal._old is not None:
        os.close(journal._old[1])


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    journal = Journal(str(tmp_path), 1, segment_bytes=4, files=Files())
    journal.append(b"one\n")
    journal.append(b"two\n")
    journal.append(b"three\n")
    return journal


@pytest.mark.req("INV-2")
def test_an_offset_beyond_the_end_is_a_gap_and_the_end_itself_is_not(tmp_path: Path, journal: Journal) -> None:
    reader = JournalReader(str(tmp_path))
    assert reader.read(1, journal.end, 10) == b""
    with pytest.raises(JournalGap) as gap:
        reader.read(1, journal.end + 1, 10)
    assert gap.value.resume_at is None


@pytest.mark.req("INV-2")
@pytest.mark.parametrize("lost, offset, resume_at", [("1.0.out", 0, 4), ("1.4.out", 4, 8), ("1.4.out", 5, 8)])
def test_a_lost_file_is_a_gap_that_says_where_the_journal_goes_on(
    tmp_path: Path, journal: Journal, lost: str, offset: int, resume_at: int
) -> None:
    (tmp_path / lost).unlink()
    with pytest.raises(JournalGap) as gap:
        JournalReader(str(tmp_path)).read(1, offset, 100)
    assert (gap.value.offset, gap.value.resume_at) == (offset, resume_at)


@pytest.mark.req("INV-2")
def test_a_cut_file_gives_what_it_has_and_then_the_gap(tmp_path: Path, journal: Journal) -> None:
    os.truncate(tmp_path / "1.4.out", 2)
    reader = JournalReader(str(tmp_path))
    assert reader.read(1, 0, 100) == b"one\ntw"
    with pytest.raises(JournalGap):
        reader.read(1, 6, 100)


@pytest.mark.req("INV-2")
def test_a_connection_that_needs_a_removed_file_is_told(tmp_path: Path, journal: Journal) -> None:
    (tmp_path / "1.0.out").unlink()
    with pytest.raises(FileNotFoundError):
        journal.read(0, 10)
    os.truncate(tmp_path / "1.4.out", 1)
    with pytest.raises(JournalGap):
        journal.read(6, 10)


@pytest.mark.req("INV-7")
def test_a_run_number_is_never_used_twice(tmp_path: Path, journal: Journal) -> None:
    with pytest.raises(FileExistsError):
        Journal(str(tmp_path), 1, segment_bytes=4, files=Files())


@pytest.mark.req("PS-6")
def test_the_reader_lists_runs_that_left_any_file(tmp_path: Path, journal: Journal) -> None:
    for name in ("2.in", "10.exit", "3.run", "lock", "mark", "7.exit.new", "x.0.out"):
        (tmp_path / name).touch()
    assert JournalReader(str(tmp_path)).runs() == [1, 2, 3, 7, 10]
    assert JournalReader(str(tmp_path)).end(2) == 0
    assert JournalReader(str(tmp_path)).read(2, 0, 10) == b""


@pytest.mark.req("SQ-9")
def test_more_bytes_are_not_taken_while_older_ones_wait(tmp_path: Path) -> None:
    class Full(Files):
        def pwrite(self, fd: int, content: bytes, offset: int) -> int:
            raise OSError(28, "full")

    journal = Journal(str(tmp_path), 1, segment_bytes=4, files=Full())
    journal.append(b"x")
    assert (journal.blocked, journal.end, journal.unwritten) == (28, 0, b"x")
    with pytest.raises(ValueError, match="blocked"):
        journal.append(b"y")


@pytest.mark.req("SE-3")
def test_files_are_readable_by_their_owner_only(tmp_path: Path, journal: Journal) -> None:
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}
