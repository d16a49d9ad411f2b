"""Every bound of the daemon and its clients: one name each, with its unit and its reason.

The keeper, which imports nothing of this package but itself, has its own few in `keeper/limits.py`.
"""

from __future__ import annotations

from typing import Final

# --- what claude prints -------------------------------------------------------------------------------------------
LINE_BYTES_MAX: Final = 10 * 1024 * 1024
"""A longer stdout line is cut (ND-7). A 270 KB image is a 0.7 MB line; 10 MiB leaves room for a 7 MB file."""
BAD_LINE_PREVIEW_CHARS: Final = 400
"""How much of a bad line an event shows; the journal keeps every byte."""
UNKNOWN_RAW_CHARS: Final = 65_536
"""How much of a line of unknown kind its event carries: whole in practice, bounded in principle."""
EVENT_TEXT_CHARS: Final = 4 * 1024 * 1024
"""A tool result or answer block longer than this is cut with a mark; the CLI itself caps Bash at 30,000."""
PREVIEW_TEXT_CHARS: Final = 1024 * 1024
"""Text of one open block kept for late clients; what is longer is shown when the block is complete."""
REQUEST_ID_CHARS_MAX: Final = 48
"""Id of a control request of claude. A UUID has 36; 48 of 4 bytes each, after a prefix, are what the keeper takes."""
BAD_LINES_TOLD: Final = 100
"""Unreadable lines of a turn that each give an event and a log line; then each doubling of their number gives one."""
UNKNOWN_LINES_TOLD: Final = 10_000
"""Lines of unknown kind of a turn that each give an event; then each doubling of their number gives one."""
NEW_IN_LINE_MAX: Final = 20
"""Unknown fields or parts of one line that are told; a changed claude adds a few."""
WARNED_KINDS_MAX: Final = 200
"""Unknown kinds remembered per session so that each is warned of once (ND-4)."""
QUARANTINED_MAX: Final = 1_000
"""Newest unreadable lines of a session that are kept (ND-9), in the database and on their way to it."""
QUARANTINE_DAYS: Final = 7
"""How long they are kept (ND-9)."""
QUARANTINE_COPY_BYTES: Final = 4_096
"""Beginning of such a line beside its place in the journal: whole for most, and 4 MiB for all of a session."""
QUARANTINE_PIECE_BYTES: Final = 1024 * 1024
"""Bytes of such a line in one reply."""
DRIFT_MAX: Final = 1_000
"""Unknown kinds and fields that are remembered, by version of claude, the latest seen; some 600 bytes each."""
OPEN_BLOCKS_MAX: Final = 64
"""Scopes with an unfinished block: the main conversation and running subagents."""
OPEN_CALLS_MAX: Final = 100
"""Tool calls of one turn without a result that are remembered; a turn with more of them is never repeated by itself."""
DONE_CALLS_KEPT: Final = 16
"""Newest calls with a result that Claude's transcript must hold before claude may re-run the turn from it."""
CALL_BRIEF_CHARS: Final = 200
"""Beginning of a call's input, for whoever must find out what became of it."""
TASKS_KEPT: Final = 100
"""Background tasks of one session that are remembered by name."""

# --- ingest -------------------------------------------------------------------------------------------------------
INGEST_PIECE_BYTES: Final = 16 * 1024
"""Output is cut into lines by this much at a time: 16,384 empty lines, 4 ms, before other sessions may work."""
INGEST_LINES_AT_ONCE: Final = 64
"""Lines that are read and decided on before other sessions may work: 2 to 4 ms."""
INGEST_BYTES_AHEAD: Final = 2 * 1024 * 1024
"""Size of the events that are decided and not yet committed: eight reads of a journal keep the writer busy."""
INGEST_EVENTS_AHEAD: Final = 1_024
"""The same in numbers, for events that are small."""
JOURNAL_READ_BYTES: Final = 256 * 1024
"""One read from a journal file or keeper frame."""
INBOX_LENGTH: Final = 16
"""Requests and pieces of output (256 KiB) that wait for one session; more wait where they come from."""

# --- fan-out ------------------------------------------------------------------------------------------------------
FRAME_EVENTS_MAX: Final = 64
"""Events in one frame: batching 16 or more costs a tenth of sending singly."""
FRAME_BYTES_SOFT: Final = 64 * 1024
"""A frame is closed when it passes this; a single larger event still goes whole."""
FRAMES_SHARED: Final = 8
"""Newest frames of one session kept for clients at the same place: nearly all have everything, or lack one frame."""
WINDOW_EVENTS: Final = 1_000
"""Newest events of a session kept in memory for live clients; behind it they read from the database."""
WINDOW_BYTES: Final = 1024 * 1024
"""The same in bytes."""

