"""The log: JSON lines with the stated fields, without secrets, bounded (OB-1, SE-3)."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from betcode.adapters.log import JsonFormatter, JsonLog, open_log, redact
from betcode.model import limits


@pytest.fixture
def log(tmp_path: Path) -> Iterator[JsonLog]:
    yield open_log(tmp_path / "daemon.log", "info", bytes_max=10_000, to_terminal=False)
    root = logging.getLogger()
    for handler in list(root.handlers):
        if isinstance(handler.formatter, JsonFormatter):
            root.removeHandler(handler)
            handler.close()


def lines(tmp_path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (tmp_path / "daemon.log").read_text().splitlines()]


@pytest.mark.req("OB-1")
def test_each_line_is_json_with_time_level_target_message_and_context(tmp_path: Path, log: JsonLog) -> None:
    log.bind(trace_id="t", session_id="s").warning("a thing\nhappened", duration_ms=3)
    [line] = lines(tmp_path)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", str(line["timestamp"]))
    assert (line["level"], line["target"], line["message"]) == ("warning", "betcode", "a thing\nhappened")
    assert (line["trace_id"], line["session_id"], line["duration_ms"]) == ("t", "s", 3)


@pytest.mark.req("OB-1")
def test_the_level_decides_what_is_written(tmp_path: Path, log: JsonLog) -> None:
    log.debug("not this")
    log.info("this")
    assert [line["message"] for line in lines(tmp_path)] == ["this"]


@pytest.mark.req("SE-3")
@pytest.mark.parametrize(
    "secret",
    [
        "sk-ant-api03-abcdefghijklmnop",
        "Authorization: Bearer abc.def.ghi",
        "api_key=verysecretvalue",
        "password: hunter2hunter2",
        "AKIAIOSFODNN7EXAMPLE",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abc",
    ],
)
def test_what_looks_like_a_credential_is_not_written(tmp_path: Path, log: JsonLog, secret: str) -> None:
    log.error(f"it said {secret}", detail=f"with {secret}")
    text = (tmp_path / "daemon.log").read_text()
    assert secret.rsplit(maxsplit=1)[-1].rsplit("=", maxsplit=1)[-1] not in text
    assert "[redacted]" in text


@pytest.mark.req("OB-1")
def test_the_file_is_private_and_bounded(tmp_path: Path, log: JsonLog) -> None:
    for number in range(400):
        log.info("x" * 100, number=number)
    sizes = {file.name: file.stat().st_size for file in tmp_path.iterdir()}
    assert set(sizes) == {"daemon.log", "daemon.log.1"}
    assert all(size <= 10_000 for size in sizes.values())
    assert (tmp_path / "daemon.log").stat().st_mode & 0o077 == 0
    assert lines(tmp_path)[-1]["number"] == 399


@pytest.mark.req("OB-1")
@given(st.text(), st.dictionaries(st.text(min_size=1), st.one_of(st.text(), st.binary(), st.integers(), st.none())))
def test_no_message_and_no_field_breaks_a_line(message: str, fields: dict[str, object]) -> None:
    record = logging.LogRecord("betcode", logging.INFO, "", 0, "%s", (message,), None)
    record.fields = fields
    line = JsonFormatter().format(record)
    assert "\n" not in line
    json.loads(line)


@pytest.mark.req("OB-1")
def test_a_long_value_is_cut_visibly() -> None:
    text = redact("long " * limits.LOG_FIELD_CHARS)
    assert len(text) <= limits.LOG_FIELD_CHARS + 60
    assert text.endswith(f"[truncated: original_size={5 * limits.LOG_FIELD_CHARS} characters]")
