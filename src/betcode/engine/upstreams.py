"""The upstreams that the sessions of a daemon use (`core.upstream`), and each session's access to its own.

All calls come from one event loop, and nothing is awaited between a question and what follows from it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from random import Random
from typing import Any

import msgspec

from betcode.core.breaker import Breaker, Change, Snapshot
from betcode.core.instant import Instant, iso
from betcode.core.life import SPAWN_FAILED, Process, Session
from betcode.core.silence import is_ours
from betcode.core.spawns import Spawns
from betcode.core.stance import is_withheld, starts, wants_api, works
from betcode.core.upstream import Upstream
from betcode.core.upstream_news import news_of
from betcode.core.upstream_texts import automatic_retry
from betcode.core.usage_windows import UsageWindows
from betcode.model import upstream_limits as limits
from betcode.model.breaker_limits import API, BreakerSettings
from betcode.model.facts import Fact, TurnStarted
from betcode.model.upstream import Stored, UpstreamId


class Upstreams:
    """All of them, by key."""

    def __init__(
        self,
        rng: Random,
        *,
        settings: BreakerSettings = API,
        keep: Callable[[list[Stored]], None] = lambda stored: None,
        told: Callable[[str, Change], None] = lambda label, change: None,
        on_error: Callable[[Exception], None] = lambda error: None,
        turned_away: Callable[[], None] = lambda: None,
    ) -> None:
        """None is known yet.

        Args:
            rng: jitter.
            settings: of the breakers.
            keep: called with all that should survive a restart, whenever it changed.
            told: called with each change of a breaker, for the log and the figures.
            on_error: gets what `told` raises.
            turned_away: called when a session begins to wait.
        """
        self.settings = settings
        self._rng = rng
        self._keep = keep
        self._told = told
        self._on_error = on_error
        self.turned_away = turned_away
        self._known: dict[str, Upstream] = {}
        self._access: dict[str, Access] = {}
        self._kept: list[Stored] = []
        self.spawns = Spawns(rng, on_error)

    def restore(self, stored: Iterable[Stored]) -> None:
        """Become what an earlier daemon had stored: a pause holds until its time."""
        for one in stored:
            upstream = self._made(one.key, one.label)
            upstream.breaker.restore(msgspec.convert(one.breaker, Snapshot))
            upstream.width, upstream.pause = one.width, one.pause
            upstream.windows = UsageWindows.of(one.windows)
            upstream.code, upstream.why = one.code, one.why
        self._kept = [upstream.stored() for upstream in self._known.values()]

    def of(self, identity: UpstreamId) -> Upstream:
        """The upstream of this identity."""
        found = self._known.get(identity.key)
        if found is None:
            self._forget_oldest()
            found = self._made(identity.key, identity.label)
        found.label = identity.label
        return found

    def _made(self, key: str, label: str) -> Upstream:
        breaker = Breaker(self.settings, self._rng, on_error=self._on_error)
        breaker.listen(lambda change: self._told(self._known[key].label, change))
        self._known[key] = Upstream(key, label, self._rng, breaker)
        return self._known[key]

    def _forget_oldest(self) -> None:
        unused = [one for one in self._known.values() if not one.members]
        if len(self._known) >= limits.UPSTREAMS_MAX and unused:
            del self._known[min(unused, key=lambda one: one.used_s).key]

    def wake(self, sessions: Iterable[str]) -> None:
        """Have these decide again, and store what has changed."""
        for session in sessions:
            if (access := self._access.get(session)) is not None:
                access.ring()
        now = [upstream.stored() for upstream in self._known.values()]
        if now != self._kept:
            self._kept = now
            self._keep(now)

    def wake_all(self) -> None:
        """Have all sessions decide again."""
        for access in self._access.values():
            access.ring()

    def joins(self, access: Access) -> None:
        """A session takes part."""
        self._access[access.session] = access

    def leaves(self, access: Access) -> None:
        """It does not any more."""
        if self._access.get(access.session) is access:
            del self._access[access.session]

    def paused(self) -> list[Access]:
        """Those whose upstream is paused until its credentials change."""
        return [access for access in self._access.values() if access.upstream.pause is not None]

    def waiting(self) -> list[Access]:
        """Those that wait for their upstream."""
        return [access for access in self._access.values() if access.waits]

    def windows(self, now: Instant) -> list[dict[str, Any]]:
        """The usage windows of all upstreams that have not ended, the fullest first."""
        found = [
            {"upstream": one.label} | window for one in self._known.values() for window in _windows(one, now.unix_s)
        ]
        return sorted(found, key=lambda window: -window["utilization"])

    def view(self, now: Instant) -> list[dict[str, Any]]:
        """What people see of each upstream that anything is known of."""
        return [_view(one, now.unix_s) for one in self._known.values() if one.members or one.windows.known]


def _view(one: Upstream, now_s: float) -> dict[str, Any]:
    state = "paused" if one.pause is not None else one.breaker.state(now_s).value
    if state == "closed" and one.width:
        state = "slow_start"
    retry_s = one.breaker.retry_at_s if state == "open" else 0.0
    waiting = [name for name, member in one.members.items() if member.wants and not member.admitted]
    return {
        "key": one.key,
        "name": one.label,
        "state": state,
        "code": "" if state == "closed" else one.pause.code if one.pause else one.code,
        "reason": "" if state == "closed" else one.pause.why if one.pause else one.why,
        "hint": one.pause.hint if one.pause else "",
        "retry_at": iso(retry_s) if retry_s > now_s else None,
        "retry_in_s": round(retry_s - now_s, 1) if retry_s > now_s else None,
        "waiting": len(waiting),
        "working": sum(member.works for member in one.members.values()),
        "windows": _windows(one, now_s),
    }


def _windows(one: Upstream, now_s: float) -> list[dict[str, Any]]:
    return [
        {
            "name": window.name,
            "status": window.status,
            "resets_at": iso(window.resets_at_unix_s),
            "utilization": window.utilization,
            "told_at": iso(window.told_at_unix_s),
        }
        for window in one.windows.all()
        if window.resets_at_unix_s > now_s
    ]


class Access:
    """One session's way to its upstream."""

    def __init__(
        self, session: str, upstreams: Upstreams, *, ring: Callable[[], None], moved: Callable[[], None]
    ) -> None:
        """Nothing is known of its upstream before `identified`. `ring` and `moved`: as `Seat`'s."""
        self.session = session
        self.ring = ring
        self.identity = UpstreamId()
        self._upstreams = upstreams
        self._decided_s = 0.0
        self._moved = moved
        self._waited = False
        self._starting = False
        """Its claude was being started when it last decided."""
        self._fruitless = 0
        self._shut = False
        """It waits because claude cannot be started."""
        self.upstream = upstreams.of(self.identity)
        upstreams.joins(self)

    @property
    def waits(self) -> bool:
        """Whether it waits for its upstream."""
        member = self.upstream.members.get(self.session)
        return member is not None and member.wants and not member.admitted

    def identified(self, identity: UpstreamId, now: Instant) -> None:
        """It uses this upstream, with credentials that look so."""
        if identity.key != self.identity.key:
            woken = self.upstream.leave(self.session, now.unix_s)
            self.upstream = self._upstreams.of(identity)
            self._upstreams.wake([*woken, self.session])
        self.identity = identity
        self._upstreams.wake(self.upstream.identified(identity.fingerprint, now.unix_s))

    def runs_on(self, model: str) -> None:
        """The model that its next turn will use: some usage windows are for some models only."""
        self.upstream.runs_on(self.session, model)

    def gated(self, session: Session, now: Instant, *, forced: bool) -> Session:
        """The session with what its upstream lets it do; `forced`: a person has it try at once."""
        upstream = self.upstream
        passage = upstream.passage(self.session, now.unix_s)
        if forced and not passage.begins and not passage.early_s:
            upstream.force(self.session, now.unix_s)
            passage = upstream.passage(self.session, now.unix_s)
        if passage.begins and session.process is Process.NONE and wants_api(session):
            spawn = self._upstreams.spawns.passage(self.session, now.unix_s)
            passage = passage if spawn.begins else spawn
        self._shut = passage.code == SPAWN_FAILED
        if session.passage == passage and session.upstream == upstream.label:
            return session
        return replace(session, passage=passage, upstream=upstream.label)

    def settle(self, session: Session, now: Instant, *, background: bool) -> None:
        """What it has decided."""
        self._decided_s = now.unix_s
        self._note_start(session, now)
        woken = self.upstream.settle(
            self.session,
            now.unix_s,
            wants=wants_api(session),
            starts=starts(session),
            works=works(session),
            first=is_withheld(session),
            background=background,
        )
        self._upstreams.wake(woken)
        if self.waits is not self._waited:
            self._waited = self.waits
            if self._waited:
                self._upstreams.turned_away()
            self._moved()

    def _note_start(self, session: Session, now: Instant) -> None:
        """Tell whether a start went well: what the failures of several sessions mean is decided in one place."""
        process = session.process
        if self._starting and process is Process.READY:
            if self._upstreams.spawns.succeeded(self.session, now.unix_s):
                self._upstreams.wake_all()
        elif self._starting and process is Process.NONE and session.fruitless > self._fruitless:
            self._upstreams.spawns.failed(self.session, session.reason, now.unix_s)
        if process in (Process.NONE, Process.READY):
            self._starting = False
        elif process in (Process.STARTING, Process.UNREADY):
            self._starting = True
        self._fruitless = session.fruitless

    def hear(self, fact: Fact, session: Session, now: Instant) -> None:
        """What its claude printed."""
        if isinstance(fact, TurnStarted):
            self.runs_on(fact.model)
            return
        news = news_of(fact, stalled=session.api and is_ours(session.turn), fingerprint=self.identity.fingerprint)
        if news is None:
            return
        self._upstreams.wake(self.upstream.hear(self.session, news, now.unix_s))

    def due_s(self, now: Instant) -> float | None:
        """When time alone may let it go on, on the steady clock."""
        if self._shut:
            due_s = self._upstreams.spawns.due_s(self._decided_s)
        elif self.waits:
            due_s = self.upstream.due_s(self._decided_s)
        else:
            return None
        return None if due_s is None else due_s - now.unix_s + now.steady_s

    def line(self, now: Instant) -> str:
        """Why it waits, with the seconds that are left (RL-3); empty if it does not."""
        return automatic_retry(self.upstream.passage(self.session, now.unix_s), now.unix_s) if self.waits else ""

    def leave(self, now: Instant) -> None:
        """It decides no more for now."""
        self._upstreams.wake(self.upstream.leave(self.session, now.unix_s))
