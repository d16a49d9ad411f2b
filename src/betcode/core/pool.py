"""Who may work: slots for turns, places for processes, and the order of those that wait (PS-8).

Pure: each session says where it stands (`Stance`), the pool says through its `Gate` what the session may do now, and
as effects whom to tell. `engine.slots` holds the one pool of a daemon. Rules:
  1. At most `slots` sessions work. One that got its answer may make it one more: its turn is half done.
  2. Answered ones go first, the others in the order they came. A background session counts as if it had come
     `BACKGROUND_LATER_S` later: a person's goes before it, and no number of them keeps it waiting for ever.
  3. A slot is for one turn. Who has another message then goes to the end of the queue, if anybody waits.
  4. At most `processes` live, and as many again that wait for a person or run background tasks: they cannot be ended,
     and should cost nobody else anything. When another is needed the one that rests longest is ended, else that of the
     last in the queue. When memory has `room` for fewer in all, that counts.
  5. Nobody overtakes one who lacks only a process: its slot is kept for it while another's process ends.

    rests --BEGIN--> queue --> STARTS --> WORKS --> rests, or BEGIN again
                                ^         | asks: no slot
                                |         v
                              queue <-- GO_ON (answered)
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from betcode.model import limits

WAITS = "other sessions have all slots; it goes on by itself"
NO_PLACE = "as many claude processes live as may (`daemon.processes_per_slot`); it goes on when one has ended"
LATE = f"it has waited over {limits.SLOT_LATE_S:.0f} s: "


class Claim(StrEnum):
    """What a session wants of the pool."""

    NONE = "none"
    """Nothing: it rests, asks a person, waits to be restarted, is closed."""
    BEGIN = "begin"
    """A slot for its next message; it lacks nothing else."""
    GO_ON = "go_on"
    """A slot for the rest of a turn whose question has its answer."""
    STARTS = "starts"
    """It has one, and its claude is being started for a message."""
    WORKS = "works"
    """It has one: a turn is running."""


class Life(StrEnum):
    """What may be done with a session's claude process."""

    NONE = "none"
    KEPT = "kept"
    """It must live on: it starts or works."""
    WAITS = "waits"
    """It must live on and does nothing: a person is asked, or background tasks run."""
    RESTS = "rests"
    """It may be ended: the next message starts another one, and nothing is lost."""
    ENDS = "ends"
    """It is being ended."""


@dataclass(frozen=True, slots=True)
class Stance:
    """Where one session stands."""

    claim: Claim = Claim.NONE
    life: Life = Life.NONE
    background: bool = False
    """Made by a program, and no person looks on."""


@dataclass(frozen=True, slots=True)
class Gate:
    """What one session may do now."""

    begins: bool = True
    """Begin a turn."""
    goes_on: bool = True
    """Tell claude an answer, so that it goes on with its turn."""
    full: bool = False
    """As many sessions wait as may: a message that would have to wait is refused."""
    why: str = ""
    """What is missing, for people."""


OPEN = Gate()
CROWDED = Gate(goes_on=False)


@dataclass(frozen=True, slots=True)
class Wake:
    """There is a slot for this session: let it decide again."""

    session: str


@dataclass(frozen=True, slots=True)
class MakeRoom:
    """Another session needs the place of this one's process, which rests."""

    session: str


Effect = Wake | MakeRoom


@dataclass(frozen=True, slots=True)
class Member:
    """A session that has or wants something. Times are those of the steady clock."""

    stance: Stance
    number: int
    """Order of arrival at its present claim."""
    since_s: float
    """Since when it has its present claim."""
    rests_s: float = 0.0
    """Since when its process rests, if it does."""
    told: bool = False
    """It was woken, or asked to make room, and has not decided since."""

    @property
    def key(self) -> tuple[bool, float, int]:
        """Its place in the queue: the least goes first."""
        later = limits.BACKGROUND_LATER_S if self.stance.background else 0.0
        return self.stance.claim is not Claim.GO_ON, self.since_s + later, self.number


