"""What the daemon says of its intake log."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from betcode.adapters import intake
from betcode.adapters.intake import IntakeLog, total_bytes
from betcode.daemon.intake_report import size_warning, tell_damage
from betcode.model import limits
from betcode.model.rows import Transaction
from betcode.testing.sample_rows import message_row, session_row
from betcode.testing.small_engine import KeptLog


class LevelLog(KeptLog):
    """Keeps level and message."""

    def info(self, message: str, **fields: Any) -> None:
        self.lines.append(("info", fields))

    def warning(self, message: str, **fields: Any) -> None:
        self.lines.append(("warning", fields))

    def error(self, message: str, **fields: Any) -> None:
        self.lines.append(("error", fields))


def payload(name: str) -> bytes:
    made = intake.encode(Transaction(session_row(), messages=(message_row("aaaaaaaaaa", name),)))
    assert made is not None
    return made


def told(directory: Path, damaged: list[int]) -> list[tuple[str, dict[str, Any]]]:
    """Write five records, flip a bit in some, open again."""
    log = IntakeLog(directory)
    for number in range(5):
        log.append([payload(f"m{number}")])
    log.close()
    file = directory / "1.log"
    content = bytearray(file.read_bytes())
    at = -1
    for number in range(5):
        at = content.index(b"\xffBI1", at + 1)
        if number in damaged:
            content[at + 20] ^= 1
    file.write_bytes(content)
    reopened = IntakeLog(directory)
    reopened.close()
    said = LevelLog()
    tell_damage(said, reopened.problems)
    return said.lines


@pytest.mark.req("SQ-11", "OB-1")
@pytest.mark.parametrize(
    "damaged, level, records",
    [([4], "info", None), ([3, 4], "warning", 2), ([1, 2, 3, 4], "warning", 4), ([1], "error", None)],
)
def test_an_end_that_is_cut_off_is_a_warning_when_it_is_more_than_one_record(
    tmp_path: Path, damaged: list[int], level: str, records: int | None
) -> None:
    [(said, fields)] = told(tmp_path / "intake", damaged)
    assert (said, fields.get("records")) == (level, records)
    assert fields["lost_bytes"] > 0


@pytest.mark.req("INV-8", "SQ-11")
def test_the_size_of_the_intake_log_is_that_of_all_its_segments_and_too_much_of_it_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = IntakeLog(tmp_path / "intake", segment_bytes=1_000, step_bytes=1_000)
    for number in range(5):
        log.append([payload(f"m{number}")])
    log.close()
    size = total_bytes(tmp_path / "intake")
    assert size == sum(file.stat().st_size for file in (tmp_path / "intake").iterdir())
    assert size > 1_000
    assert size_warning(size) == ""
    monkeypatch.setattr(limits, "INTAKE_BYTES_TOLD", size)
    assert "is not dropped by itself" in size_warning(size)
    assert size_warning(size - 1) == ""
