"""What the store knows of its own health, and where it tells it."""

from __future__ import annotations

from collections.abc import Callable

from betcode.adapters.sqlite.errors import DAMAGE, RESCUE_HINT, StoreError

Observe = Callable[[str, float], None]
"""Told (operation, seconds) of everything the store does, in whichever of its threads did it."""
Failed = Callable[[str], None]
"""Told the `error_type` of each failure, once, in whichever thread saw it."""


def observe_nothing(_operation: str, _seconds: float) -> None:
    """Stands in for an observer."""


def report_nothing(_error_type: str) -> None:
    """Stands in for a listener to failures."""


class Health:
    """`ok`; `degraded` while commits fail; `damaged` for good once SQLite or a checksum found damage.

    Threads only ever assign a string here, so no lock is needed.
    """

    def __init__(self, failed: Failed = report_nothing) -> None:
        self.state = "ok"
        self._failed = failed

    def commit_failed(self, error: StoreError) -> None:
        """No transaction of a group could be committed."""
        if self.state == "ok":
            self.state = "degraded"
        self.saw(error)

    def committed(self) -> None:
        """A group was committed: whatever the trouble was, it is over. Damage never is."""
        if self.state == "degraded":
            self.state = "ok"

    def saw(self, error: StoreError) -> None:
        """Count a failure; one that proves damage stops all writing."""
        if error.error_type in DAMAGE:
            self.state = "damaged"
        self._failed(error.error_type)

    def refusal(self) -> StoreError | None:
        """Why nothing may be written now, if so."""
        if self.state != "damaged":
            return None
        return StoreError("the database is damaged; nothing more is written", hint=RESCUE_HINT, error_type="corrupt")
