"""A small world around the pool: sessions that do all they can, and hear of the pool late and in any order.

Each public method is one thing that can happen; `choice` picks among its variants. What must hold is checked at each
of them, and `settle` shows that nothing waits for ever once all behave well.
"""

from __future__ import annotations

from dataclasses import dataclass

from betcode.core import pool as core
from betcode.core.pool import Claim, Effect, Gate, Life, MakeRoom, Pool, Stance

SESSIONS = 8
ROUNDS_MAX = 200
"""Many times what it takes to work off everything that can be waiting."""


@dataclass(slots=True)
class One:
    """A session, as much of it as concerns the pool."""

    name: str
    messages: int = 0
    """Those that wait."""
    works: bool = False
    asks: bool = False
    answered: bool = False
    """And claude has not been told."""
    backs_off: bool = False
    tasks: bool = False
    process: str = "none"
    """none, starting, ready, ending"""
    background: bool = False

    @property
    def stance(self) -> Stance:
        """What the core would say."""
        return Stance(self._claim(), self._life(), self.background)

    def _claim(self) -> Claim:
        if self.asks:
            return Claim.NONE
        if self.answered:
            return Claim.GO_ON
        if self.process == "starting":
            return Claim.STARTS
        if self.works:
            return Claim.WORKS
        return Claim.BEGIN if self.messages and not self.backs_off else Claim.NONE

    def _life(self) -> Life:
        if self.process in ("none", "ending"):
            return Life.NONE if self.process == "none" else Life.ENDS
        if self.process == "ready" and not (self.works or self.asks or self.answered or self.tasks or self.backs_off):
            return Life.RESTS
        return Life.WAITS if self._claim() is Claim.NONE else Life.KEPT