@dataclass(frozen=True, slots=True)
class Pool:
    """All sessions that matter, and the bounds. Change it with `settle` and `resize` only."""

    slots: int
    waiting_max: int
    """Sessions that may wait for a slot; one whose turn has just ended is never refused."""
    processes: int
    room: int | None = None
    """How many processes there is memory for, if that is known."""
    members: Mapping[str, Member] = field(default_factory=dict)
    queue: tuple[str, ...] = ()
    """Those that wait, the first first."""
    granted: frozenset[str] = frozenset()
    """Those of them for whom there is a slot, and a place if they need one."""
    held: int = 0
    alive: int = 0
    places: int = 1
    """How many more processes may be started; below 0: so many are to be ended."""
    yields: int = 0
    """How many processes end or can be ended."""
    arrivals: int = 0


def resize(pool: Pool, *, slots: int, waiting_max: int, processes: int) -> tuple[Pool, tuple[Effect, ...]]:
    """Other bounds. Nobody who works is stopped by a smaller one."""
    return _arranged(replace(pool, slots=slots, waiting_max=waiting_max, processes=processes))


def measured(pool: Pool, room: int | None) -> tuple[Pool, tuple[Effect, ...]]:
    """Memory has room for so many processes in all."""
    return _arranged(replace(pool, room=room))


def settle(pool: Pool, session: str, stance: Stance, now_s: float) -> tuple[Pool, tuple[Effect, ...]]:
    """A session has decided, and stands so from here on."""
    known = pool.members.get(session)
    nothing = stance.claim is Claim.NONE and stance.life is Life.NONE
    if (known is None and nothing) or (known is not None and known.stance == stance and not known.told):
        return pool, ()
    members = dict(pool.members)
    arrivals = pool.arrivals + 1
    rests_s = known.rests_s if known is not None and known.stance.life is stance.life else now_s
    if nothing:
        del members[session]
    elif known is not None and known.stance.claim is stance.claim:
        members[session] = replace(known, stance=stance, rests_s=rests_s, told=False)
    else:
        members[session] = Member(stance, arrivals, now_s, rests_s)
    return _arranged(replace(pool, members=members, arrivals=arrivals))


def gate(pool: Pool, session: str, now_s: float, *, background: bool) -> Gate:
    """What this session may do, before it decides."""
    known = pool.members.get(session)
    claim = known.stance.claim if known is not None else Claim.NONE
    life = known.stance.life if known is not None else Life.NONE
    if claim is Claim.STARTS or session in pool.granted:
        return OPEN
    works = int(claim is Claim.WORKS)
    held = pool.held - works
    goes_on = bool(works) or (claim is not Claim.GO_ON and not _answers_wait(pool) and held <= pool.slots)
    ends = int(life is Life.ENDS)  # by the time that this counts, it has ended and its place is free
    seats = _Seats(pool.slots - held, pool.places + ends, pool.yields - ends)
    own = Life.KEPT if life in (Life.KEPT, Life.RESTS, Life.WAITS) else Life.NONE
    if not pool.queue and seats.free > 0 and (own is Life.KEPT or seats.places > 0):
        return OPEN
    # As if it came now, or stands in the queue.
    stands = known is not None and claim is Claim.BEGIN
    came = (known.number, known.since_s) if known is not None and stands else (pool.arrivals + 1, now_s)
    me = Member(Stance(Claim.BEGIN, own, background), *came)
    granted, lacking = _admitted(_queue_with(pool, session, me), seats)
    if session in granted:
        return OPEN if goes_on else CROWDED
    why = NO_PLACE if session in lacking or seats.free > 0 else WAITS
    late = _late_s(known)
    return Gate(
        begins=False,
        goes_on=goes_on,
        full=claim is Claim.NONE and _waiting(pool) >= pool.waiting_max,
        why=f"{LATE}{why}" if late is not None and now_s >= late else why,
    )


def _queue_with(pool: Pool, session: str, me: Member) -> Iterator[tuple[str, Member]]:
    """The queue as if this session stood in it so. Mostly only its beginning is asked for."""
    key = me.key
    waits = True
    for name in pool.queue:
        if name != session:
            member = pool.members[name]
            if waits and key < member.key:
                waits = False
                yield session, me
            yield name, member
    if waits:
        yield session, me


def late_s(pool: Pool, session: str) -> float | None:
    """When it will have waited so long that people are told; None if it does not wait."""
    return _late_s(pool.members.get(session))


