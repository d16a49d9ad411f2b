"""Named deadlines on the monotonic clock."""

from __future__ import annotations


class Timers:
    """At most one deadline a name, in seconds on a clock of the caller's choice."""

    def __init__(self) -> None:
        self._at: dict[str, float] = {}

    def set(self, name: str, at: float) -> None:
        """Replace the deadline of this name."""
        self._at[name] = at

    def set_once(self, name: str, at: float) -> None:
        """Set the deadline unless there is one already."""
        self._at.setdefault(name, at)

    def clear(self, name: str) -> None:
        """Forget it; harmless if there is none."""
        self._at.pop(name, None)

    def wait_s(self, now: float) -> float | None:
        """Seconds until the next deadline, not below 0; None if there is none."""
        return max(0.0, min(self._at.values()) - now) if self._at else None

    def take_due(self, now: float) -> list[str]:
        """Names whose time has come, earliest first; they are forgotten."""
        due = sorted((at, name) for name, at in self._at.items() if at <= now)
        for _, name in due:
            del self._at[name]
        return [name for _, name in due]
