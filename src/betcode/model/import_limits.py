"""Bounds of taking over conversations that claude had without us."""

from __future__ import annotations

from typing import Final

EVENTS_MAX: Final = 10_000
"""Newest events of a conversation that are taken over, in one transaction: all of most; the rest is told as a gap."""
BYTES_MAX: Final = 16 * 1024 * 1024
"""The same in bytes."""
LISTED_MAX: Final = 1_000
"""Newest conversations that are listed."""
HEAD_BYTES: Final = 256 * 1024
"""Read of each for the list: its first prompt and its directory stand behind some 100 KB of what claude keeps there."""
WORDS_CHARS: Final = 60
"""Of the first prompt, in the list."""
LINE_BYTES_MAX: Final = 64 * 1024 * 1024
"""A longer line of a transcript is left out; the longest seen was 33 MB."""
