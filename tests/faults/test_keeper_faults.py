"""A keeper whose disk fails or fills up: nothing is lost, nothing is doubled, claude waits, all goes on by itself."""

import errno
import itertools
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

import betcode
from betcode.keeper.journal import JournalReader
from betcode.keeper.limits import DRAIN_S_MAX
from betcode.keeper.records import read_records
from betcode.testing.keeper_process import KeeperLink, KeeperProcess, LaunchFailed, launch, wait_until

SRC = Path(betcode.__file__).parents[1]
LINES = [b"first", b"second line", b"3"]
ECHO = "import sys\nfor line in sys.stdin: print('got', line, end='', flush=True)"
EXPECTED = b"".join(b"got %b\n" % line for line in LINES)
FILE_BYTES_MAX = 100_000
SOFT, HARD = resource.getrlimit(resource.RLIMIT_FSIZE)
OPERATIONS_MIN = 20
"""At least so many file operations belong to one run, or the loop below proves little."""


@pytest.fixture
def folders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    return (tmp_path_factory.mktemp("f") for _ in itertools.count())


class Conversation:
    """Writes all lines whatever is refused, and frees the disk once something waits for it."""

    def __init__(self, keeper: KeeperProcess) -> None:
        self.keeper = keeper
        self.link: KeeperLink = keeper.link().attach()

    def free_disk_if_fired(self) -> None:
        if (self.keeper.session_dir / "fired").exists():
            (self.keeper.session_dir / "freed").touch()

    def wait(self, condition: Callable[[], object], *, what: str) -> None:
        for _ in range(100):
            try:
                self.link.until(condition, what=what, deadline_s=0.1)
            except TimeoutError:
                self.free_disk_if_fired()
            else:
                return
        raise TimeoutError(what)

    def write(self, line_id: str, line: bytes) -> None:
        for attempt in itertools.count(1):
            self.link.write(line_id, line)
            self.wait(partial(self.is_answered, line_id, attempt), what=f"answer {attempt} for {line_id}")
            answer = self.answers(line_id)[-1]
            if answer["result"] == "written":
                return
            assert (answer["result"], answer["reason"], answer["state"]) == ("refused", "intent_failed", None)
            self.free_disk_if_fired()
            assert attempt < 5, "the line is refused for ever"

    def is_answered(self, line_id: str, times: int) -> bool:
        return len(self.answers(line_id)) >= times

    def answers(self, line_id: str) -> list[dict[str, object]]:
        return [ack for ack in self.link.acks if ack["id"] == line_id]


def _run_once(folder: Path, number: int, mode: str) -> bool:
    """One whole run with this fault; False if the start was refused."""
    command = [sys.executable, "-I", "-S", str(Path(__file__).with_name("faulty_keeper.py")), str(SRC), str(number)]
    child = [sys.executable, "-I", "-S", "-c", ECHO]
    try:
        keeper = KeeperProcess(folder, child, command=[*command, mode, str(folder)], segment_bytes=10)
    except LaunchFailed as failed:
        refusal = failed.fields
    else:
        _converse(keeper)
        return True
    assert refusal["code"] == "journal_failed"
    assert {path.name for path in folder.iterdir()} <= {"lock", "fired"}
    return False


def _converse(keeper: KeeperProcess) -> None:
    folder = keeper.session_dir
    with keeper:
        conversation = Conversation(keeper)
        for line_id, line in enumerate(LINES):
            conversation.write(str(line_id), line)
        link = conversation.link
        conversation.wait(lambda: link.out == EXPECTED, what="all output")
        link.end("close_stdin")
        conversation.wait(lambda: link.exit, what="EXIT")
        report = keeper.report()
        assert (report["code"], report["out_end"]) == (0, len(EXPECTED))
        assert JournalReader(str(folder)).read(1, 0, 10_000) == EXPECTED
        found = [(record["id"], record["state"]) for record in read_records(str(folder / "1.in"))]
        assert found == [(str(n), state) for n in range(len(LINES)) for state in ("intent", "done")]
        assert not keeper.path("crash").exists()


