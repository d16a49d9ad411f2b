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

# --- chaos (testing/chaos): durations at SCALE=1 -------------------------------------------------------------------
CHAOS_TOTAL_S: Final = 585.0  # a run must end within ten minutes; what is not begun by then is reported as not run
EXPERIMENT_S: Final = 60.0  # most take 5 s; a CLI takes 1 s of processor to start, and some experiments start ten
EXPERIMENT_CHECKS_S: Final = 20.0  # for the checks that follow every experiment
EXPERIMENT_REST_S: Final = 15.0  # for cleaning up after both; then an alarm ends even what blocks
NEWS_S: Final = 40.0  # for one event that must come; the slowest wait for a backoff and a start of the CLI
PROCESS_LOOK_S: Final = 0.05  # between looks at the process table: each costs 2 ms, and two claudes live 0.4 s or more
CLEAN_ROUNDS_MAX: Final = 40  # 2 s of ending what is found, for processes that start others meanwhile
ORPHANS_GONE_S: Final = 10.0  # for the tools of an ended claude: killed at once, or 2 s later when the keeper drains
CHAOS_LANES: Final = 3  # experiments at once, on two cores: half of their time is waiting for a delay or a stream
LANE_END_S: Final = 20.0  # for the process of one to end after its result, or after SIGTERM: it cleans up
EVIDENCE_CHARS: Final = 2_000  # of one text in the report

# --- systemd on paper (testing/paper_systemctl) --------------------------------------------------------------------
PAPER_START_S: Final = 60.0  # for the daemon to say that it is ready; a second, ten on a crowded machine
PAPER_STOP_S: Final = 40.0  # between SIGTERM and SIGKILL, as in the unit
# --- compat (testing/compat): the contract with older versions of the CLI -------------------------------------------
COMPAT_FETCH_S: Final = 1_800.0  # a wheel is 90 to 180 MB
COMPAT_ROOM_BYTES: Final = 2 * 1024**3  # free before a version is fetched: wheel and executable take 0.6 GB
COMPAT_NEWS_S: Final = 60.0  # for what must come; a first start in a new home takes 6 s, more on a busy machine
COMPAT_SILENCE_S: Final = 2.0  # for what must not come: the CLI answers within 0.3 s where it answers
COMPAT_HOOK_S: Final = 3  # the time of a hook that nobody answers, in whole seconds
COMPAT_HOLD_S: Final = 95.0  # a question is held this long: "after 60 s it runs anyway" would be seen
