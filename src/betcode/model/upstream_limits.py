"""Bounds and delays of what is done about a failing API, each with its reason (RL-2 to RL-5)."""

from __future__ import annotations

OPEN_S = 60.0
"""Nothing is sent for that long after the third failure, unless the API named a time (RL-2)."""
OPEN_MAX_S = 600.0
"""Longest pause after probes that failed: people would rather see one request in ten minutes than wait for hours."""
PROBE_WAIT_S = 120.0
"""A probe without news for that long frees its place: claude starts in seconds, and the API answers in as many."""
FORCE_EVERY_S = 10.0
"""Least time between two tries that people force: more would be the herd that the pause is there to prevent."""
SLOW_START_MAX = 64
"""Width at which a slow start is over: as many turns as a daemon may have slots."""
STAGGER_S = 0.4
"""Turns of one round of a slow start begin within so long of each other, at random (RL-4)."""
WINDOW_DAYS_MAX = 8
"""A usage window that is to end later is a mistake: the longest is a week."""
WINDOW_MARGIN_S = 1.0
"""After the end of a usage window, before anything is sent: the API's clock may be a little behind."""
WINDOWS_KEPT = 16
"""Usage windows of one upstream that are remembered; the API has named six."""
UPSTREAMS_MAX = 64
"""Upstreams remembered at the same time; of those that no session uses the oldest is forgotten."""
API_BACKOFF_FIRST_S = 1.0
"""First delay of a session whose request failed while the upstream is in use by others."""
API_BACKOFF_MAX_S = 60.0
"""Longest of these delays."""
API_TRIES_MAX = 8
"""Failures in a row of one message, while others are answered, after which it is the message and not the API."""
RETRY_AFTER_LEAST_S = 15.0
"""A claude that retries by itself names its next try: less than this is its own delay, not what the API asked for."""
API_WAIT_PROCESS_S = 45.0
"""A session that waits for the API for so long gives its process back: nobody knows how long it will be."""
CREDENTIALS_LOOK_S = 5.0
"""How often credentials that the API refused are looked at again: people change them by hand."""
COUNTDOWN_S = 1.0
"""How often the seconds that are left are shown anew to people who look on (RL-3)."""
