"""The time limit of tests/conftest.py really ends a test that hangs."""

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HANGING = """
import asyncio, threading, pytest

@pytest.mark.limit(0.2)
def test_waits_for_a_lock_for_ever() -> None:
    threading.Event().wait()

@pytest.mark.limit(0.2)
def test_waits_in_a_loop_for_ever() -> None:
    asyncio.run(asyncio.Event().wait())

def test_after_the_hanging_ones_others_still_run() -> None:
    pass
"""


def test_a_hanging_test_fails_with_its_stack_and_the_rest_goes_on(tmp_path: Path) -> None:
    shutil.copy(ROOT / "tests/conftest.py", tmp_path)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    (tmp_path / "test_hanging.py").write_text(HANGING)
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "test_hanging.py"]

    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=100, check=False)

    assert "2 failed, 1 passed" in run.stdout, run.stdout
    assert run.stdout.count("took longer than 0.2 s") >= 2
    assert 'test_hanging.py", line 6 in test_waits_for_a_lock_for_ever' in run.stdout