# --- client protocol ----------------------------------------------------------------------------------------------
FRAME_BYTES_MAX: Final = 64 * 1024 * 1024
"""A request frame: a 10 MiB prompt, each byte of it escaped as six, and the rest."""
PROMPT_BYTES_MAX: Final = 10 * 1024 * 1024
"""Text of one message in UTF-8: the real CLI accepts 10 MB."""
CONNECTIONS_MAX: Final = 500
"""Clients of one daemon (PS-9)."""
FILES_MAX: Final = 4_096
"""Open files of the daemon, and of any program of a session that raises its own limit (PS-9). The daemon has 500
clients, and a socket and now and then a journal for each of 192 processes."""
PROCESS_FILES_MAX: Final = 256
"""Open files of each process of a session that does not raise it (PS-9): claude was seen with 21 and works with 24."""
SESSION_MEMORY_BYTES_MAX: Final = 512 * 1024 * 1024
"""Memory of a session's processes above what claude itself needs, which is 180 MiB when it is ready (PS-9)."""
CLIENTS_PER_SESSION_MAX: Final = 100
"""Clients attached to one session (PS-9)."""
HELLO_WAIT_S: Final = 10.0
"""A connection that says nothing this long is closed."""
NAME_CHARS_MAX: Final = 200
"""Names of sessions and clients."""
PATH_CHARS_MAX: Final = 4_096
"""PATH_MAX of Linux."""
ENV_CHARS_MAX: Final = 32_768
"""PATH and VIRTUAL_ENV of the client."""
RULES_MAX: Final = 100
"""Permission rules given to one session."""
RULE_CHARS_MAX: Final = 1_000
"""One permission rule."""
ANSWER_CHARS_MAX: Final = 100_000
"""A denial's message, and the JSON of an edited input."""
LIST_MAX: Final = 1_000
"""Sessions or questions in one reply."""
PAGE_EVENTS_MAX: Final = 500
"""Events read from the database at a time."""
CLOSE_WAIT_S: Final = 2.0
"""How long a stopping server waits for its clients to take the goodbye."""
MESSAGES_WAITING_MAX: Final = 100
"""Messages of one session that wait for their turn."""
CREATIONS_UNSURE_MAX: Final = 1_000
"""Sessions whose creation was reported as failed and may have been stored: the same key finds them again."""
MESSAGE_KEY_DAYS: Final = 30
"""How long an idempotency key is remembered at least."""

MESSAGE_PREVIEW_CHARS: Final = 200
"""Beginning of a message's text in a list of what waits: enough to know it by."""
TOMBSTONES_MAX: Final = 1_000_000
"""Keys of deleted messages and sessions that are remembered, some 150 bytes each; beyond it nothing is deleted."""
SWEEP_EVENTS: Final = 1_000
"""Events of a deleted session removed in one transaction: 5 to 10 ms of the writer."""

