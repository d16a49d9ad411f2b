"""Every bound of the keeper, with its unit and its reason.

A keeper that nobody watches must not grow: what does not fit is refused aloud or waits in claude's pipe.
"""

KIB = 1024
MIB = 1024 * KIB

# Start
SPEC_BYTES_MAX = 4 * MIB  # argv and environment; Linux gives a process about 2 MiB for both together

# stdout and its journal
READ_BYTES = 64 * KIB  # one read of a pipe: Linux keeps 64 KiB in it, so a larger buffer would stay empty
OUT_FRAME_BYTES_MAX = 256 * KIB  # stdout bytes in one frame: about 0.1 ms to copy, and small beside the RSS target
SEGMENT_BYTES = 64 * MIB  # a journal file: as long as the longest line; retention drops whole files
RESERVE_BYTES = 16 * MIB  # given back on a full disk: a long turn prints about 2 MiB, so eight turns end on it
LINE_OUT_BYTES_MAX = 256 * MIB  # a line of stdout: four times the longest that is of use; then claude is ended
STRETCH_BYTES_MAX = 512 * MIB  # stdout between two lines of stdin: 250 long turns; a claude that prints more is ended
SYNC_S = 1.0  # a power cut costs at most this much stdout; what must survive one is in the intake log
RETRY_S = 1.0  # between attempts on a full disk: one system call a second costs nothing

# stdin
LINE_BYTES_MAX = 64 * MIB  # the CLI takes 10 MB lines; images and pasted files are the large ones
LINE_ID_BYTES_MAX = 200  # ids are UUIDs (36); the rest is room for a prefix
LINE_IDS_MAX = 20_000  # remembered for the whole run, about 4 MiB; then a new run is needed (a year of normal use)
QUEUE_LINES_MAX = 64  # waiting for claude to read; the daemon sends one message a turn, plus answers
QUEUE_BYTES_MAX = 128 * MIB  # two of the longest lines
PUMP_WRITES_MAX = 16  # writes (64 KiB each) before the loop looks at the other pipes again

# stderr
STDERR_TAIL_BYTES_MAX = 64 * KIB  # kept in memory for the exit report
STDERR_TAIL_LINES_MAX = 50  # a stack trace with room
STDERR_LINE_BYTES_MAX = 2 * KIB  # the rest of a longer line is cut, so that the report stays readable

# memory and open files of claude and of all that it starts (PS-9)
MEMORY_BYTES_MAX = 512 * MIB  # above what claude itself needs: a compiler or a test run; a browser needs more
BASE_BYTES_MAX = 512 * MIB  # what claude itself may be found to need: 178 MiB when it is ready, old versions up to 372
MEMORY_HIGH = 0.8  # share of the limit from which on people are told
MEMORY_CALM = 0.5  # below this share it is told anew; above it the looks are close to each other
MEMORY_AGAIN_S = 600.0  # between two such warnings at least: a build that comes and goes is told once
MEMORY_NAMED_MAX = 5  # largest processes that are named
PROCESS_NAME_CHARS_MAX = 32  # Linux has 15 of them, macOS 16
MEMORY_LOOK_S = 1.0  # between looks: 0.2 ms each, so 0.02 % of a processor for each session
MEMORY_LOOK_FAST_S = 0.1  # in the second half of the limit: an eager program takes 200 MiB in this time
MEMORY_LOOK_PS_S = 5.0  # where `ps` must be run for it, in 20 ms
MEMORY_LOOK_SHARE = 20  # whatever a look takes, this many times as long passes before the next one: 5 % at most
CENSUS_S = 60.0  # for so long a process that is not of this run is not looked at again
FILES_MAX = 256  # open files of each process: claude was seen with 21 and works with 24
FILES_HARD_MAX = 4_096  # to which a program may raise its own limit, as claude itself does at its start

# connections
CONNECTIONS_MAX = 4  # one daemon, its successor, and a doctor or two
ATTACH_S_MAX = 10.0  # a connection that has not said ATTACH by then is closed
CONTROL_FRAME_BYTES_MAX = 64 * KIB  # any frame to the keeper but STDIN
CONTROL_BACKLOG_BYTES_MAX = 1 * MIB  # answers not yet taken: beyond it the keeper stops reading that connection
FLUSH_FRAMES_MAX = 8  # frames to one connection (2 MiB) before the loop looks at the pipes again
BEAT_S = 5.0  # a daemon that misses three knows that the keeper is stopped

# ending
SILENCE_S_MAX = 86_400.0  # no daemon and no output for a day: nobody will come back for it
HOME_S = 5.0  # between looks whether the session's folder is still there: two system calls
GRACE_S_MAX = 3_600.0  # the longest time a daemon may give claude between SIGTERM and SIGKILL
TERM_GRACE_S = 5.0  # claude needs 3 s at most after SIGTERM when a tool runs
CLOSED_S_MAX = 5.0  # from a closed stdout or a broken stdin to claude's end, which normally follows in milliseconds
DRAIN_S_MAX = 2.0  # for the rest of stdout after claude's end; a tool that holds the pipe must not hold the keeper
DRAIN_READS_MAX = 32  # 2 MiB: more than a pipe holds (64 KiB, at most 1 MiB), so only a writer that goes on is cut off
FAREWELL_S_MAX = 2.0  # for connected daemons to take the last bytes; the rest is on disk
KILL_ROUNDS_MAX = 10  # a tree that forks while it is being killed is listed again, this often
KILL_ROUND_S = 0.005  # between rounds: the kernel needs a moment to end a process
