"""All connections to this keeper: who is attached, who is displaced, who gets what.

At most one daemon is attached. The one with the highest generation wins, of two with the same one the later: a
daemon that was stopped for a while and wakes up beside its successor must not write a line.
"""

from __future__ import annotations

from betcode.keeper.bare import accept, sockets, suppress
from betcode.keeper.connection import Connection
from betcode.keeper.decide import Refusal, judge_attach
from betcode.keeper.errors import KeeperError
from betcode.keeper.journal import Journal
from betcode.keeper.limits import ATTACH_S_MAX, CONNECTIONS_MAX, RETRY_S
from betcode.keeper.poller import READ, WRITE, Poller
from betcode.keeper.protocol import Kind, ProtocolError, json_payload, stdin_payload
from betcode.keeper.timers import Timers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


class Requests:
    """What daemons may ask for; the loop implements it."""

    def hello(self, generation: int) -> dict[str, object]:
        """Fields of HELLO."""
        raise NotImplementedError

    def beat(self) -> dict[str, object]:
        """Fields of BEAT."""
        raise NotImplementedError

    def stdin(self, asker: int, line_id: str, line: bytes) -> None:
        """Write this line (with its newline), once."""
        raise NotImplementedError

    def end(self, how: str, grace_s: float) -> None:
        """End claude."""
        raise NotImplementedError

    def attached(self) -> None:
        """A daemon has attached."""
        raise NotImplementedError

    def detached(self, number: int) -> None:
        """Connection `number` is gone, or no longer attached."""
        raise NotImplementedError


