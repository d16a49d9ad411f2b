"""Every bound of the model server, with its reason. (The product's own bounds are in betcode/model/limits.py.)"""

from typing import Final

HEAD_BYTES_MAX: Final = 64 * 1024  # the real CLI sends about 1.5 KiB of request head
BODY_BYTES_MAX: Final = 64 * 1024 * 1024  # the CLI accepts a 10 MB prompt and sends it JSON-escaped, with its history
WRITE_BATCH_BYTES: Final = 64 * 1024  # deltas without a pause between them share one write: 2,000 words are 4 writes
REQUESTS_KEPT_MAX: Final = 10_000  # newest request records in /_stats; 10,000 x 0.5 KiB = 5 MiB
SESSIONS_KEPT_MAX: Final = 10_000  # sessions counted in /_stats; a chaos run starts some hundreds
TIMES_KEYS_MAX: Final = 100_000  # counters behind "times"; one per scripted fault that was met
PROMPT_SHOWN_CHARS: Final = 200  # enough to recognise a prompt in /_stats

STEPS_MAX: Final = 10_000  # steps of one script
STEP_DEPTH_MAX: Final = 8  # "then" inside "then"; deeper is a typing error
TOOL_CALLS_MAX: Final = 100  # tool calls in one message; the real model makes a handful
WORDS_MAX: Final = 200_000  # 200,000 words are 1.4 MB of text and 25 MB on the wire
PAUSE_S_MAX: Final = 86_400.0  # a day: longer silence is a matter of virtual time

RESET_SETTLE_S: Final = 0.1  # before a reset, so that the client has read what it was sent: a reset may overtake it
READY_TIMEOUT_S: Final = 15.0  # a Python start takes 0.1 s alone, some seconds on a crowded machine
STOP_TIMEOUT_S: Final = 5.0  # the server ends within milliseconds of SIGTERM; afterwards it is killed
ADMIN_TIMEOUT_S: Final = 10.0  # one /_stats, /_script or /_reset call on loopback
