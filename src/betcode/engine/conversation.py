"""One client's connection: reads its requests in order, answers each once, and sends what is new in its sessions.

What is new and in memory is sent straight from the bell that a feed rings, without a change of tasks: with many
clients that is most of the work of one. A task sends what has to wait: for the store, or for a slow client.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from msgspec.structs import replace as change

from betcode.core.admission import (
    LOCAL,
    NEVER_REFUSED,
    Ceilings,
    Kind,
    Load,
    Rates,
    Refused,
    admit,
    kind_of,
    not_urgent,
)
from betcode.engine.admission import Pace
from betcode.engine.feed import Subscription
from betcode.engine.ports import Channel, Log
from betcode.engine.registry import Registry
from betcode.engine.requests import Requests
from betcode.engine.tap import Tap as TapPlace
from betcode.engine.tasks import Tasks
from betcode.model import limits
from betcode.model.errors import BetcodeError
from betcode.model.frames import (
    PROTOCOL,
    AnyRequest,
    Attach,
    Create,
    Detach,
    Frame,
    Goodbye,
    Hello,
    Reply,
    SessionsFrame,
    Stop,
    Tap,
    Watch,
    Welcome,
)
from betcode.model.ids import SessionId
from betcode.model.policy import Policy
from betcode.wire.client_api import decode_request, encode_frame, failed, request_id

CAPABILITIES = ["attach", "watch", "steer", "permissions", "previews"]


@dataclass(slots=True)
class Daemon:
    """What a connection must know of the daemon it belongs to."""

    version: str
    pid: int
    requests: Requests
    stop: Callable[[bool], None]
    """Called with `end_sessions` when a client asks the daemon to stop."""
    new_trace_id: Callable[[], str] = lambda: ""
    attached: dict[SessionId, int] = field(default_factory=dict)
    """Clients per session."""


def stop_within_s(policy: Policy, *, end_sessions: bool) -> float:
    """Seconds that an orderly stop takes at most."""
    return limits.SHUTDOWN_WAIT_S + (policy.interrupt_grace_s + 2 * policy.stop_grace_s if end_sessions else 0.0)


class Bell:
    """A `Listener` of feeds. However often it is rung, it is answered once, soon."""

    __slots__ = ("_answer", "_rung")

    def __init__(self, answer: Callable[[], None]) -> None:
        """`answer` is called in the event loop."""
        self._answer = answer
        self._rung = False

    def set(self) -> None:
        """Ring."""
        if not self._rung:
            self._rung = True
            asyncio.get_running_loop().call_soon(self._ring)

    def _ring(self) -> None:
        self._rung = False
        self._answer()


class Conversation:
    """Serves one channel until it ends or `leave` is called."""

    def __init__(
        self,
        channel: Channel,
        registry: Registry,
        daemon: Daemon,
        log: Log,
        *,
        urgent: bool = False,
        rates: Rates = LOCAL,
    ) -> None:
        """Nothing happens before `serve`.

        Args:
            channel: the client.
            registry: the sessions.
            daemon: what it belongs to.
            log: gets the client's trace.
            urgent: it may only ask for what is never refused, since it is one more than the daemon admits.
            rates: how fast it may make sessions and send messages; a listener for other machines gives `remote`.
        """
        self._channel = channel
        self._registry = registry
        self._daemon = daemon
        self._log = log
        self._name = channel.client
        self._trace_id = ""
        self._bell = Bell(self._send_now)
        self._more = asyncio.Event()
        """Something is to be sent that has to wait."""
        self._sending = False
        """The task is at it: what came later must not overtake it."""
        self._subscriptions: dict[SessionId, Subscription] = {}
        self._taps: dict[SessionId, TapPlace] = {}
        self._urgent = urgent
        self._pace = Pace(rates)
        self._person = False
        self._watching = False
        self._changed: set[SessionId] = set()
        self._ended = asyncio.Event()
        self._tasks = Tasks(self._task_failed)

    async def serve(self) -> None:
        """Run the connection. Its end is no event of any session."""
        try:
            if await self._greet():
                self._registry.listeners.add(self._note_change)
                self._tasks.start("send to client", self._send_new())
                self._tasks.start("read from client", self._read())
                await self._ended.wait()
        except ConnectionError:
            self._log.debug("a client went away")
        finally:
            self._registry.listeners.discard(self._note_change)
            for session in {*self._subscriptions, *self._taps}:
                self._detach(session)
            await self._tasks.cancel()

    async def leave(self, reason: str, retry_after_s: float | None) -> None:
        """Say goodbye and end."""
        try:
            async with asyncio.timeout(limits.CLOSE_WAIT_S):
                await self._send(Goodbye(reason=reason, retry_after_s=retry_after_s))
        except (TimeoutError, ConnectionError):
            self._log.debug("a client did not take the goodbye")
        self._ended.set()

    def _task_failed(self, name: str, error: BaseException) -> None:
        if not isinstance(error, ConnectionError):
            self._log.error("a connection's task failed", task=name, detail=repr(error), error_type="internal")
        self._ended.set()

    # --- greeting -----------------------------------------------------------------------------------------------

    async def _greet(self) -> bool:
        try:
            async with asyncio.timeout(limits.HELLO_WAIT_S):
                data = await self._channel.receive()
        except TimeoutError:
            await self._send(Goodbye(reason=f"no hello within {limits.HELLO_WAIT_S:.0f} s"))
            return False
        except BetcodeError as error:
            await self._fail(0, error)
            return False
        if data is None:
            return False
        try:
            hello = decode_request(data)
            self._check_hello(hello)
        except BetcodeError as error:
            await self._fail(request_id(data), error)
            return False
        assert isinstance(hello, Hello)
        self._name = hello.client or self._name
        self._person = hello.person
        self._trace_id = hello.trace_id or self._daemon.new_trace_id()
        self._log = self._log.bind(trace_id=self._trace_id, client=self._name)
        welcome = Welcome(
            protocol=PROTOCOL, version=self._daemon.version, pid=self._daemon.pid, capabilities=CAPABILITIES
        )
        await self._send(welcome)
        return True

    @staticmethod
    def _check_hello(request: AnyRequest) -> None:
        if not isinstance(request, Hello):
            raise BetcodeError(
                "frame.unexpected", "the first frame must be hello", hint='Send {"op":"hello","id":1,"protocol":[1]}.'
            )
        if PROTOCOL not in request.protocol:
            raise BetcodeError(
                "protocol.version",
                f"this daemon speaks protocol {PROTOCOL}, the client {request.protocol}",
                hint="Update the older of the two; `betcode daemon stop` ends an old daemon, claude goes on.",
            )

    # --- requests -----------------------------------------------------------------------------------------------

    async def _read(self) -> None:
        while True:
            try:
                data = await self._channel.receive()
            except BetcodeError as error:
                await self._fail(0, error)
                break
            if data is None:
                break
            try:
                request = decode_request(data)
            except BetcodeError as error:
                await self._fail(request_id(data), error)
                continue
            try:
                body = await self._handle(request)
            except BetcodeError as error:
                given = getattr(request, "session", "")
                await self._fail(request.id, await self._daemon.requests.explained(error, given))
                continue
            if body is not None:
                await self._send(Reply(re=request.id, body=body))
                self._bell.set()
        self._ended.set()

    async def _handle(self, request: AnyRequest) -> dict[str, Any] | None:
        if self._urgent and kind_of(request) not in NEVER_REFUSED:
            raise not_urgent(request).error()
        match request:
            case Hello():
                raise BetcodeError("frame.unexpected", "hello came twice", hint="Send it once, as the first frame.")
            case Attach():
                return await self._attach(request)
            case Tap():
                return self._tap(request)
            case Detach():
                self._detach(self._registry.find(request.session))
                return {}
            case Watch():
                self._watching = True
                return {"sessions": [self._daemon.requests.view(s) for s in self._registry.summaries()]}
            case Stop():
                self._daemon.stop(request.end_sessions)
                return {"within_s": stop_within_s(self._registry.world.policy, end_sessions=request.end_sessions)}
            case Create() if not request.options.trace_id:
                options = change(request.options, trace_id=self._trace_id)
                return await self._daemon.requests.handle(change(request, options=options), self._name, "", self._pace)
            case _:
                return await self._daemon.requests.handle(request, self._name, self._trace_id, self._pace)

    async def _attach(self, request: Attach) -> dict[str, Any]:
        session = self._registry.find(request.session)
        attached = self._daemon.attached
        if session not in self._subscriptions:
            most = Ceilings(session_clients=self._registry.world.policy.clients_per_session_max)
            decision = admit(Kind.SUBSCRIPTION, Load(session_clients=attached.get(session, 0)), most, 0.0)
            if isinstance(decision, Refused):
                raise decision.error()
        self._unsubscribe(session)
        feed = self._registry.runner(session).feed
        epoch, seq = (feed.epoch, feed.seq) if request.from_end else (request.epoch or feed.epoch, request.seq)
        if epoch == feed.epoch and seq > feed.seq:
            # More than we have stored: whoever counted further has seen what is lost here. Begin anew, and say so.
            self._log.error("a client knows more events than are stored", session_id=session, seq=seq, stored=feed.seq)
            epoch = -1
        feed.listeners.add(self._bell)
        self._subscriptions[session] = Subscription(feed, epoch, seq, request.previews)
        attached[session] = attached.get(session, 0) + 1
        self._registry.world.slots.attend(session, int(self._person))
        return {
            "session": self._daemon.requests.view(self._registry.summary(session)),
            "epoch": feed.epoch,
            "seq": feed.seq,
        }

    def _tap(self, request: Tap) -> dict[str, Any]:
        session = self._registry.find(request.session)
        feed = self._registry.runner(session).feed
        run, offset = (request.run, request.offset) if request.run else feed.position
        feed.listeners.add(self._bell)
        self._taps[session] = TapPlace(feed, max(1, run), offset, request.place)
        return {"run": max(1, run), "offset": offset}

    def _detach(self, session: SessionId) -> None:
        tap = self._taps.pop(session, None)
        if tap is not None:
            tap.feed.listeners.discard(self._bell)
        self._unsubscribe(session)

    def _unsubscribe(self, session: SessionId) -> None:
        subscription = self._subscriptions.pop(session, None)
        if subscription is None:
            return
        if session not in self._taps:
            subscription.feed.listeners.discard(self._bell)
        self._registry.world.slots.attend(session, -int(self._person))
        count = self._daemon.attached.get(session, 1) - 1
        if count > 0:
            self._daemon.attached[session] = count
        else:
            self._daemon.attached.pop(session, None)

    # --- sending ------------------------------------------------------------------------------------------------

    def _note_change(self, session: SessionId) -> None:
        if self._watching:
            self._changed.add(session)
            self._bell.set()

    def _send_now(self) -> None:
        """Send what needs no waiting, and leave the rest to the task."""
        if self._sending or self._taps or self._changed:
            self._more.set()
            return
        try:
            for subscription in self._subscriptions.values():
                while self._channel.ready and (frame := subscription.take_now()) is not None:
                    self._channel.put(frame)
                if not self._channel.ready or subscription.lags:
                    self._more.set()
                    return
        except Exception as error:  # noqa: BLE001 - as that of a task: it ends this connection and nothing else
            self._task_failed("send to client", error)

    async def _send_new(self) -> None:
        while True:
            await self._more.wait()
            self._more.clear()
            self._sending = True
            try:
                while await self._send_round():
                    pass
            finally:
                self._sending = False

    async def _send_round(self) -> bool:
        """Send the next of everything. False when nothing was left to send."""
        more = False
        for subscription in list(self._subscriptions.values()):
            frame = await subscription.take(self._registry.world.store)
            if frame is not None:
                await self._channel.send(frame)
                more = True
        for tap in list(self._taps.values()):
            raw = await tap.take(self._registry.world.launcher)
            if raw is not None:
                await self._send(raw)
                more = True
        if self._changed:
            changed, self._changed = self._changed, set()
            known = [s for s in changed if self._registry.knows(s)]
            await self._send(
                SessionsFrame(
                    sessions=[self._registry.summary(s) for s in known],
                    deleted=sorted(changed.difference(known)),
                )
            )
        return more

    async def _send(self, frame: Frame) -> None:
        await self._channel.send(encode_frame(frame))

    async def _fail(self, re: int, error: BetcodeError) -> None:
        await self._send(failed(re, error))