# --- processes ----------------------------------------------------------------------------------------------------
READY_WAIT_S: Final = 120.0
"""From spawn to the answer to `initialize`: 0.4 s when idle, 6.5 s with ten starts at once on two cores."""
SLOTS: Final = 64
"""Turns at the same time where no setting says another number (`daemon.slots`); the largest that a setting may say."""
SLOTS_QUEUE: Final = 50
"""Sessions that may wait for a slot (PS-8)."""
SLOT_LATE_S: Final = 30.0
"""A session that has waited this long for a slot says so (PS-8)."""
BACKGROUND_LATER_S: Final = 60.0
"""A session that only programs use waits for a slot as if it had come so much later than one of a person."""
PROCESSES_PER_SLOT: Final = 3
"""Processes of claude for each slot (PS-8): with 4 slots 12, which share 75 MB and have 105 MB each, so 1.4 GB."""
IDLE_PROCESS_S: Final = 600.0
"""A process that has nothing to do for this long is ended (PS-8): it has 105 MB of its own, starting it takes 0.5 s."""
STARTS_AT_ONCE: Final = 3
"""Concurrent starts of claude: each costs one CPU second."""
STOP_GRACE_S: Final = 5.0
"""Between SIGTERM and SIGKILL of the process tree (PS-4)."""
INTERRUPT_GRACE_S: Final = 10.0
"""Between an interrupt and SIGTERM (PS-4)."""
BACKOFF_FIRST_S: Final = 0.5
"""First delay after a crash (PS-2)."""
BACKOFF_MAX_S: Final = 30.0
"""Longest delay after a crash (PS-2)."""
CRASHES_MAX: Final = 5
"""Crashes within `CRASH_WINDOW_S` that stop the restarts (PS-3)."""
CRASH_WINDOW_S: Final = 60.0
"""See `CRASHES_MAX`."""
STALL_S: Final = 120.0
"""Silence of the API inside a turn (PS-4): the CLI itself never gives up on a silent stream."""
HANG_S: Final = 300.0
"""Any other silence of a turn with no tool running (PS-4)."""
PARSE_ERRORS_MAX: Final = 5
"""Unreadable lines within `PARSE_ERROR_WINDOW_S` after which the process is replaced (ND-6)."""
PARSE_ERROR_WINDOW_S: Final = 60.0
"""See `PARSE_ERRORS_MAX`."""
GARBLED_WAIT_S: Final = 30.0
"""Without one readable line, before such a process is ended in the middle of its turn (ND-6)."""
SILENCES_MAX: Final = 5
"""Interrupts of the same message because of silence, in a row: then it fails with the reason."""
RERUN_WAIT_S: Final = 20.0
"""From a claude that is ready to the first sign of the turn that it should go on with by itself."""
VERSION_WAIT_S: Final = 30.0
"""`claude --version` takes 0.02 to 0.6 s; a loaded machine ten times that."""
MEMORY_SHARE: Final = 0.8
"""Of the system's memory for the processes of all sessions (PS-9)."""
MEMORY_ROOM_S: Final = 1.0
"""Between looks at what all sessions use together; their keepers tell each 5 s, and when it becomes much."""
KEEPER_BYTES_MAX: Final = 64 * 1024 * 1024
"""Room for the keeper in its scope: it has 10 MB, and more while it takes in a large message."""
CLAUDE_LOOK_S: Final = 10.0
"""Between looks whether the file of claude was replaced: some calls of stat; `--version` only after a change."""
CLAUDES_KNOWN_MAX: Final = 16
"""Executables whose version is remembered: sessions may have a PATH of their own."""
KILLED_WAIT_S: Final = 5.0
"""From SIGKILL to the end of the process: milliseconds, more while it is in a system call that cannot be broken off."""
KEEPER_START_WAIT_S: Final = 30.0
"""From starting a keeper to its report."""
KEEPER_CONNECT_WAIT_S: Final = 5.0
"""For a living keeper's socket to accept and greet."""
KEEPER_BEAT_WAIT_S: Final = 20.0
"""Four missed beats of a keeper (5 s each): it is reported as silent."""
LOCK_WAIT_S: Final = 10.0
"""For the kernel to free a session's lock after its last holder was ended."""
LOCK_POLL_S: Final = 0.05
"""Between looks at a lock that is being freed."""
RUNS_LOOKED_AT_MAX: Final = 20
"""Newest runs among which the holder of a session's lock is looked for, if it is not the expected one."""
STDERR_LINES_SHOWN: Final = 10
"""Last lines of stderr shown with a crash."""
WRITES_PENDING_MAX: Final = 64
"""Lines handed to a keeper and not yet confirmed."""
GIVEN_KEPT: Final = 32
"""Newest uuids of messages that claude was given, so that a prompt of somebody else is known as one."""
STRANGERS_KEPT: Final = 32
"""Signs of somebody else's claude that are remembered for a session."""
FOREIGN_LOOK_S: Final = 5.0
"""Between looks whether somebody else's claude works on a session's conversation: some system calls each."""
TRANSCRIPT_READ_BYTES_MAX: Final = 64 * 1024 * 1024
"""Newest part of claude's transcript that is read after a death: a turn with a 10 MB message takes 33 MB of it."""
TRANSCRIPT_LINE_BYTES_MAX: Final = 24 * 1024 * 1024
"""A longer line of it is not read: the longest message (PROMPT_BYTES_MAX) with each character escaped as two bytes."""
TRANSCRIPT_LINES_MAX: Final = 1_000_000
"""Lines read of it, some seconds of work: in a file with more of them in so few bytes most are not claude's."""
STATE_FILE_BYTES_MAX: Final = 64 * 1024
"""What is read of the file in which a claude process tells what it works on; it has 1 KB."""
STATE_FILE_READS: Final = 3
"""Attempts at such a file: it is rewritten in place and may be caught half written."""
STATE_FILE_PAUSE_S: Final = 0.005
"""Between two of these attempts."""

