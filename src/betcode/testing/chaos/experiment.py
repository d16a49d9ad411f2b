"""An experiment: what is injected, what must come of it, and the function that does both; and its result."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass, field
from random import Random
from typing import Any, Final

from betcode.testing.chaos.stage import Stage
from betcode.testing.installation import Installation
from betcode.testing.limits import EXPERIMENT_S

NOT_RUN: Final = "not run"


@dataclass(frozen=True, slots=True)
class Experiment:
    """One fault and its expectation. `deadline_s` holds at SCALE=1 and grows with it if `scaled`.

    `run` returns in words what was seen. It raises AssertionError when that is not as expected.
    """

    id: str
    injected: str
    expected: str
    run: Callable[[Stage], Awaitable[str]]
    deadline_s: float = EXPERIMENT_S
    scaled: bool = False
    apart: bool = False
    """Whether nothing else may run at the same time: it needs the whole machine, or measures a time that matters."""
    lays_out: Callable[[Installation, Random], dict[str, Any]] | None = None
    """What is done before the first daemon starts, in a thread; returns evidence."""
    env: Mapping[str, str] = field(default_factory=dict)
    """Variables of the daemon, and of whoever starts it, beside those of every installation."""

    def limit_s(self, scale: float) -> float:
        """How long it may take."""
        return self.deadline_s * max(1.0, scale) if self.scaled else self.deadline_s


@dataclass(slots=True)
class Result:
    """What came of one experiment; the fields are the keys in the report."""

    id: str
    injected: str
    expected: str
    observed: str = NOT_RUN
    ok: bool = False
    recovery_s: float | None = None
    evidence: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, experiment: Experiment) -> Result:
        """The result of an experiment that was not run."""
        return cls(experiment.id, experiment.injected, experiment.expected)

    def as_json(self) -> dict[str, Any]:
        """One entry of the report."""
        return asdict(self)
