"""One upstream and the sessions that use it: who may send to the API now (RL-2 to RL-5).

    passes freely -- failures --> open until T --> half open: one session probes --> slow start: 1, 2, 4 ... --> freely
          |                          ^                 | fails                          | a failure halves it
          |                          +-----------------+
          +-- credentials or account refused --> paused, until somebody changes them or forces a try

Answered questions and people's sessions go first, background sessions last, in the order they came. A usage window of
one family of models stops only the sessions that use it. A person may force one try at a time, whatever is known.
Pure: all times are Unix seconds of the caller's reading, since they outlive a restart. Every call that can change who
may go on returns the sessions to be woken.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random

from betcode.core.breaker import Breaker, Ticket
from betcode.core.retry_budget import RetryBudget
from betcode.core.upstream_news import Answered, News, Refused, WindowTold
from betcode.core.upstream_texts import TEMPORARILY, pause_of, window_text
from betcode.core.usage_windows import UsageWindows
from betcode.model import upstream_limits as limits
from betcode.model.failures import ApiKind
from betcode.model.upstream import FREE, Passage, Pause, Stored

BREAKS = frozenset(
    {ApiKind.RATE_LIMIT, ApiKind.OVERLOADED, ApiKind.SERVER_ERROR, ApiKind.NETWORK, ApiKind.STALL, ApiKind.UNKNOWN}
)
"""Failures that say something about the upstream and may pass by themselves."""
LASTING = frozenset({ApiKind.CREDENTIALS, ApiKind.BILLING})
"""Failures that stay until a person does something."""


@dataclass(slots=True)
class Member:
    """One session that has, or wants, something of the upstream."""

    wants: bool = False
    """It waits to begin or to go on, and lacks nothing else but perhaps a slot."""
    works: bool = False
    """A turn, or the start of its process, is under way."""
    first: bool = False
    """It has its answer in the middle of a turn."""
    background: bool = False
    since_s: float = 0.0
    number: int = 0
    model: str = ""
    admitted: bool = False
    """It may begin, and has not."""
    forced: bool = False
    """A person had it try."""
    ticket: Ticket | None = None
    failed: bool = False
    """Its newest request failed."""
    others_answered: bool = False

    @property
    def order(self) -> tuple[bool, bool, float, int]:
        """The least goes first."""
        return not self.first, self.background, self.since_s, self.number


@dataclass(slots=True)
class Upstream:
    """See the module."""

    key: str
    label: str
    rng: Random
    breaker: Breaker
    members: dict[str, Member] = field(default_factory=dict)
    width: int = 0
    """How many may work at the same time in a slow start; 0: any number."""
    fresh: set[str] = field(default_factory=set)
    """Those it admitted that the API has not answered yet."""
    answers: int = 0
    """How many of those it has answered at this width."""
    next_s: float = 0.0
    """When the next of a round may begin."""
    pause: Pause | None = None
    windows: UsageWindows = field(default_factory=UsageWindows)
    code: str = ""
    why: str = ""
    """Why it is not asked, or was not last."""
    budget: RetryBudget = field(default_factory=lambda: RetryBudget.full(0.0))
    forced_s: float = -limits.FORCE_EVERY_S
    arrivals: int = 0
    used_s: float = 0.0
    """When any session last had to do with it."""

    # --- what sessions do -----------------------------------------------------------------------------------------

    def settle(
        self, session: str, now_s: float, *, wants: bool, starts: bool, works: bool, first: bool, background: bool
    ) -> list[str]:
        """A session stands so from here on.

        Args:
            session: its id.
            now_s: when.
            wants: it lacks nothing else but perhaps a slot.
            starts: its process is being started for a message.
            works: its turn is under way.
            first: it goes on with one.
            background: no person looks on.
        """
        self.used_s = now_s
        member = self.members.get(session)
        if member is None:
            if not (wants or starts or works):
                return []
            member = self.members[session] = Member()
        if (wants and not member.wants) or first is not member.first:
            self.arrivals += 1
            member.since_s, member.number = now_s, self.arrivals
        member.wants, member.works, member.first, member.background = wants, starts or works, first, background
        if works:
            member.admitted = False
            if member.ticket is None and not member.forced:
                member.ticket = self.breaker.ticket(now_s)
        if not (wants or starts or works):
            self._let_go(member, session, now_s)
        return self.arrange(now_s)

    def _let_go(self, member: Member, session: str, now_s: float) -> None:
        """It is at rest: a probe that brought no news frees its place."""
        if member.ticket is not None:
            self.breaker.dropped(member.ticket, now_s)
        member.ticket, member.admitted, member.forced = None, False, False
        self.fresh.discard(session)
        if not (member.failed or member.model):
            del self.members[session]

    def leave(self, session: str, now_s: float) -> list[str]:
        """It has no loop any more."""
        member = self.members.pop(session, None)
        if member is not None and member.ticket is not None:
            self.breaker.dropped(member.ticket, now_s)
        self.fresh.discard(session)
        return self.arrange(now_s)

    def hear(self, session: str, news: News, now_s: float) -> list[str]:
        """What a session's claude says about the API."""
        member = self.members.setdefault(session, Member())
        self.used_s = now_s
        match news:
            case Answered():
                self._answered(member, session, now_s)
            case Refused():
                self._refused(member, session, news, now_s)
            case WindowTold():
                self._window(member, news, now_s)
        return self.arrange(now_s)

    def _answered(self, member: Member, session: str, now_s: float) -> None:
        member.failed = member.others_answered = False
        self.budget = self.budget.answered()
        for name, other in self.members.items():
            other.others_answered |= other.failed and name != session
        was_open = self.pause is not None or self.breaker.state(now_s) != "closed"
        if member.forced:
            member.forced, self.pause = False, None
            self.breaker.reset(now_s)
            self.windows.passed(member.model)
        elif member.ticket is not None:
            self.breaker.succeeded(member.ticket, now_s)
        member.ticket = self.breaker.ticket(now_s)
        if was_open and self.breaker.state(now_s) == "closed" and self.pause is None:
            self._begin_slowly(now_s)
            self.fresh.add(session)
        if session not in self.fresh:
            return
        self.fresh.discard(session)
        self.answers += 1
        if self.width and self.answers >= self.width:
            self.width, self.answers = self.width * 2, 0
            if self.width > limits.SLOW_START_MAX:
                self.width = 0

    def _begin_slowly(self, now_s: float) -> None:
        """One at a time, then 2, 4 ... as fast as they are answered."""
        self.width, self.answers, self.next_s = 1, 0, now_s
        self.fresh.clear()

    def _refused(self, member: Member, session: str, news: Refused, now_s: float) -> None:
        member.failed, member.others_answered = True, False
        ticket, member.ticket = member.ticket, None
        forced, member.forced = member.forced, False
        failure = news.failure
        if failure.kind in LASTING:
            if self.pause is None:
                self.pause = pause_of(failure, news.fingerprint, session, now_s)
            self.code, self.why = self.pause.code, self.pause.why
        elif failure.kind is ApiKind.USAGE_WINDOW:
            self._window_refused(member, now_s)
        elif failure.kind in BREAKS and not forced:
            self.code, self.why = failure.code, TEMPORARILY[failure.kind]
            if ticket is not None:
                self.breaker.failed(ticket, now_s, retry_after_s=news.retry_after_s)
            self.width, self.answers = max(1, self.width // 2) if self.width else 0, 0
            self._spend_retry(now_s)
        if ticket is not None and failure.kind not in BREAKS:
            self.breaker.dropped(ticket, now_s)
        self.fresh.discard(session)
        if self.breaker.state(now_s) == "open" or self.pause is not None:
            self._stop_all()

    def _spend_retry(self, now_s: float) -> None:
        """The message of this turn will be tried again. When there were too many of these, nobody is let through."""
        left = self.budget.retry(now_s)
        if isinstance(left, RetryBudget):
            self.budget = left
        elif self.breaker.state(now_s) == "closed":
            self.breaker.force_open(now_s, now_s + max(left, self.breaker.settings.open_s), "too many retries")

    def _stop_all(self) -> None:
        """Nothing begins from here on: who was let in and has not begun waits again."""
        for member in self.members.values():
            if member.admitted and not member.forced:
                member.admitted, member.ticket = False, None
        self.fresh.clear()

    def _window(self, member: Member, news: WindowTold, now_s: float) -> None:
        window = self.windows.tell(news, now_s)
        if window is None or window.status != "rejected":
            return
        self.code, self.why = "agent.rate_limited", window_text(window)
        if not self.windows.family(window.name):
            self.breaker.force_open(now_s, window.resets_at_unix_s + limits.WINDOW_MARGIN_S, self.why)
            self._stop_all()

    def _window_refused(self, member: Member, now_s: float) -> None:
        """A usage limit was reached; when no window that says until when was told, it is as any other refusal."""
        blocked = self.windows.until_s(member.model, now_s) or self.breaker.state(now_s) == "open"
        if not blocked:
            self.code, self.why = "agent.rate_limited", TEMPORARILY[ApiKind.USAGE_WINDOW]
            self.breaker.force_open(now_s, now_s + limits.OPEN_S, self.why)
            self._stop_all()

    def runs_on(self, session: str, model: str) -> None:
        """The model that a session uses: some usage windows are for some models only."""
        self.members.setdefault(session, Member()).model = model

    # --- what people and time do ----------------------------------------------------------------------------------

    def early_s(self, now_s: float) -> float:
        """How many seconds too early it is for another forced try; 0: it may be."""
        left_s = self.forced_s + limits.FORCE_EVERY_S - now_s
        return left_s if 0 < left_s <= limits.FORCE_EVERY_S else 0.0

    def force(self, session: str, now_s: float) -> None:
        """Let this session try once, whatever is known, unless another try was forced a moment ago."""
        if self.early_s(now_s):
            return
        self.forced_s = now_s
        member = self.members.setdefault(session, Member())
        member.forced = member.admitted = True

    def identified(self, fingerprint: str, now_s: float) -> list[str]:
        """The credentials look so now. Changed ones are tried, by one session first."""
        if self.pause is None or self.pause.fingerprint == fingerprint:
            return []
        self.go_on(now_s)
        return self.arrange(now_s)

    def go_on(self, now_s: float) -> None:
        """Take back the pause: somebody says that its cause is gone. One session goes first."""
        self.pause = None
        self._begin_slowly(now_s)

    def arrange(self, now_s: float) -> list[str]:
        """Admit those that may go now; returns them."""
        if self.is_free(now_s):
            return self._admit_all(now_s)
        let_in: list[str] = []
        for session in self._line():
            member = self.members[session]
            if self.windows.until_s(member.model, now_s):
                continue
            if not self._room(now_s):
                break
            ticket = self.breaker.ask(now_s)
            if not isinstance(ticket, Ticket):
                break
            member.ticket, member.admitted = ticket, True
            let_in.append(session)
            if self.width:
                self.fresh.add(session)
                self.next_s = now_s + self.rng.uniform(0, limits.STAGGER_S)
        return let_in

    def _admit_all(self, now_s: float) -> list[str]:
        let_in = list(self._line())
        for session in let_in:
            self.members[session].admitted = True
            self.members[session].ticket = self.breaker.ticket(now_s)
        return let_in

    def _line(self) -> Iterator[str]:
        waiting = [(m.order, name) for name, m in self.members.items() if m.wants and not m.admitted]
        return iter([name for _, name in sorted(waiting)])

    def _room(self, now_s: float) -> bool:
        if self.pause is not None:
            return False
        if not self.width or self.breaker.state(now_s) != "closed":
            return True  # the breaker decides
        busy = sum(m.works or m.admitted for m in self.members.values())
        return busy < self.width and now_s >= self.next_s

    def is_free(self, now_s: float) -> bool:
        """Whether everybody may pass."""
        if self.width and not self.fresh and not any(m.wants and not m.admitted for m in self.members.values()):
            self.width = 0  # nobody is left who could come all at once
        closed = self.pause is None and self.breaker.state(now_s) == "closed"
        return closed and not self.width and not self.windows.any_rejected(now_s)

    # --- what can be seen -----------------------------------------------------------------------------------------

    def passage(self, session: str, now_s: float) -> Passage:
        """What this session may do."""
        member = self.members.get(session) or Member()
        if self.is_free(now_s) or member.admitted:
            told = member.others_answered or member.forced
            return Passage(forced=member.forced, others_answered=member.others_answered) if told else FREE
        blocked_s = self.windows.until_s(member.model, now_s)
        limited = self.pause is not None or self.width or self.breaker.state(now_s) != "closed"
        if not (limited or blocked_s):
            return FREE
        pause = self.pause
        until_s = 0.0 if pause is not None else max(blocked_s, self.breaker.retry_at_s or 0.0)
        return Passage(
            begins=False,
            code=pause.code if pause else self.code or "agent.rate_limited",
            why=pause.why if pause else self.why or TEMPORARILY[ApiKind.UNKNOWN],
            until_unix_s=until_s if until_s > now_s else 0.0,
            place=self.place(session),
            teller=pause is not None and pause.teller == session,
            others_answered=member.others_answered,
            early_s=self.early_s(now_s),
        )

    def place(self, session: str) -> int:
        """Its place in the line, from 1; 0 if it does not wait."""
        return next((number for number, name in enumerate(self._line(), 1) if name == session), 0)

    def due_s(self, now_s: float) -> float | None:
        """When time alone may let somebody go on; None while it cannot."""
        if not any(m.wants and not m.admitted for m in self.members.values()):
            return None
        times = [self.windows.next_s(now_s)]
        if self.pause is None:
            times += [self.breaker.due_s(now_s), self.next_s if self.width else None]
        return min((t for t in times if t is not None and t > now_s), default=None)

    def stored(self) -> Stored:
        """What survives a restart."""
        return Stored(
            key=self.key,
            label=self.label,
            breaker=self.breaker.snapshot(),
            width=self.width,
            pause=self.pause,
            windows=self.windows.all(),
            code=self.code,
            why=self.why,
        )