class Daemons:
    """Accepts connections and serves them. Runs wholly inside the poller's handlers."""

    def __init__(
        self,
        listener: sockets.socket,
        *,
        poller: Poller,
        timers: Timers,
        journal: Journal,
        requests: Requests,
        generation: int,
        clock: Callable[[], float],
    ) -> None:
        self._listener = listener
        self._poller = poller
        self._timers = timers
        self._journal = journal
        self._requests = requests
        self._clock = clock
        self._generation = generation
        self._connections: dict[int, Connection] = {}  # by number
        self._attached: Connection | None = None
        self._next_number = 1
        self._exit_fields: dict[str, object] | None = None
        poller.watch(listener.fileno(), READ, self._on_connect)

    @property
    def is_attached(self) -> bool:
        """Whether a daemon is attached now."""
        return self._attached is not None

    # -- towards the daemons ----------------------------------------------------------------------------------

    def forward(self, start: int, stdout: bytes) -> None:
        """These bytes of stdout are in the journal now, at `start`."""
        if self._attached is not None:
            self._attached.forward(start, stdout)
            self._settle(self._attached)

    def stderr(self, chunk: bytes) -> None:
        """Pass on bytes of stderr."""
        if self._attached is not None:
            self._attached.push_stderr(chunk)
            self._flush(self._attached)

    def beat(self) -> None:
        """Send a BEAT to the attached daemon."""
        if self._attached is not None:
            self._attached.push_beat(self._requests.beat())
            self._flush(self._attached)

    def reply(self, asker: int, kind: int, fields: dict[str, object]) -> None:
        """Answer a connection, if it is still there and still attached."""
        connection = self._connections.get(asker)
        if connection is not None and connection.attached:
            connection.push(kind, fields)
            self._flush(connection)

    def flush_attached(self) -> None:
        """The journal has grown by bytes that were not forwarded."""
        if self._attached is not None:
            self._flush(self._attached)

    def finish(self, exit_fields: dict[str, object]) -> None:
        """EXIT goes to the attached daemon and to any that attaches from now on, after the last byte."""
        self._exit_fields = exit_fields
        if self._attached is not None:
            self._attached.finish(exit_fields)
            self._flush(self._attached)

    @property
    def all_served(self) -> bool:
        """Whether nobody waits for anything: no connection is still to attach, none has bytes to take."""
        waiting = (c for c in self._connections.values() if not c.attached or c.has_more(self._journal))
        return next(waiting, None) is None

    # -- from the daemons -------------------------------------------------------------------------------------

    def _on_connect(self, _events: int) -> None:
        try:
            sock = accept(self._listener)
        except BlockingIOError:
            return  # it has gone again
        except OSError:
            self._poller.forget(self._listener.fileno())  # out of descriptors: do not spin, look again later
            self._timers.set("accept", self._clock() + RETRY_S)
            return
        if len(self._connections) >= CONNECTIONS_MAX:
            idle = min((c for c in self._connections.values() if not c.attached), key=lambda c: c.number)
            self._close(idle)  # at most one is attached, so there is one that is not
        connection = Connection(sock, self._next_number, idle_since=self._clock())
        connection.on_ready = lambda events: self._on_ready(connection, events)
        self._next_number += 1
        self._connections[connection.number] = connection
        self._timers.set_once("idle", connection.idle_since + ATTACH_S_MAX)
        connection.push(Kind.HELLO, self._requests.hello(self._generation))
        self._flush(connection)

    def on_timer(self, name: str) -> None:
        """The time of the timer `idle` or `accept` has come."""
        if name == "accept":
            self._poller.watch(self._listener.fileno(), READ, self._on_connect)
        elif name == "idle":
            self._close_idle()

    def _close_idle(self) -> None:
        """Close connections that did not attach, or did not take their refusal, in time."""
        now = self._clock()
        for connection in tuple(self._connections.values()):
            if not connection.attached and connection.idle_since + ATTACH_S_MAX <= now:
                self._close(connection)
            elif not connection.attached:
                self._timers.set_once("idle", connection.idle_since + ATTACH_S_MAX)

    def _on_ready(self, connection: Connection, events: int) -> None:
        try:
            if events & ~WRITE and not connection.dead:
                frames = connection.receive()
                while frames:
                    for kind, payload in frames:
                        self._on_frame(connection, kind, payload)
                    frames = connection.receive_rest()
        except ProtocolError as error:
            self._refuse(connection, error.code, str(error))
        self._flush(connection)

    def _on_frame(self, connection: Connection, kind: int, payload: bytes) -> None:
        if connection.refused or connection.dead:
            return  # displaced, or broken, by an earlier frame of the same chunk
        if kind == Kind.ATTACH:
            self._on_attach(connection, json_payload(payload))
        elif kind in (Kind.STDIN, Kind.END, Kind.PING) and not connection.attached:
            raise ProtocolError(f"a frame of kind {kind} before ATTACH")
        elif kind == Kind.STDIN:
            line_id, line = stdin_payload(payload)
            self._requests.stdin(connection.number, line_id, line)
        elif kind == Kind.END:
            self._on_end(json_payload(payload))
        elif kind == Kind.PING:
            connection.push(Kind.BEAT, self._requests.beat())

    def _on_attach(self, connection: Connection, fields: dict[str, object]) -> None:
        verdict = judge_attach(fields, generation_seen=self._generation, out_end=self._journal.end)
        if isinstance(verdict, Refusal):
            self._refuse(connection, verdict.code, verdict.message)
            return
        self._generation = verdict.generation
        if self._attached is not None and self._attached is not connection:
            message = f"a daemon of generation {verdict.generation} has attached"
            self._refuse(self._attached, "older_generation", message)
        self._attached = connection
        connection.attach(verdict.offset)
        if self._exit_fields is not None:
            connection.finish(self._exit_fields)
        self._requests.attached()

    def _on_end(self, fields: dict[str, object]) -> None:
        how, grace_s = fields.get("how"), fields.get("grace_s", 0)
        if (
            how not in ("close_stdin", "term", "kill")
            or isinstance(grace_s, bool)
            or not isinstance(grace_s, int | float)
        ):
            raise ProtocolError("END needs how (close_stdin, term or kill) and, if at all, grace_s as a number")
        self._requests.end(str(how), float(grace_s))

    # -- housekeeping -----------------------------------------------------------------------------------------

    def _flush(self, connection: Connection) -> None:
        if not connection.dead:
            try:
                connection.flush(self._journal)
            except KeeperError as error:
                self._refuse(connection, "journal_unreadable", f"{error}; {error.hint}")
            except OSError as error:
                self._refuse(connection, "journal_unreadable", f"the journal cannot be read: {error}")
        self._settle(connection)

    def _settle(self, connection: Connection) -> None:
        """Close a connection that is over, else watch it for what it needs."""
        more = connection.has_more(self._journal)
        if connection.dead or (connection.refused and not more):
            self._close(connection)
        elif connection.number in self._connections:
            events = (READ if connection.reads else 0) | (WRITE if more else 0)
            self._poller.watch(connection.fd, events, connection.on_ready)

    def _refuse(self, connection: Connection, code: str, message: str) -> None:
        connection.refuse(code, message)
        connection.idle_since = self._clock()  # it gets as long to take this as it had to attach
        self._timers.set_once("idle", connection.idle_since + ATTACH_S_MAX)
        self._detach(connection)
        if not connection.dead:
            with suppress(OSError, KeeperError):  # it reads no journal any more
                connection.flush(self._journal)
        self._settle(connection)

    def _detach(self, connection: Connection) -> None:
        """Nothing of what this connection asked for concerns it any more."""
        if self._attached is connection:
            self._attached = None
        self._requests.detached(connection.number)

    def _close(self, connection: Connection) -> None:
        if self._connections.pop(connection.number, None) is None:
            return
        self._poller.forget(connection.fd)
        connection.close()
        connection.dead = True
        self._detach(connection)
