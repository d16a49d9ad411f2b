"""Transcripts are found and read from the disk, whatever its state."""

import os
import threading
import tracemalloc
from pathlib import Path

import pytest

from betcode.adapters.transcripts import has_transcript, read_conversation
from betcode.model import limits
from betcode.model.conversation import Conversation
from betcode.model.errors import BetcodeError

RECORDED = Path(__file__).parents[1] / "recordings" / "transcripts"
COMPLETED = (RECORDED / "completed.jsonl").read_bytes()
NAME = "848f2f36-526d-4392-92c0-d7b4aab54390"


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    (tmp_path / ".claude" / "projects" / "-home-user-project").mkdir(parents=True)
    return {"HOME": str(tmp_path)}


def transcript(env: dict[str, str], folder: str = "-home-user-project") -> Path:
    path = Path(env["HOME"], ".claude", "projects", folder, f"{NAME}.jsonl")
    path.parent.mkdir(exist_ok=True)
    return path


@pytest.mark.req("PS-5")
def test_a_stored_conversation_is_found_in_whatever_folder_it_was_begun(env: dict[str, str]) -> None:
    transcript(env, "-home-user-elsewhere").write_bytes(COMPLETED)
    found = read_conversation(env, NAME)
    assert has_transcript(env, NAME)
    assert (found.found, found.whole, found.size, found.answered) == (True, True, len(COMPLETED), True)
    assert len(found.calls) == len(found.results) == len(found.messages) == 1


@pytest.mark.req("PS-5")
@pytest.mark.parametrize("state", ["no file", "empty file", "no folder", "no home", "home is a file", "broken link"])
def test_where_nothing_is_stored_there_is_no_conversation(env: dict[str, str], tmp_path: Path, state: str) -> None:
    match state:
        case "empty file":
            transcript(env).touch()
        case "no folder":
            env["CLAUDE_CONFIG_DIR"] = str(tmp_path)
        case "no home":
            env["HOME"] = str(tmp_path / "gone")
        case "home is a file":
            (tmp_path / "file").touch()
            env["HOME"] = str(tmp_path / "file")
        case "broken link":
            transcript(env).symlink_to(tmp_path / "gone")
        case _:
            (tmp_path / ".claude" / "projects" / "a file").touch()
    assert read_conversation(env, NAME) == Conversation()
    assert not has_transcript(env, NAME)


def test_a_configuration_directory_of_its_own_is_looked_into(env: dict[str, str], tmp_path: Path) -> None:
    other = tmp_path / "other"
    (other / "projects" / "-p").mkdir(parents=True)
    (other / "projects" / "-p" / f"{NAME}.jsonl").write_bytes(COMPLETED)
    assert not read_conversation(env, NAME).found
    assert read_conversation(env | {"CLAUDE_CONFIG_DIR": str(other)}, NAME).found


def test_of_several_copies_the_one_written_last_counts(env: dict[str, str]) -> None:
    for folder, name, time in [("-a", "completed", 3), ("-b", "interrupted", 2), ("-c", "tool_running", 1)]:
        path = transcript(env, folder)
        path.write_bytes((RECORDED / f"{name}.jsonl").read_bytes())
        os.utime(path, (time, time))
    assert read_conversation(env, NAME).answered


@pytest.mark.req("PS-5")
def test_of_a_long_transcript_the_newest_part_is_read_and_absence_proves_nothing(
    env: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    transcript(env).write_bytes(COMPLETED)
    monkeypatch.setattr(limits, "TRANSCRIPT_READ_BYTES_MAX", len(COMPLETED) - 1)
    found = read_conversation(env, NAME)
    assert (found.found, found.whole, found.size, found.answered) == (True, False, len(COMPLETED), True)
    for newest in range(1, len(COMPLETED), 97):
        monkeypatch.setattr(limits, "TRANSCRIPT_READ_BYTES_MAX", newest)
        part = read_conversation(env, NAME)
        assert not part.whole
        assert not part.damaged, "the half line at the beginning of what is read is no damage"
        assert part.messages <= found.messages


@pytest.mark.req("PS-5")
def test_a_line_of_ten_megabytes_is_read(env: dict[str, str]) -> None:
    text = b"a\\n" * (limits.PROMPT_BYTES_MAX // 2)
    entry = b'{"type":"user","uuid":"long","promptSource":"sdk","message":{"role":"user","content":"%b"}}\n' % text
    transcript(env).write_bytes(COMPLETED + entry)
    found = read_conversation(env, NAME)
    assert "long" in found.messages
    assert found.whole
    assert not found.answered


@pytest.mark.parametrize("fill", [b"\0", b"x", b"\n", b"{"])
def test_memory_stays_bounded_whatever_fills_the_file(env: dict[str, str], fill: bytes) -> None:
    with transcript(env).open("wb") as file:
        file.truncate(4 * limits.TRANSCRIPT_READ_BYTES_MAX)  # a hole, so it takes no disk
        file.seek(-(1 << 20), os.SEEK_END)
        file.write(fill * ((1 << 20) - len(COMPLETED) - 1) + b"\n" + COMPLETED)
    tracemalloc.start()
    try:
        found = read_conversation(env, NAME)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert found.answered
    assert not found.whole
    assert peak < 3 * limits.TRANSCRIPT_LINE_BYTES_MAX


def test_a_file_of_nothing_but_tiny_lines_is_given_up(env: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "TRANSCRIPT_LINES_MAX", 1_000)
    transcript(env).write_bytes(b"x\n" * limits.JOURNAL_READ_BYTES + COMPLETED)
    found = read_conversation(env, NAME)
    assert (found.found, found.whole, found.answered) == (True, False, False)
    assert found.damaged == limits.JOURNAL_READ_BYTES // 2, "one chunk, after which there were too many lines"


def test_a_file_that_comes_and_goes_while_it_is_read_is_there_or_not(env: dict[str, str]) -> None:
    path, stop = transcript(env), threading.Event()

    def flicker() -> None:
        while not stop.is_set():
            path.write_bytes(COMPLETED)
            path.unlink()

    thread = threading.Thread(target=flicker)
    thread.start()
    try:
        seen = {read_conversation(env, NAME).found for _ in range(2_000)}
    finally:
        stop.set()
        thread.join()
    assert seen <= {True, False}


@pytest.mark.req("PS-5")
@pytest.mark.parametrize("state", ["a directory", "a loop"])
def test_a_transcript_that_cannot_be_read_is_an_error_and_not_taken_for_none(env: dict[str, str], state: str) -> None:
    if state == "a directory":
        transcript(env).mkdir()
        (transcript(env) / "file").touch()
    else:
        transcript(env).symlink_to(transcript(env))
    with pytest.raises(BetcodeError) as caught:
        read_conversation(env, NAME)
    assert caught.value.code == "agent.transcript_unreadable"
    assert NAME in str(caught.value)
