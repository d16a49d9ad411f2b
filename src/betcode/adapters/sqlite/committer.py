"""Group commit: many transactions, one sync of the intake log, one of the database.

Each transaction has its own savepoint, so that one that contradicts what is stored fails alone. What people are
promised goes into the intake log before the database commits (SQ-11); if either fails, nothing of the group is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from time import perf_counter

import apsw

from betcode.adapters import intake
from betcode.adapters.sqlite import statements
from betcode.adapters.sqlite.errors import StoreError, defect, translate
from betcode.adapters.sqlite.health import Health, Observe, observe_nothing
from betcode.adapters.sqlite.text import text_is_text
from betcode.core.backoff import delay_s
from betcode.model import limits
from betcode.model.errors import BetcodeError
from betcode.model.rows import Transaction

Outcome = BetcodeError | None
"""What became of one transaction: None when it is durable."""
Pause = Callable[[float], bool]
"""Waits that many seconds; True when the waiting was cut short because the store is closing."""

_CONTRADICTIONS = (apsw.ConstraintError, apsw.TooBigError, apsw.MismatchError)
"""SQLite undoes the one statement and the transaction goes on, so that its savepoint can be rolled back."""
_UNSTORABLE = (TypeError, ValueError, OverflowError, RecursionError)
"""Values that JSON or SQLite cannot hold: an integer beyond 64 bits, half a surrogate pair, endless nesting."""


class Committer:
    """Commits groups on one connection. It belongs to one thread at a time."""

    def __init__(
        self,
        connection: apsw.Connection,
        log: intake.IntakeLog,
        *,
        health: Health,
        pause: Pause,
        rng: Random,
        observe: Observe = observe_nothing,
    ) -> None:
        self._connection = connection
        self._log = log
        self._health = health
        self._pause = pause
        self._rng = rng
        self._observe = observe
        self._undo: int | None = None

    def commit(self, transactions: Sequence[Transaction]) -> list[Outcome]:
        """Commit what can be committed, and return an outcome for each, in order. Raises nothing of its own."""
        refusal = self._health.refusal()
        if refusal is not None:
            return [self._health.refusal() for _ in transactions]
        begun = perf_counter()
        tries = 0
        while True:
            tries += 1
            try:
                outcomes = self._try(transactions)
            except (apsw.Error, OSError) as error:
                self._abandon()
                if isinstance(error, apsw.BusyError) and self._may_try_again(tries, perf_counter() - begun):
                    continue
                self._health.commit_failed(translate(error))
                return [translate(error) for _ in transactions]
            self._health.committed()
            self._observe("commit", perf_counter() - begun)
            return outcomes

    def _try(self, transactions: Sequence[Transaction]) -> list[Outcome]:
        self._connection.execute("BEGIN IMMEDIATE")
        payloads: list[bytes] = []
        outcomes = [self._apply(transaction, payloads) for transaction in transactions]
        if payloads:
            self._undo = self._log.append(payloads)
        self._connection.execute("COMMIT")
        self._undo = None
        return outcomes

    def _apply(self, transaction: Transaction, payloads: list[bytes]) -> Outcome:
        """Write one transaction, or nothing of it. Raises apsw.Error where the whole group is lost."""
        execute = self._connection.execute
        execute("SAVEPOINT one")
        outcome: Outcome = None
        try:
            with text_is_text():
                rev = statements.apply(self._connection, transaction)
            payload = intake.encode(transaction, rev)
        except BetcodeError as error:
            outcome = error
        except _CONTRADICTIONS as error:
            outcome = translate(error)
        except _UNSTORABLE as error:
            outcome = defect(f"the transaction cannot be stored: {error!r}")
            outcome.__cause__ = error
        else:
            if payload is not None:
                payloads.append(payload)
        if outcome is not None:
            execute("ROLLBACK TO one")
            if isinstance(outcome, StoreError):
                self._health.saw(outcome)
        execute("RELEASE one")
        return outcome

    def _abandon(self) -> None:
        """Leave no trace of a group that failed."""
        if self._undo is not None:
            self._log.undo(self._undo)
            self._undo = None
        try:
            if self._connection.in_transaction:  # SQLite has rolled back by itself after some errors
                self._connection.execute("ROLLBACK")
        except apsw.Error as error:  # it ends the transaction all the same; if not, the next BEGIN says so
            self._health.saw(translate(error))

    def _may_try_again(self, tries: int, waited_s: float) -> bool:
        if tries >= limits.BUSY_TRIES or waited_s >= limits.BUSY_WAIT_S:
            return False
        wait = delay_s(tries, first_s=limits.BUSY_PAUSE_FIRST_S, max_s=limits.BUSY_PAUSE_MAX_S, rng=self._rng)
        return not self._pause(wait)
