"""How much clients may ask of the daemon at once, and when one that was refused may come again (INV-4, INV-8)."""

from __future__ import annotations

from typing import Final

MESSAGES_IN_FLIGHT_MAX: Final = 5_000
"""Messages of all sessions that run or wait: fifty sessions with full queues. A start reads them all, in some 50 ms."""
SESSION_MESSAGE_BYTES_MAX: Final = 64 * 1024 * 1024
"""Text of one session's messages in memory. The longest message takes up to 40 MiB: a character that is not ASCII makes
each one of its 10 Mi characters four bytes."""
MESSAGE_BYTES_MAX: Final = 256 * 1024 * 1024
"""The same of all sessions: four that are full leave the others room, and the daemon stays below half a GB."""
BACKGROUND_SHARE: Final = 0.75
"""Of each total, what messages of background sessions may take: the rest is for sessions that a person looks at."""
CLIENTS_URGENT_MAX: Final = 16
"""Clients beyond those that are admitted, which may only answer questions and stop turns; most stay for one request."""
PREVIEW_CHARS_TOTAL_MAX: Final = 32 * 1024 * 1024
"""Text of all open blocks together: 32 of the longest (PREVIEW_TEXT_CHARS). Beyond it the session with most of it shows
no previews until its blocks are complete."""

# --- when to come again -------------------------------------------------------------------------------------------
RETRY_CLIENTS_MS: Final = 1_000
"""A client with one request stays below a second."""
RETRY_MESSAGES_MS: Final = 5_000
"""A short turn takes 2 to 10 s, and one message less waits then."""
RETRY_DELETIONS_MS: Final = 86_400_000
"""The oldest keys are forgotten day by day."""

# --- rates, for clients that are not on the local socket ----------------------------------------------------------
SESSIONS_BURST: Final = 10
"""New sessions of one client at once: a person opens some tabs."""
SESSIONS_PER_S: Final = 0.2
"""After that one each 5 s: a claude takes a CPU second to start."""
MESSAGES_BURST: Final = 30
"""Messages of one client at once: a queue that was written without a connection."""
MESSAGES_PER_S: Final = 2.0
"""After that: nobody types faster, and a database commit takes 5 ms."""