# --- permissions --------------------------------------------------------------------------------------------------
PERMISSION_TTL_S: Final = 7 * 86_400.0
"""A question lives a week (PM-2)."""
PERMISSION_TTL_HEADLESS_S: Final = 60.0
"""Without a person at a terminal (PM-2)."""
PERMISSION_TTL_RANGE_S: Final = (1.0, 30 * 86_400.0)
"""What a session may ask for instead."""
PERMISSIONS_OPEN_MAX: Final = 100
"""Open questions of one session; beyond it a question is denied with a message that says so."""

# --- store --------------------------------------------------------------------------------------------------------
WRITE_QUEUE_MAX: Final = 4_096
"""Transactions waiting for the writer thread."""
BATCH_TRANSACTIONS_MAX: Final = 512
"""Transactions joined in one commit."""
MARK_S: Final = 1.0
"""Between two marks of a running turn: what a lost database can hide is at most this old."""
BUSY_TIMEOUT_MS: Final = 5_000
"""SQLite's own wait for another process's lock (SQ-1)."""
BUSY_TRIES: Final = 5
"""Attempts at one commit while another process holds the lock, each with SQLite's own wait (SQ-1)."""
BUSY_WAIT_S: Final = 30.0
"""All attempts together: 5 x 5 s and the pauses between them."""
BUSY_PAUSE_FIRST_S: Final = 0.1
"""First pause between them; they double, with jitter."""
BUSY_PAUSE_MAX_S: Final = 1.0
"""Longest of these pauses."""
READERS: Final = 2
"""Reader connections, one thread each."""
QUICK_CHECK_BYTES_MAX: Final = 64 * 1024 * 1024
"""A database up to this size is checked before it is opened: 0.9 s per GB, so 60 ms."""
INTAKE_SEGMENT_BYTES: Final = 16 * 1024 * 1024
"""An intake segment that has reached this is followed by the next; only the newest is read at a start, in 20 ms."""
INTAKE_STEP_BYTES: Final = 1024 * 1024
"""An intake segment grows by this at a time: a sync takes 0.1 ms within it and 0.2 to 12 ms where the file grows."""
INTAKE_BYTES_TOLD: Final = 1024 * 1024 * 1024
"""From this size of all intake segments on the log and `betcode status` say so. A turn writes some 10 KB, so 100,000
turns. Nothing is dropped: without a backup it may be the only second copy."""

# --- daemon and clients ---------------------------------------------------------------------------------------------
DAEMON_READY_WAIT_S: Final = 30.0
"""From starting the daemon to its first answer; 0.3 s normally, plus adoption."""
DAEMON_START_TRIES: Final = 3
"""Starts of a daemon in a row when something kills it with -9 before it is ready."""
RECONNECT_FIRST_S: Final = 0.05
"""First delay of a client's reconnection; the daemon restarts within a second."""
RECONNECT_MAX_S: Final = 5.0
"""Longest delay of a client's reconnection."""
RECONNECT_TRIES: Final = 60
"""Attempts before a client says that it cannot connect: about 4 minutes."""
REQUEST_WAIT_S: Final = 60.0
"""A reply to one request."""
BIND_TRIES: Final = 6
"""Attempts to make the daemon's socket: something else may be in its place for a moment (RS-1)."""
BIND_PAUSE_FIRST_S: Final = 0.1
"""First pause between them; they double, with jitter: 3 s in all, a tenth of what a client waits for the start."""
BIND_PAUSE_MAX_S: Final = 2.0
"""Longest of these pauses."""
HOME_CHECK_S: Final = 5.0
"""Between looks of the daemon whether its data directory is still there."""
REPLACE_WAIT_S: Final = 60.0
"""How long a daemon that replaces another waits for its end: an orderly stop, and time to kill one that hangs."""
LOG_BYTES_MAX: Final = 16 * 1024 * 1024
"""One log file; the previous one is kept as `.1`."""
DAEMON_STDERR_BYTES_MAX: Final = 1024 * 1024
"""What daemons in the background said on standard error: two lines for each start that failed, so thousands of them."""
LOG_FIELD_CHARS: Final = 2_000
"""One value in a log line."""
LOG_LINES_MAX: Final = 1_000_000
"""Last lines of the log that may be asked for: more than a file of LOG_BYTES_MAX has."""
SHUTDOWN_WAIT_S: Final = 20.0
"""A graceful stop of the daemon."""
SOCKET_PATH_BYTES_MAX: Final = 100
"""sun_path holds 104 bytes on macOS and 108 on Linux, with the closing zero."""
RAW_LINE_BYTES_MAX: Final = 100 * 1024 * 1024
"""Longest line of claude's own output that is passed on whole: the largest `max_payload_bytes` that can be set."""
TAP_BYTES_AHEAD: Final = 8 * 1024 * 1024
"""Raw output that waits in a client for a slow reader; what comes then is dropped there and asked for again."""
TRACES_MAX: Final = 1_000
"""Messages of a session whose trace is remembered: as many as may wait; of an older one the session's counts."""
ATTEMPTS_FOLLOWED: Final = 256
"""Attempts at one message whose output `run` recognizes: a day of an API that is tried every ten minutes, and more."""
RESULT_WAIT_S: Final = 10.0
"""How long `run` waits for claude's own result line after the daemon has said that the turn is over."""