def _late_s(member: Member | None) -> float | None:
    waits = member is not None and member.stance.claim in (Claim.BEGIN, Claim.GO_ON)
    return member.since_s + limits.SLOT_LATE_S if member is not None and waits else None


def _answers_wait(pool: Pool) -> bool:
    return bool(pool.queue) and pool.members[pool.queue[0]].stance.claim is Claim.GO_ON


def place(pool: Pool, session: str) -> int:
    """Its place in the queue, from 1; 0 if it does not wait."""
    return pool.queue.index(session) + 1 if session in pool.queue else 0


def _waiting(pool: Pool) -> int:
    return sum(pool.members[name].stance.claim is Claim.BEGIN for name in pool.queue)


@dataclass(slots=True)
class _Seats:
    """What is left to give away while the queue is gone through."""

    free: int
    places: int
    yields: int


def _admitted(queue: Iterable[tuple[str, Member]], seats: _Seats) -> tuple[list[str], list[str]]:
    """Go through a queue: who gets a slot now, and for whom one is kept until there is a place for its process.

    When `seats.free` is left over, nothing that lives can be ended for the next one.
    """
    granted: list[str] = []
    lacking: list[str] = []
    for name, member in queue:
        if member.stance.claim is Claim.GO_ON:
            if seats.free >= 0:  # one beyond the slots
                granted.append(name)
                seats.free -= 1
            continue
        if seats.free <= 0:
            break
        match member.stance.life:
            case Life.ENDS:
                continue
            case Life.NONE if seats.places <= 0:
                if seats.yields + min(0, seats.places) <= 0:
                    break
                lacking.append(name)
                seats.yields -= 1
            case Life.NONE:
                granted.append(name)
                seats.places -= 1
            case _:
                granted.append(name)
                seats.yields -= member.stance.life is Life.RESTS
        seats.free -= 1
    return granted, lacking


def _arranged(pool: Pool) -> tuple[Pool, tuple[Effect, ...]]:
    """Queue, counts and grants of these members, and whom to tell because of them."""
    members = pool.members
    waiting = [(name, m) for name, m in members.items() if m.stance.claim in (Claim.BEGIN, Claim.GO_ON)]
    waiting.sort(key=lambda item: item[1].key)
    held = sum(m.stance.claim in (Claim.STARTS, Claim.WORKS) for m in members.values())
    alive = sum(m.stance.life is not Life.NONE for m in members.values())
    idle = sum(m.stance.life is Life.WAITS for m in members.values())
    places = pool.processes - alive + min(idle, pool.processes)
    if pool.room is not None:
        places = min(places, max(1, pool.room) - alive)
    yields = sum(m.stance.life in (Life.RESTS, Life.ENDS) for m in members.values())
    granted, lacking = _admitted(waiting, _Seats(pool.slots - held, places, yields))
    leave = _leaving(members, waiting, granted, lacking, excess=max(0, -places))
    effects: tuple[Effect, ...] = (
        *(Wake(name) for name in granted if not members[name].told),
        *(MakeRoom(name) for name in leave if not members[name].told),
    )
    told = {effect.session: replace(members[effect.session], told=True) for effect in effects}
    queue = tuple(name for name, _ in waiting)
    after = replace(
        pool,
        members={**members, **told},
        queue=queue,
        granted=frozenset(granted),
        held=held,
        alive=alive,
        places=places,
        yields=yields,
    )
    return after, effects


def _leaving(
    members: Mapping[str, Member],
    waiting: Sequence[tuple[str, Member]],
    granted: list[str],
    lacking: list[str],
    *,
    excess: int,
) -> list[str]:
    """Whose processes make room: those that rest longest, then those of the last in the queue."""
    needed = len(lacking) + excess - sum(m.stance.life is Life.ENDS for m in members.values())
    rests = {name: m for name, m in members.items() if m.stance.life is Life.RESTS}
    idle = sorted((m.rests_s, name) for name, m in rests.items() if m.stance.claim is Claim.NONE)
    leave = [name for _, name in idle][: max(0, needed)]
    more = min(needed, len(lacking)) - len(leave)
    if more > 0:
        names = [name for name, _ in waiting]
        behind = names[names.index(lacking[0]) + 1 :]
        leave += [name for name in reversed(behind) if name in rests and name not in granted][:more]
    return leave
