"""What the model server has seen: counters ("was nothing sent while the breaker was open?") and the newest requests.

`active_max`: the most that were being answered at the same time; background calls are left out.
"""

from collections import Counter, OrderedDict, deque
from dataclasses import asdict, dataclass
from typing import Any

from betcode.testing.limits import PROMPT_SHOWN_CHARS, REQUESTS_KEPT_MAX, SESSIONS_KEPT_MAX, TIMES_KEYS_MAX


@dataclass(slots=True)
class ModelRequest:
    """One POST /v1/messages.

    `status` is 0 until a status line was sent, and stays 0 if the connection was reset instead. `done`: the whole
    scripted answer was written, a scripted cut included; `cut`: the client went away before that.
    """

    n: int
    time_unix_s: float
    session: str
    agent: str
    model: str
    background: bool
    streamed: bool
    prompt: str = ""
    step: int = 0
    status: int = 0
    done: bool = False
    cut: bool = False


class ModelStats:
    """Counters and the newest requests. Background calls of the CLI are kept apart from the main counts."""

    def __init__(self) -> None:
        self._total = 0
        self._background = 0
        self._by_status: Counter[str] = Counter()
        self._by_session: OrderedDict[str, int] = OrderedDict()
        self._requests: deque[ModelRequest] = deque(maxlen=REQUESTS_KEPT_MAX)
        self._active: set[int] = set()
        self._active_own: set[int] = set()
        self._active_max = 0

    def begin(self, request: ModelRequest) -> None:
        """Count a request that was received."""
        request.prompt = request.prompt[:PROMPT_SHOWN_CHARS]
        self._requests.append(request)
        self._active.add(request.n)
        if request.background:
            self._background += 1
            return
        self._total += 1
        self._active_own.add(request.n)
        self._active_max = max(self._active_max, len(self._active_own))
        self._by_session[request.session] = self._by_session.pop(request.session, 0) + 1
        if len(self._by_session) > SESSIONS_KEPT_MAX:
            self._by_session.popitem(last=False)

    def answered(self, request: ModelRequest, status: int) -> None:
        """Count the status line of an answer; 0 stands for a reset instead of one."""
        request.status = status
        if not request.background:
            self._by_status[str(status)] += 1

    def end(self, request: ModelRequest, *, done: bool) -> None:
        """Note how the answer ended."""
        request.done, request.cut = done, not done
        self._active.discard(request.n)
        self._active_own.discard(request.n)

    def as_json(self) -> dict[str, Any]:
        """The body of GET /_stats."""
        return {
            "requests_total": self._total,
            "background_total": self._background,
            "active": len(self._active),
            "active_max": self._active_max,
            "by_status": dict(self._by_status),
            "by_session": dict(self._by_session),
            "requests": [asdict(request) for request in self._requests],
        }


class FaultCounts:
    """How often each (session, agent, prompt, occurrence, step) was asked for: what `times` in a script refers to."""

    def __init__(self) -> None:
        self._seen: OrderedDict[tuple[object, ...], int] = OrderedDict()

    def count(self, key: tuple[object, ...]) -> int:
        """Count one request more; returns how many came before it."""
        earlier = self._seen.pop(key, 0)
        self._seen[key] = earlier + 1
        if len(self._seen) > TIMES_KEYS_MAX:
            self._seen.popitem(last=False)
        return earlier
