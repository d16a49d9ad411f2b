"""INV-5: what is tried again is tried after a growing delay, and not for ever.

Measured from outside: when claude was started and when it died, and when a session was read again from the database.
A person, and a new daemon, may begin the count afresh.
"""

from __future__ import annotations

from betcode.model import limits
from betcode.model.rows import SessionRow
from betcode.testing.simulator.stage import Stage

ROUNDING_S = 1e-6


def least_delay_s(attempt: int) -> float:
    """The shortest delay that `core.backoff` gives before retry number `attempt`."""
    return min(limits.BACKOFF_MAX_S, limits.BACKOFF_FIRST_S * 2.0 ** (attempt - 1)) / 2 - ROUNDING_S


class Pace:
    """Watches the starts and the reloads of all sessions."""

    def __init__(self, stage: Stage) -> None:
        """Nothing has happened."""
        self._stage = stage
        self._failed_s: dict[str, list[float]] = {}
        """Session -> when its processes ended without having finished anything, since the last excuse."""
        self._loaded_s: dict[str, list[float]] = {}
        """Session -> when it was read again, since its last commit."""

    # --- excuses ------------------------------------------------------------------------------------------------

    def excuse(self, session: str) -> None:
        """A person did something in this session."""
        self._failed_s.pop(session, None)
        self._loaded_s.pop(session, None)

    def excuse_all(self) -> None:
        """A new daemon knows nothing of earlier failures."""
        self._failed_s.clear()
        self._loaded_s.clear()

    # --- claude -------------------------------------------------------------------------------------------------

    def failed(self, session: str) -> None:
        """A process ended in the middle of its first turn, or could not be started."""
        self._failed_s.setdefault(session, []).append(self._stage.now_s)

    def started(self, row: SessionRow) -> None:
        """The daemon starts claude as `row.run`."""
        now_s = self._stage.now_s
        self._stage.note(f"{row.id}.{row.run} is to be started")
        recent = [t for t in self._failed_s.get(row.id, ()) if now_s - t < limits.CRASH_WINDOW_S]
        if not recent:
            return
        check = self._stage.check
        many = f"claude of {row.id} is started again after {len(recent)} failures in {limits.CRASH_WINDOW_S:.0f} s"
        check(len(recent) < limits.CRASHES_MAX, "INV-5", many)
        waited_s, least_s = now_s - recent[-1], least_delay_s(len(recent))
        short = f"claude of {row.id} is started {waited_s:.3f} s after failure {len(recent)}; at least {least_s:.3f}"
        check(waited_s >= least_s, "INV-5", short)

    # --- the store ----------------------------------------------------------------------------------------------

    def loaded(self, session: str) -> None:
        """A session is read from the database, because it begins or because the store failed."""
        self._failed_s.pop(session, None)  # the counts are not stored
        times = self._loaded_s.setdefault(session, [])
        now_s = self._stage.now_s
        if times:
            waited_s, least_s = now_s - times[-1], least_delay_s(len(times))
            short = f"{session} begins again for the {len(times)}. time after {waited_s:.3f} s; at least {least_s:.3f}"
            self._stage.check(waited_s >= least_s, "INV-5", short)
        times.append(now_s)

    def committed(self, session: str) -> None:
        """A commit of this session was confirmed."""
        self._loaded_s.pop(session, None)
