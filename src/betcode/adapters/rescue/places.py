"""Where a rescue finds what is left of a database."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from betcode.adapters.marks import read_mark
from betcode.model.ids import SessionId
from betcode.model.rows import Mark


@dataclass(frozen=True, slots=True)
class Places:
    """Where a rescue finds what is left."""

    database: Path
    """The damaged file; its `-wal` is beside it. Either may be missing."""
    data: Path
    """The data directory, for `backups`, `intake` and `sessions`."""
    intake_end: int = 0
    """Segments of the intake log from this number on belong to what happens during the rescue; 0: there are none."""

    begun_ns: int = 0
    """When that began, as files tell the time; marks that are newer belong to it. 0: as `intake_end`."""

    @property
    def backups(self) -> Path:
        """The folder of the backups."""
        return self.data / "backups"

    @property
    def intake(self) -> Path:
        """The folder of the intake log."""
        return self.data / "intake"

    @property
    def sessions(self) -> Path:
        """The folder of the sessions' files."""
        return self.data / "sessions"


def mark_of(places: Places, session: SessionId) -> Mark | None:
    """The session's mark, if it does not tell of what happened since the rescue began."""
    folder = places.sessions / session
    try:
        if places.begun_ns and (folder / "mark").stat().st_mtime_ns >= places.begun_ns:
            return None
    except OSError:
        return None
    return read_mark(folder)
