"""What holds for every test: a time limit, and Hypothesis settings for a busy machine."""

import contextlib
import faulthandler
import os
import signal
from collections.abc import Generator, Iterator
from types import FrameType

import pytest
from hypothesis import settings

LIMIT_S = 120.0
"""Longest time for one phase (setup, call or teardown) of a test, unless `@pytest.mark.limit(seconds)` says another."""
REPEAT_S = 5.0
"""asyncio hands the first alarm to whichever task was running; the next one finds the task that waits."""
LAST_RESORT_S = 60.0
"""A test stuck inside a C call never sees the alarm: this much later the stacks are printed and the process ends."""

_stderr: list[int] = []

# A machine that runs other work makes single examples slow; the limit above is what ends a test that hangs.
# The examples are the same in each run, so that a change is judged by what it changes; HYPOTHESIS_PROFILE=explore looks
# at others each time.
settings.register_profile("betcode", deadline=None, print_blob=True, derandomize=True, max_examples=200)
settings.register_profile("explore", deadline=None, print_blob=True, max_examples=5000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "betcode"))


def pytest_configure() -> None:
    # Capturing is off at this moment, so this is the real standard error.
    _stderr.append(os.dup(2))
    # Who starts the tests in the background of a script ignores ctrl-c, and all programs that they start would too.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_unconfigure() -> None:
    while _stderr:
        os.close(_stderr.pop())


@contextlib.contextmanager
def _limited(item: pytest.Item) -> Iterator[None]:
    """End this phase of the test with a failure and the stacks of all threads once its time is over."""
    mark = item.get_closest_marker("limit")
    limit_s = float(mark.args[0]) if mark else LIMIT_S

    def over(_signal: int, _frame: FrameType | None) -> None:
        faulthandler.dump_traceback(file=2, all_threads=True)
        pytest.fail(f"took longer than {limit_s:g} s; the stacks are in the captured standard error", pytrace=True)

    before = signal.signal(signal.SIGALRM, over)
    faulthandler.dump_traceback_later(limit_s + LAST_RESORT_S, exit=True, file=_stderr[-1])
    signal.setitimer(signal.ITIMER_REAL, limit_s, REPEAT_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        faulthandler.cancel_dump_traceback_later()
        signal.signal(signal.SIGALRM, before)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, None, None]:
    with _limited(item):
        yield


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, None, None]:
    with _limited(item):
        yield


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, None, None]:
    with _limited(item):
        yield
