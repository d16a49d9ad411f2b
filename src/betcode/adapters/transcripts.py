"""Claude's own record of a conversation: whether there is one to resume, and what it holds."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from betcode.model import limits
from betcode.model.conversation import Conversation
from betcode.model.errors import BetcodeError
from betcode.wire.claude_transcript import StoredConversation
from betcode.wire.lines import LineSplitter


def claude_home(env: Mapping[str, str]) -> Path:
    """Where claude, run with `env`, keeps its files."""
    return Path(env.get("CLAUDE_CONFIG_DIR") or f"{env.get('HOME', '')}/.claude")


def has_transcript(env: Mapping[str, str], claude_session_id: str) -> bool:
    """Whether claude, run with `env`, can resume this conversation. Raises BetcodeError as `read_conversation` does.

    claude writes the file some time after it took the first message; killed before that, it knows nothing and must be
    started anew. An empty file cannot be resumed either.
    """
    try:
        return _find(env, claude_session_id) is not None
    except OSError as error:
        raise _unreadable(error) from error


def transcript_size(env: Mapping[str, str], claude_session_id: str) -> int:
    """Length of the file in bytes; 0 if there is none or it cannot be looked at."""
    try:
        path = _find(env, claude_session_id)
        return path.stat().st_size if path is not None else 0
    except OSError:
        return 0


def read_conversation(env: Mapping[str, str], claude_session_id: str) -> Conversation:
    """What claude, run with `env`, has stored of this conversation. Blocks: 0.01 s for a megabyte, 1 s for the most.

    A file that is missing, empty, or goes while it is read is none. Only the newest TRANSCRIPT_READ_BYTES_MAX are read,
    and not on after TRANSCRIPT_LINES_MAX lines; `Conversation.whole` tells.

    Raises:
        BetcodeError: `agent.transcript_unreadable`: it is there and may not be read, or the disk fails.
    """
    try:
        path = _find(env, claude_session_id)
        return _read(path) if path is not None else Conversation()
    except FileNotFoundError:
        return Conversation()
    except OSError as error:
        raise _unreadable(error) from error


def _find(env: Mapping[str, str], claude_session_id: str) -> Path | None:
    """The file, wherever the conversation was begun; of several copies the one written last."""
    found: list[tuple[float, Path]] = []
    try:
        folders = list(os.scandir(claude_home(env) / "projects"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    for folder in folders:
        path = Path(folder.path, f"{claude_session_id}.jsonl")
        try:
            seen = path.stat()
        except (FileNotFoundError, NotADirectoryError):
            continue
        if seen.st_size > 0:
            found.append((seen.st_mtime, path))
    return max(found)[1] if found else None


def _read(path: Path) -> Conversation:
    stored = StoredConversation()
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        begin = max(0, size - limits.TRANSCRIPT_READ_BYTES_MAX)
        lines = LineSplitter(begin, limits.TRANSCRIPT_LINE_BYTES_MAX)
        partial = begin > 0  # the first line began before; it says nothing
        file.seek(begin)
        left, taken = size - begin, 0
        while (
            left and taken < limits.TRANSCRIPT_LINES_MAX and (chunk := file.read(min(left, limits.JOURNAL_READ_BYTES)))
        ):
            left -= len(chunk)
            while b"\n\n" in chunk:
                chunk = chunk.replace(b"\n\n", b"\n")  # empty lines by the million cost no time
            for line in lines.feed(chunk):
                taken += 1
                if not partial:
                    stored.take(line)
                partial = False
    if (tail := lines.take_tail()) is not None and not partial:
        stored.take(tail, finished=False)
    return stored.conversation(size=size, whole=begin == 0 and not left)


def _unreadable(error: OSError) -> BetcodeError:
    return BetcodeError(
        "agent.transcript_unreadable",
        f"cannot read claude's transcript {error.filename or ''}: {error.strerror}",
        hint="Make the directory projects of claude's configuration and the files in it readable for you.",
    )
