"""The rules of the client protocol that no single type shows. By hand, with the figures from `model.limits`."""

from __future__ import annotations

from betcode.model import limits

REQUEST_MIB = limits.FRAME_BYTES_MAX // 1024**2
EVENTS = limits.FRAME_EVENTS_MAX
KIB = limits.FRAME_BYTES_SOFT // 1024

CONNECTION = f"""\
The daemon listens on the Unix socket `daemon.sock` in the runtime directory ([files.md](files.md)); only processes of
its user may connect. Open a WebSocket on it, with any path but `/healthz` and `/metrics`, which are pages for HTTP
([metrics.md](metrics.md)). Each text is one JSON object in UTF-8. A connection that sends an `Origin` header is
refused: browsers cannot use this socket.

- `hello` must come first, within {limits.HELLO_WAIT_S:.0f} s.
- Requests of one connection are carried out one after the other, in the order they come.
- A request may have {REQUEST_MIB} MiB. A larger one closes the connection, after an error if it is not much larger.
- {limits.CONNECTIONS_MAX} clients may be connected, {limits.CLIENTS_PER_SESSION_MAX} attached to one session.
- The daemon sends no pings: on a Unix socket the end of the other side is always seen.
- Ignore fields, frame types and event kinds that you do not know.
- A field that is left out has its default. Clients may leave out defaults; an event that an older version stored lacks
  the fields that are newer.

[protocol.schema.json](protocol.schema.json) has the same as JSON Schema. All bounds are in [limits.md](limits.md)."""

CURSOR = f"""\
A *cursor* is the position (epoch, seq) of the last event a client has seen of a session. Keep it, and every event comes
once and in order, whatever breaks.

1. Inside an epoch, numbers start at 1 and have no hole. An event is stored before anybody sees it and never changes.
2. `attach` with the cursor. All events behind it come, then live ones, at most {EVENTS} or about {KIB} KiB in a frame.
   Without a cursor attach with epoch 0, seq 0. With `from_end` the cursor is `epoch`, `seq` of the reply.
3. An event at or before the cursor is a duplicate: drop it. The next one moves the cursor by one, also when you do not
   know its kind.
4. If the first event that comes is not number 1 and you had no cursor, older ones are no longer stored: begin there.
5. A `gap` event whose unit is `events` stands for the numbers `first` to `last`, which are lost: the cursor moves to
   `last`.
6. An event further ahead than the next one is a hole that should not be: `detach`, then `attach` with the cursor.
7. If `reset` is not empty, forget what you hold of this session and take (`epoch` of the frame, 0) as the cursor. This
   happens when the session's epoch is not yours any more, or when you know more events than are stored.
8. Acknowledge nothing. A client that reads slowly gets fuller frames and merged previews, and slows nobody.

Previews show what is still being written. They have no number and are not stored.

1. Keep one text for each `scope`. A preview keeps the first `offset` characters of what you have of its `block` and
   appends its `text`. Characters are Unicode code points, not bytes and not UTF-16 units.
2. The durable event with the same `block` replaces them. A newer block of the scope drops the older one; `turn_ended`
   drops all. A preview of a block that is complete already is late: drop it.
3. If `offset` is beyond what you have, text is missing: `detach`, then `attach` with the cursor.
4. After each `attach` the text of an open block comes once more, from its beginning."""

ERRORS = """\
A request gets exactly one answer, `reply` or `error`. An `error` means that it was not done. `code` is what to match
([errors.md](errors.md)); `message` says what happened and `hint` what to do, both for people. A text that is no request
is answered too, with its `id` if one can be found in it, else with `re` 0; the connection goes on. It is closed after
an error to `hello` and after a request that is too large.

`status` is `RESOURCE_EXHAUSTED` where a limit was reached: `limit` is its name, `scope` whose it is (`session`,
`client` or `daemon`), and the same request may be sent again after `retry_after_ms` milliseconds. Answers to questions,
requests that stop, cancel or end something, and those that only read are never refused for that. One client too many
gets HTTP status 503 instead of a WebSocket, with the same fields as a JSON body. On the path `/v1/urgent` some more are
let in, for requests of that kind alone. Messages of `background` sessions are refused before others, and before them
previews are left out.

A connection that breaks before the answer leaves open whether the request was done. `create` and `send` may be sent
again: under the same `key` nothing is done twice. A second `answer` is refused. Before repeating `interrupt` or `clear`
look at the session: they concern what runs or waits when they arrive."""
