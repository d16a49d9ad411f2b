"""What a seed decides in advance: how many sessions and people, which faults, and how often each comes."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

from betcode.model import limits

FAMILIES = ("claude", "keeper", "link", "store", "daemon", "client", "person", "start", "garbage")
"""Sources of trouble. Each is absent in about half of the seeds, so that every mixture is tried."""


@dataclass(slots=True)
class Plan:
    """One run's knobs. Rates are probabilities at each opportunity; times are virtual seconds."""

    seed: int
    sessions: int
    people: int
    messages: int
    """Messages in all."""
    level: dict[str, float] = field(default_factory=dict)
    """Family -> 0 (never) to 1 (very often)."""
    gentle: frozenset[int] = frozenset()
    """Sessions (by number) in which nothing of their own goes wrong: their messages must all be completed."""
    slow_store: bool = False
    patient: bool = False
    """People take hours; everybody looks less often whether something is to be done, or it would take too long."""
    clock_jumps: bool = False
    power_cuts: int = 0
    power_failed: bool = False
    """Set at the first power cut: from then on the end of what was only previewed may be gone."""
    line_bytes_max: int = 10 * 1024 * 1024
    slots: int = limits.SLOTS
    processes_per_slot: int = limits.PROCESSES_PER_SLOT
    idle_process_s: float = limits.IDLE_PROCESS_S
    outages: tuple[tuple[float, float], ...] = ()
    """From when to when the API refuses every request (virtual seconds)."""
    calm: bool = False
    """Set when the faults are over."""

    def api_refuses(self, now_s: float) -> bool:
        """Whether a model request meets an outage."""
        return not self.calm and any(begins_s <= now_s < ends_s for begins_s, ends_s in self.outages)

    def chance(self, rng: Random, family: str, most: float) -> bool:
        """Whether a fault of `family` strikes here; at level 1 it does with probability `most`."""
        level = self.level[family]
        return level > 0 and not self.calm and rng.random() < level * most


def make_plan(seed: int) -> Plan:
    """The plan of a seed. The first seeds are the simplest: 0 has no faults at all."""
    rng = Random(f"plan {seed}")
    sessions = rng.choice((1, 1, 1, 2, 2, 3))
    plan = Plan(
        seed=seed,
        sessions=sessions,
        people=rng.choice((1, 1, 2, 2, 3)),
        messages=sessions * rng.randint(1, 3),
        level={family: 0.0 if rng.random() < 0.5 else rng.random() for family in FAMILIES},
        slow_store=rng.random() < 0.15,
        patient=rng.random() < 0.1,
        clock_jumps=rng.random() < 0.1,
        power_cuts=rng.choice((1, 1, 2)) if rng.random() < 0.1 else 0,
        line_bytes_max=rng.choice((4096, 10 * 1024 * 1024, 10 * 1024 * 1024)),
    )
    crowd = Random(f"crowd {seed}")
    if crowd.random() < 0.3:
        plan.slots, plan.processes_per_slot = crowd.choice((1, 1, 2)), crowd.choice((1, 1, 2, 3))
        if sessions > 2:  # else two that wait for a person are as many as may, and the third waits for them
            plan.processes_per_slot = max(2, plan.processes_per_slot)
        plan.idle_process_s = crowd.choice((0.0, 1.0, 30.0))
    api = Random(f"api {seed}")
    if api.random() < 0.25:
        begins = [api.uniform(0.0, 30.0) * (n + 1) for n in range(api.choice((1, 2, 3)))]
        plan.outages = tuple((begin_s, begin_s + api.choice((3.0, 20.0, 100.0, 700.0))) for begin_s in begins)
    if seed == 0:
        plan.outages = ()
        plan.level = dict.fromkeys(FAMILIES, 0.0)
        plan.slow_store = plan.patient = plan.clock_jumps = False
        plan.power_cuts = 0
    if plan.power_cuts == 0:
        plan.gentle = frozenset(n for n in range(sessions) if rng.random() < 0.35)
    return plan
