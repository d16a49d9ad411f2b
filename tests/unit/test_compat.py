"""What `make compat` does around the real CLI: fetching, keeping, and a table that hides nothing."""

from __future__ import annotations

import json
import sys
import zipfile
from pathlib import Path

import pytest

from betcode.model.capabilities import OLDEST, dotted
from betcode.testing.compat import table
from betcode.testing.compat.recordings import Kept, trimmed
from betcode.testing.compat.seen import Findings, Seen
from betcode.testing.compat.wheels import BUNDLED, WHEELS, Fetched, fetch

VERSION = dotted(OLDEST)


def findings(**changed: Seen) -> Findings:
    """Everything as it should be, but for these rows (with `__` for the dot)."""
    seen = {row.id: Seen(True) for _, rows in table.GROUPS for row in rows} | {"question.held": Seen(True, "95 s")}
    return seen | {name.replace("__", "."): one for name, one in changed.items()}


@pytest.mark.req("PS-12")
def test_a_wheel_that_is_there_is_unpacked_once_and_nothing_is_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    (tmp_path / "wheels").mkdir()
    wheel = tmp_path / "wheels" / f"claude_agent_sdk-{WHEELS[VERSION]}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(BUNDLED, "#!/bin/sh\n")
    fetched = fetch(VERSION, tmp_path)
    assert (fetched.wheel, fetched.claude.read_text()) == (WHEELS[VERSION], "#!/bin/sh\n")
    assert fetched.claude.stat().st_mode & 0o111
    wheel.unlink()
    assert fetch(VERSION, tmp_path) == fetched
    with pytest.raises(RuntimeError, match="could not be fetched"):
        fetch(next(v for v in WHEELS if v != VERSION), tmp_path)


@pytest.mark.req("PS-12")
def test_a_broken_promise_of_a_version_that_is_taken_stands_out_and_one_below_the_minimum_does_not(
    tmp_path: Path,
) -> None:
    (tmp_path / "docs").mkdir()
    kept = Kept(tmp_path)
    ran = {"question__held": Seen(False, "12 s, it ran\nbadly"), "start__version": Seen(False)}
    for version in (VERSION, "2.1.100"):
        kept.store(Fetched(version, "0", Path("claude")), findings(**ran), {"stream": [b"{}"]})
    results = kept.results()
    assert list(results) == ["2.1.100", VERSION]
    assert table.broken(results) == [f"{VERSION} question.held: 12 s, it ran\nbadly"]
    kept.write_table()
    page = (tmp_path / "docs" / table.PAGE).read_text()
    assert "| nothing runs while a question waits | no (1) | **NO** (1) |" in page
    assert "| names its version there | no | no |" in page
    assert f"1. 2.1.100, {VERSION}, `question.held`: 12 s, it ran badly" in page
    assert f"| names its version there | {VERSION} | BetCode asks once more" in page


@pytest.mark.req("ND-10")
def test_a_recording_holds_nothing_of_the_machine_and_what_is_no_json_stays() -> None:
    folder = Path("/tmp/betcode-compat-x1/3-stream")
    line = {"cwd": f"{folder}/project", "file": "-tmp-betcode-compat-x1-3-stream-project", "tools": ["a", "b", "c"]}
    kept, broken = trimmed([json.dumps(line).encode(), b"{broken"], folder)
    assert json.loads(kept) == {"cwd": "/home/ada/project", "file": "-home-ada-project", "tools": ["a", "b"]}
    assert broken == b"{broken"
