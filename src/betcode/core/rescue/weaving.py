"""Puts events that a journal gave back among those that are left, where their number cannot be proved (INV-6).

Both are in the order in which they happened, and what both have is an anchor. What only the journal has goes between
the anchors around it, into the first hole there. Such a session begins a new epoch: `settling`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence

import msgspec

from betcode.model.events import Event


def woven(
    made: Sequence[Event],
    known: Mapping[int, bytes],
    first: int,
    last: int,
    same_if: Callable[[bytes], bytes] | None = None,
) -> list[tuple[int, Event]]:
    """Those of `made` that are not `known`, each with the number of the event that it follows.

    Args:
        made: of the stretch from `first` to `last`, in order; perhaps of more than that.
        known: bodies of the events of the stretch that are left, by number.
        first, last: the stretch.
        same_if: what two events have in common that are the same one; else all but number and time.
    """
    what = same_if or content_of
    places: dict[bytes, deque[int]] = {}
    for index, event in enumerate(made):
        places.setdefault(what(msgspec.json.encode(event)), deque()).append(index)
    placed: list[tuple[int, Event]] = []
    next_made, anchor = 0, first - 1
    for number in sorted(known):  # what claude printed of it is in `made`, in this order
        same = places.get(what(known[number]), deque())
        while same and same[0] < next_made:
            same.popleft()
        if same:
            index = same.popleft()
            placed += [(_hole(known, anchor, number), lost) for lost in made[next_made:index]]
            next_made, anchor = index + 1, number
    return placed + [(_hole(known, anchor, last + 1), lost) for lost in made[next_made:]]


def _hole(known: Mapping[int, bytes], after: int, before: int) -> int:
    """The number that the first hole between two anchors follows; the anchor itself when there is none."""
    return next((number - 1 for number in range(after + 1, before) if number not in known), after)


def content_of(body: bytes) -> bytes:
    """What an event tells, whenever it was stored and under whatever number."""
    event: dict[str, object] = msgspec.json.decode(body)
    told = {name: value for name, value in event.items() if name not in ("epoch", "seq", "time")}
    return msgspec.json.encode(told, order="sorted")


_NAMED_BY = {
    "assistant": "block",
    "tool_call": "tool_use_id",
    "tool_result": "tool_use_id",
    "user_message": "message_id",
}
"""Kinds that claude itself has a name for, and where it stands."""


def identity_of(body: bytes) -> bytes:
    """What names an event, in whichever record it stands; all of it for one without a name."""
    event: dict[str, object] = msgspec.json.decode(body)
    name = _NAMED_BY.get(str(event.get("kind")))
    return f"{event['kind']} {event[name]}".encode() if name and event.get(name) else content_of(body)
