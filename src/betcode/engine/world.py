"""What every session's runner shares: the world's adapters, and the daemon-wide bounds."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random

from betcode.core.admission import DELIVERED, Ceilings
from betcode.core.instant import Instant, iso
from betcode.core.life import Session
from betcode.engine.ports import Clock, Launcher, Log, Marks, Meter, Store
from betcode.engine.previews import Previews
from betcode.engine.slots import Slots
from betcode.engine.spending import Spending
from betcode.engine.upstreams import Upstreams
from betcode.model import limits
from betcode.model.events import Event
from betcode.model.ids import SessionId
from betcode.model.policy import DEFAULT, Policy
from betcode.model.rows import Options
from betcode.model.upstream import UpstreamId


@dataclass(slots=True)
class World:
    """Handed to each runner by the composition root."""

    store: Store
    launcher: Launcher
    marks: Marks
    clock: Clock
    rng: Random
    log: Log
    meter: Meter
    changed: Callable[[str], None] = lambda session: None
    """Called with a session's id when its summary changed."""
    line_bytes_max: int = limits.LINE_BYTES_MAX
    slots: Slots = field(default_factory=Slots)
    spending: Spending = field(default_factory=Spending)
    upstreams: Upstreams = field(default_factory=lambda: Upstreams(Random(0)))
    starts: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(limits.STARTS_AT_ONCE))
    """Held by a session from the start of its process until claude is ready or gone."""
    memory_bytes_max: int = sys.maxsize
    """What the processes of all sessions together may use (PS-9)."""
    policy: Policy = DEFAULT
    """What a user may set; a reload replaces it, and the next decision goes by the new one."""
    ceilings: Ceilings = DELIVERED
    """How much clients may ask for at once, beside what the policy says."""
    previews: Previews = field(default_factory=Previews)
    """The text that all sessions are writing."""
    is_directory: Callable[[str], bool] = lambda path: True
    """Whether a session's directory is there. It blocks."""
    erase: Callable[[SessionId], None] = lambda session: None
    """Removes all files of a session, if there are any. It blocks, and raises BetcodeError `store.failed`."""
    history: Callable[[Options, str], Sequence[Event]] = lambda options, conversation: ()
    """What was said in a conversation of claude's own. It blocks. Raises BetcodeError `import.not_found`."""
    identify: Callable[[Options, str], UpstreamId] = lambda options, directory: UpstreamId()
    """Which upstream a session with these options uses in this directory. It blocks."""
    day_of: Callable[[float], str] = lambda unix_s: iso(unix_s)[:10]
    """The local day of a time (Unix seconds), such as `2026-11-27`."""
    repair: Callable[[str], str] = lambda cause: ""
    """Has the database repaired, for this reason; returns the state that it is in then."""

    def counted(self, session: Session, now: Instant) -> Session:
        """The session with what is spent; see `Spending.counted`."""
        return self.spending.counted(session, self.policy, now, self.day_of)
