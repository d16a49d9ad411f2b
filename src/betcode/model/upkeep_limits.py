"""Bounds of what keeps the database well while nobody looks: backups, checks, the size of its log."""

from __future__ import annotations

from typing import Final

TICK_S: Final = 60.0
"""Between looks at what is due: the shortest period below is five times that."""
BACKUP_EVERY_S: Final = 6 * 3_600.0
"""A backup after so long, if anything changed (SQ-7)."""
BACKUPS_NEWEST: Final = 4
"""Newest backups that are kept whatever their age: a day of them."""
BACKUP_DAYS: Final = 7
"""Days of which the newest backup is kept (SQ-7)."""
KEPT_DAYS: Final = 30
"""How long those are kept that were made before a migration or by hand (SQ-7)."""
BACKUP_SHARE: Final = 0.2
"""Of the space that is free, or would be without them, all backups together may use so much."""
BACKUP_RETRY_S: Final = 900.0
"""After a backup that could not be made."""
BACKUP_OLD_S: Final = 24 * 3_600.0
"""A newest backup older than this is told of, if there was something to save."""
CHECKPOINT_EVERY_S: Final = 300.0
"""The write-ahead log is brought into the file after so long (SQ-6)."""
LOG_BYTES_MAX: Final = 100 * 1024 * 1024
"""A longer log is brought in whole and cut (SQ-6)."""
SCRUB_ROWS_A_TICK: Final = 5_000
"""Rows whose checksums are looked at per tick: 20 ms of work; 60,000 rows take 12 minutes, 2 million 7 hours."""
CHECK_EVERY_S: Final = 7 * 86_400.0
"""A check of the whole structure (SQ-2)."""
CHECK_RETRY_S: Final = 3_600.0
"""After one that was given up because the write-ahead log grew too long meanwhile: a reader keeps it from being cut."""
LOG_LOOK_S: Final = 0.5
"""Between looks at the length of the log during such a check: it grows by some 20 MB meanwhile at most."""
CUT_WAIT_MS: Final = 500
"""Cutting the log waits so long for readers of an old state, and writers wait with it."""
REST_S: Final = 0.01
"""Between two steps of reading rows, 8 ms each, in which everything else of the daemon has its turn."""
INTAKE_KEPT_S: Final = 7 * 86_400.0
"""A segment of the intake log stays so long after it was last written, and until a later backup has what it held."""