class PoolWorld:
    """Sessions, one pool, and what it has told them and they have not heard."""

    def __init__(self, slots: int, waiting_max: int, processes: int) -> None:
        """All sessions rest, without a process."""
        self.pool = Pool(slots, waiting_max, processes)
        self.sessions = [One(f"s{number}", background=number % 3 == 0) for number in range(SESSIONS)]
        self.now_s = 0.0
        self.inbox: list[Effect] = []
        self.refused = 0

    # --- deciding -----------------------------------------------------------------------------------------------

    def _one(self, choice: int) -> One:
        return self.sessions[choice % SESSIONS]

    def _gate(self, one: One) -> Gate:
        return core.gate(self.pool, one.name, self.now_s, background=one.background)

    def _settled(self, one: One) -> None:
        self.pool, effects = core.settle(self.pool, one.name, one.stance, self.now_s)
        self.inbox += effects
        self._check()

    def _pump(self, one: One, gate: Gate) -> None:
        """As `core.messages.pump`: begin the next message if that may be."""
        free = one.messages and not (one.works or one.asks or one.answered or one.backs_off)
        if not free or not gate.begins or one.process in ("starting", "ending"):
            return
        self._check_begin(one)
        if one.process == "none":
            one.process = "starting"
        else:
            one.messages -= 1
            one.works = True

    # --- what can happen ----------------------------------------------------------------------------------------

    def submit(self, choice: int) -> None:
        """A message comes."""
        one = self._one(choice)
        gate = self._gate(one)
        if gate.full and not (one.messages or one.works or one.asks or one.answered):
            waiting = [n for n in self.pool.queue if self.pool.members[n].stance.claim is Claim.BEGIN]
            assert len(waiting) >= self.pool.waiting_max
            self.refused += 1
            return
        one.messages += 1
        self._pump(one, gate)
        self._settled(one)

    def ready(self, choice: int) -> None:
        """A claude that was started is ready, or did not come up."""
        one = self._one(choice)
        if one.process != "starting":
            return
        gate = self._gate(one)
        assert gate.begins, "started for a message, and may not begin it"
        one.process = "ready" if choice % 7 else "none"
        one.backs_off = one.process == "none"
        if one.messages and one.process == "ready":
            one.messages -= 1
            one.works = True
        self._settled(one)

    def finish(self, choice: int) -> None:
        """A turn ends, and the next message follows if it may."""
        one = self._one(choice)
        if one.works and not one.asks and not one.answered:
            gate = self._gate(one)
            one.works = False
            one.tasks = choice % 11 == 0
            self._pump(one, gate)
            self._settled(one)

    def ask(self, choice: int) -> None:
        """claude asks a person."""
        one = self._one(choice)
        if one.works and not one.answered:
            one.asks = True
            self._settled(one)

    def answer(self, choice: int) -> None:
        """Somebody answers."""
        one = self._one(choice)
        if not one.asks:
            return
        gate = self._gate(one)
        one.asks = False
        one.answered = not gate.goes_on
        if gate.goes_on:
            assert self.pool.held <= self.pool.slots, "more than one beyond the slots"
        self._settled(one)

    def withdraw(self, choice: int) -> None:
        """claude asks no more and works on, whatever the pool says."""
        one = self._one(choice)
        if one.asks:
            one.asks = False
            self._settled(one)

    def own_turn(self, choice: int) -> None:
        """claude begins a turn by itself."""
        one = self._one(choice)
        if one.process == "ready" and not one.works:
            one.works = True
            self._settled(one)

    def die(self, choice: int) -> None:
        """The process ends, wanted or not."""
        one = self._one(choice)
        if one.process in ("none", "starting"):
            return
        gate = self._gate(one)
        one.backs_off = one.works and choice % 2 == 0
        one.messages += one.works and choice % 3 == 0
        one.works = one.asks = one.answered = one.tasks = False
        one.process = "none"
        self._pump(one, gate)
        self._settled(one)

    def retry(self, choice: int) -> None:
        """A delay is over."""
        one = self._one(choice)
        gate = self._gate(one)
        one.backs_off = False
        self._pump(one, gate)
        self._settled(one)

    def cancel(self, choice: int) -> None:
        """What waits is cancelled."""
        one = self._one(choice)
        one.messages = 0
        self._settled(one)

    def look(self, choice: int) -> None:
        """A person comes or goes."""
        one = self._one(choice)
        one.background = not one.background
        if one.name in self.pool.members:
            self._settled(one)

    def resize(self, choice: int) -> None:
        """Other bounds."""
        bounds = {"slots": 1 + choice % 4, "waiting_max": choice % 6, "processes": 1 + choice % 12}
        self.pool, effects = core.resize(self.pool, **bounds)
        self.inbox += effects
        self._check()

    def measure(self, choice: int) -> None:
        """There is memory for more or fewer processes."""
        self.pool, effects = core.measured(self.pool, (None, None, 0, 1, 2, 5)[choice % 6])
        self.inbox += effects
        self._check()

    def wait(self, choice: int) -> None:
        """Time passes."""
        self.now_s += (0.1, 5.0, 40.0, 100.0)[choice % 4]

    def hear(self, choice: int) -> None:
        """A session hears what the pool had told it; by now it may stand otherwise."""
        if not self.inbox:
            return
        effect = self.inbox.pop(choice % len(self.inbox))
        one = next(one for one in self.sessions if one.name == effect.session)
        gate = self._gate(one)
        if isinstance(effect, MakeRoom):
            if one.stance.life is Life.RESTS:
                one.process = "ending"
        elif one.answered and gate.goes_on:
            assert self.pool.held <= self.pool.slots, "more than one beyond the slots"
            one.answered = False
        else:
            self._pump(one, gate)
        self._settled(one)

    # --- what must hold -----------------------------------------------------------------------------------------

    def _check_begin(self, one: One) -> None:
        held = sum(o.stance.claim in (Claim.STARTS, Claim.WORKS) for o in self.sessions if o is not one)
        assert held < self.pool.slots, "a turn begins without a slot"
        alive = sum(o.process != "none" for o in self.sessions)
        spared = min(self.pool.processes, sum(o.stance.life is Life.WAITS for o in self.sessions))
        full = alive - spared >= self.pool.processes
        full = full or (self.pool.room is not None and alive >= max(1, self.pool.room))
        assert one.process != "none" or not full, "a process is started without a place"
        mine = self.pool.members.get(one.name)
        if mine is not None and mine.stance.claim is Claim.BEGIN:
            for name in self.pool.queue[: self.pool.queue.index(one.name)]:
                before = self.pool.members[name].stance
                left = self.pool.slots - held - 1
                passed = before.life is Life.ENDS
                assert passed or left > 0, f"{one.name} overtakes {name}"

    def _check(self) -> None:
        pool = self.pool
        stances = {one.name: one.stance for one in self.sessions}
        works = [name for name, stance in stances.items() if stance.claim in (Claim.STARTS, Claim.WORKS)]
        assert pool.held == len(works), "a slot is lost, or counted twice"
        assert pool.alive == sum(stance.life is not Life.NONE for stance in stances.values())
        waits = {name for name, stance in stances.items() if stance.claim in (Claim.BEGIN, Claim.GO_ON)}
        assert set(pool.queue) == waits
        assert len(pool.queue) == len(waits)
        waking = {effect.session for effect in self.inbox}
        assert pool.granted <= waking, "there is a slot for one that was not told"
        keys = [pool.members[name].key for name in pool.queue]
        assert keys == sorted(keys)

    # --- the end ------------------------------------------------------------------------------------------------

    def calm(self) -> None:
        """From here on all behave well: then everything is worked off, and nobody holds or wants anything."""
        for _ in range(ROUNDS_MAX):
            while self.inbox:
                self.hear(0)
            for number, one in enumerate(self.sessions):
                if one.backs_off:
                    self.retry(number)
                self.answer(number)
                if one.process == "ending":
                    self.die(number)
            starting = [number for number, one in enumerate(self.sessions) if one.process == "starting"]
            for number in starting:
                self.ready(number + SESSIONS if number % 7 == 0 else number)
            for number, one in enumerate(self.sessions):
                one.tasks = False
                self._settled(one)
                if one.works:
                    self.finish(number + SESSIONS if number % 11 == 0 else number)
            if not self.inbox and not any(one.stance.claim is not Claim.NONE or one.messages for one in self.sessions):
                assert self.pool.queue == ()
                assert self.pool.held == 0
                return
        raise AssertionError(f"somebody waits for ever: {self.sessions}, {self.pool}")
