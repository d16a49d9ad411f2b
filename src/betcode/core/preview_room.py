"""Which sessions show no previews when too much text is being written at once (pure).

Previews are the first thing to go under load: nothing is lost with them, since a block is shown whole when it is
complete. The session that has most of the text gives way, so that one flood never hides what another one writes.
"""

from __future__ import annotations

from collections.abc import Mapping


def to_shed(used: Mapping[str, int], most: int) -> tuple[str, ...]:
    """The sessions whose previews go until the others have at most `most` together, the largest first.

    `used`: characters by session.
    """
    total = sum(used.values())
    chosen: list[str] = []
    for session in sorted(used, key=lambda name: (-used[name], name)):
        if total <= most:
            break
        chosen.append(session)
        total -= used[session]
    return tuple(chosen)
