"""Times for people: in their own time zone. Programs get what is stored (ISO 8601, UTC)."""

from __future__ import annotations

from datetime import datetime


def local(stored: str, *, seconds: bool = False) -> str:
    """A stored time as the clock on the wall shows it; what is no time stays as it is."""
    try:
        moment = datetime.fromisoformat(stored).astimezone()
    except (ValueError, OverflowError, OSError):
        return stored
    return moment.strftime("%Y-%m-%d %H:%M:%S" if seconds else "%Y-%m-%d %H:%M")