@pytest.mark.limit(600)
@pytest.mark.req("SQ-9", "INV-1", "INV-8")
@pytest.mark.parametrize("mode", ["once", "until_freed"])
def test_no_failing_file_operation_loses_or_doubles_a_line_or_a_byte(folders: Iterator[Path], mode: str) -> None:
    """Goal: whatever the disk refuses, each line is written once and each byte of output kept once.

    Method: fail operation 1, then 2, ... in a real keeper until a run completes unharmed; all writes are short,
    a failing one leaves half of its bytes behind.
    """
    for number in itertools.count(1):
        folder = next(folders)
        started = _run_once(folder, number, mode)
        if not (folder / "fired").exists():
            assert started
            assert number > OPERATIONS_MIN
            return


def _start_on_full_disk(session_dir: Path, script: str) -> KeeperProcess:
    """Files of the keeper end at FILE_BYTES_MAX: a real short write, then EFBIG."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (FILE_BYTES_MAX, HARD))
    try:
        return KeeperProcess(session_dir, [sys.executable, "-I", "-S", "-c", script])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (SOFT, HARD))


def _make_room(keeper: KeeperProcess) -> None:
    resource.prlimit(keeper.keeper_pid, resource.RLIMIT_FSIZE, (SOFT, HARD))


@pytest.mark.req("SQ-9")
def test_a_full_disk_makes_claude_wait_and_room_lets_it_go_on_by_itself(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    script = "import sys, time\nfor n in range(60_000): print(n)\nsys.stdout.flush(); sys.stdin.read()"
    expected = b"".join(b"%d\n" % n for n in range(60_000))
    with _start_on_full_disk(tmp_path_factory.mktemp("f"), script) as keeper:
        reader = JournalReader(str(keeper.session_dir))
        link = keeper.link().attach()
        link.until(lambda: link.beats and link.beats[-1]["journal_blocked"] == errno.EFBIG, what="a BEAT that tells it")
        link.until(lambda: len(link.out) == FILE_BYTES_MAX, what="all that is in the journal")
        assert link.ping()["out_end"] == reader.end(1) == FILE_BYTES_MAX
        _make_room(keeper)
        link.until(lambda: link.out == expected, what="the rest")
        assert link.ping()["journal_blocked"] is None
        assert reader.read(1, 0, len(expected) + 1) == expected


@pytest.mark.req("SQ-9", "PS-11")
def test_claude_that_ends_on_a_full_disk_loses_nothing_of_its_last_words(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    with _start_on_full_disk(tmp_path_factory.mktemp("f"), "print('x' * 150_000)\nprint('last words')") as keeper:
        link = keeper.link().attach()
        wait_until(lambda: JournalReader(str(keeper.session_dir)).end(1) == FILE_BYTES_MAX, what="the full journal")
        wait_until(lambda: not Path(f"/proc/{keeper.claude_pid}").exists(), what="the end of claude")
        assert keeper.link().hello["ended"] is True
        with pytest.raises(TimeoutError):
            link.until(lambda: link.exit, what="EXIT, too early", deadline_s=DRAIN_S_MAX + 0.5)
        _make_room(keeper)
        link.until(lambda: link.exit, what="EXIT")
        assert link.out == b"x" * 150_000 + b"\nlast words\n"
        assert keeper.report()["out_end"] == len(link.out)


@pytest.mark.req("SQ-9")
def test_nothing_is_acknowledged_while_the_intent_cannot_be_written(tmp_path_factory: pytest.TempPathFactory) -> None:
    session_dir = tmp_path_factory.mktemp("f")
    with KeeperProcess(session_dir, ["/bin/cat"]) as keeper:
        link = keeper.link().attach()
        resource.prlimit(keeper.keeper_pid, resource.RLIMIT_FSIZE, (0, HARD))
        link.write("a", b"x")
        assert link.ack("a")["reason"] == "intent_failed"
        assert link.ping()["out_end"] == 0
        _make_room(keeper)
        link.write("a", b"x")
        link.until(lambda: link.out == b"x\n", what="the line, after all")
        assert link.ack("a", number=2)["result"] == "written"


@pytest.mark.req("PS-6")
def test_a_launcher_that_is_told_nonsense_answers_in_the_same_form(tmp_path: Path) -> None:
    command = [sys.executable, "-I", "-S", str(SRC / "betcode" / "keeper" / "__main__.py")]
    done = subprocess.run(command, input=b"nonsense", capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (1, b"")
    assert done.stdout.startswith(b'{"ok":false,"code":"bad_spec"')
    assert done.stdout.count(b"\n") == 1
    with pytest.raises(LaunchFailed, match="bad_spec"):
        launch({})