# --- service --------------------------------------------------------------------------------------------------------
WATCHDOG_S: Final = 120.0
"""Silence after which a service manager ends the daemon. A commit may wait 30 s for a lock (BUSY_WAIT_S) and the next
group behind it as long: 60 s, and a sign of life is due every 30 s."""
WATCHDOG_SIGNS: Final = 4
"""Signs of life within that time, so that one that is late or lost does no harm."""
SERVICE_START_S: Final = 300
"""For a start as a service: checking and comparing the storage takes some seconds for each GB."""
SERVICE_STOP_S: Final = 40
"""Between SIGTERM and SIGKILL of the daemon: twice its orderly stop (SHUTDOWN_WAIT_S). Killing it loses nothing."""
SERVICE_RESTART_S: Final = 1
"""Between the death of the daemon and its next start."""
SERVICE_STARTS_MAX: Final = 5
"""Starts within SERVICE_STARTS_S after which a service manager gives up, until somebody asks for another one."""
SERVICE_STARTS_S: Final = 60
"""See SERVICE_STARTS_MAX. A start that fails takes below a second, so five in a row stay within it."""
SERVICE_TOOL_S: Final = 20.0
"""For each call of systemctl, launchctl or loginctl that starts and stops nothing; they take some 10 ms."""
SCOPE_TRIAL_S: Final = 5.0
"""For each question to the user's systemd before the first keeper starts; it answers in some 20 ms."""

# --- doctor -------------------------------------------------------------------------------------------------------
DOCTOR_CHECK_WAIT_S: Final = 20.0
"""For all checks of `betcode doctor`, which run beside each other: something that hangs must not hang the doctor."""
DOCTOR_ASK_WAIT_S: Final = 5.0
"""For each answer of the daemon and of tools of the system to the doctor: a thousand times what a healthy one needs."""
DOCTOR_VERSION_WAIT_S: Final = 15.0
"""For `claude --version` in the doctor: below the wait for all checks, so that its end is told and not a hang."""
DOCTOR_READ_S: Final = 10.0
"""For reading one thing through, such as the database (0.9 s per GB) or the intake log; then what is left is named."""
DOCTOR_FILES_MAX: Final = 50_000
"""Files of the data directory whose owner, mode and time are looked at: some 10 us each."""
DOCTOR_SESSIONS_MAX: Final = 2_000
"""Folders of sessions, the newest first, in which the doctor looks for what was left behind."""
DOCTOR_NAMES_SHOWN: Final = 3
"""Files or sessions named in one finding; the rest are counted."""
DOCTOR_EVENTS_MAX: Final = 100_000
"""Newest events of an epoch that are read for a session's history of trouble: some 3 s through the daemon."""
DOCTOR_HISTORY_S: Final = 60.0
"""For reading a session's events through the daemon."""
DOCTOR_HISTORY_MAX: Final = 1_000
"""Newest entries of a session's history of trouble that are shown; the earlier ones are counted."""
DOCTOR_RUNS_MAX: Final = 200
"""Newest runs of a session that are looked at: three small files each."""
DOCTOR_FILE_BYTES_MAX: Final = 16 * 1024 * 1024
"""Longest settings file of claude that is read to see whether a login is in it."""
DISK_LOW_BYTES: Final = 1024 * 1024 * 1024
"""Less room is a warning: a busy day writes some 100 MB of journals and transcripts."""
DISK_FULL_BYTES: Final = 64 * 1024 * 1024
"""Less room is an error: four sessions' reserves of 16 MiB, and nothing is acknowledged when they are used up."""
DISK_LOW_FILES: Final = 10_000
"""Fewer files that can still be made are a warning: a run has about six."""
DISK_FULL_FILES: Final = 100
"""Fewer are an error: the next few sessions do not start."""
CLOCK_YEARS: Final = (2026, 2100)
"""A wall clock outside these years is wrong: this program is not older, and certificates do not live longer."""
CLOCK_AHEAD_S: Final = 300.0
"""A file that is dated further in the future shows that the clock went back; less is the drift of a shared disk."""
