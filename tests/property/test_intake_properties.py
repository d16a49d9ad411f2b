"""Whatever happens to an intake segment, what is read was written, in that order, and never anything else."""

import tempfile
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from betcode.adapters import intake
from betcode.adapters.intake import DiskFiles, IntakeLog, Problem, Record
from betcode.model.rows import Transaction
from betcode.testing.sample_rows import message_row, session_row

A = "aaaaaaaaaa"
MAGIC = b"\xffBI1"
texts = st.lists(st.text(max_size=40), min_size=1, max_size=5)


class Unsynced(DiskFiles):
    """Power stays on in these tests, and syncing takes most of their time."""

    def sync(self, fd: int) -> None: ...

    def sync_directory(self, path: Path) -> None: ...


def write(directory: Path, given_texts: list[str], *, step_bytes: int = 1) -> tuple[list[Record], Path]:
    """One record for each text, and the file that holds them."""
    log = IntakeLog(directory, files=Unsynced(), step_bytes=step_bytes)
    records = []
    for n, text in enumerate(given_texts):
        payload = intake.encode(Transaction(session_row(A), messages=(message_row(A, f"m{n}", text=text),)))
        assert payload is not None
        records.append(msgspec.json.decode(payload, type=Record))
        log.append([payload])
    log.close()
    return records, directory / "1.log"


@pytest.mark.req("SQ-11")
@given(texts, st.data())
def test_any_truncation_loses_only_a_suffix_and_the_log_goes_on(given_texts: list[str], data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder) / "intake"
        step_bytes = data.draw(st.sampled_from([1, 100, 5_000]))
        records, file = write(directory, given_texts, step_bytes=step_bytes)
        content = file.read_bytes()
        keep = data.draw(st.integers(0, len(content)))
        file.write_bytes(content[:keep])
        found = list(intake.read_all(directory, []))
        assert found == records[: len(found)]
        whole = len(content.rstrip(b"\0"))  # JSON does not end with a zero
        assert len(found) == len(records) or keep < whole
        log = IntakeLog(directory, files=Unsynced())
        payload = intake.encode(Transaction(session_row(A), creates=True))
        assert payload is not None
        log.append([payload])
        log.close()
        problems: list[Problem] = []
        again = list(intake.read_all(directory, problems))
        assert again == [*found, Record(session_row(A), creates=True)]
        assert problems == []


@pytest.mark.req("SQ-11")
@given(texts, st.data())
def test_any_damage_costs_only_what_it_touches_and_is_told(given_texts: list[str], data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder) / "intake"
        records, file = write(directory, given_texts)
        content = bytearray(file.read_bytes())
        at = data.draw(st.integers(0, len(content) - 1))
        junk = data.draw(st.binary(min_size=1, max_size=30))
        changed = bytes(content[:at] + junk + content[at + len(junk) :])
        file.write_bytes(changed)
        problems: list[Problem] = []
        found = list(intake.read_all(directory, problems))
        starts = [n for n in range(len(content)) if content.startswith(MAGIC, n)]
        ends = [*starts[1:], len(content)]
        whole = [changed[a:b] == content[a:b] for a, b in zip(starts, ends, strict=True)]
        assert found == [record for record, kept in zip(records, whole, strict=True) if kept]
        if not all(whole):
            assert problems or not changed[at:].strip(b"\0")
