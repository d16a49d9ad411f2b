"""Bounds of the rescue of a damaged database."""

from __future__ import annotations

from typing import Final

CORRUPT_KEPT_MAX: Final = 4
"""Damaged databases that are kept aside: the first one, from before anything was tried, and the newest three."""
SENTENCES_MAX: Final = 200
"""Sentences of a report: some 20 KB. A last one says how many more there were."""
SENTENCES_LOGGED: Final = 20
"""Those that go into one line of the daemon's log."""
REPAIRS_MAX: Final = 3
"""Repairs within `REPAIRS_WITHIN_S` after which nothing more is repaired by itself: the disk is probably dying."""
REPAIRS_WITHIN_S: Final = 3_600.0
"""See `REPAIRS_MAX`."""
RETRY_FIRST_S: Final = 5.0
"""Wait after a repair that could not be made, for want of room mostly; doubled each time."""
RETRY_MAX_S: Final = 300.0
"""The longest such wait."""
DESK_KEYS_MAX: Final = 500_000
"""Messages whose keys are looked up in the intake log while the database is under repair: some 250 MB."""
DESK_BYTES_MAX: Final = 1024 * 1024 * 1024
"""What is taken into the intake log during a repair; then whoever wants to store something waits for its end."""
START_WAIT_S: Final = 600.0
"""How long a client waits for a daemon that says it repairs its database: ten times what 1 GB needs."""
