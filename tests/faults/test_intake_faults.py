"""The intake log: failing and short operations, and what a start makes of it when the database lacks something.

Goal: an append that returned is read back whatever fails; a database that is older than the log, or gone, gets back
everything that was promised, numbered anew with a gap that says so; damage costs what it touches and is told.
"""

import asyncio
import contextlib
import errno
import itertools
import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from betcode.adapters import intake
from betcode.adapters.intake import IntakeLog, Problem
from betcode.model.frames import Answer, Close, Send
from betcode.model.ids import MessageId
from betcode.model.rows import Transaction
from betcode.model.states import MessageState
from betcode.testing.faults import FaultPlan, FaultyFiles
from betcode.testing.paper_claude import PaperLauncher
from betcode.testing.promises import KEYS, Person, Promises, events_of, everything_ends
from betcode.testing.sample_rows import message_row, session_row
from betcode.testing.small_engine import SmallEngine, running_engine

DATABASE = ("daemon.db", "daemon.db-wal", "daemon.db-shm")


class ShortWrites(FaultyFiles):
    """A disk that takes at most 700 bytes at a time."""

    def pwrite(self, fd: int, content: bytes | memoryview, offset: int) -> int:
        return super().pwrite(fd, content[:700], offset)


def payload(name: str) -> bytes:
    made = intake.encode(Transaction(session_row(), messages=(message_row("aaaaaaaaaa", name),)))
    assert made is not None
    return made


def names(directory: Path, problems: list[Problem]) -> list[str]:
    return [message.id for record in intake.read_all(directory, problems) for message in record.messages]


@pytest.mark.req("SQ-11", "SQ-9")
@pytest.mark.parametrize("then_forever", [False, True])
@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO])
def test_an_append_that_returned_is_read_back_though_writes_are_short_and_any_operation_fails(
    tmp_path: Path, then_forever: bool, error: int
) -> None:
    groups = [[f"m{g}.{n}" for n in range(1 + g % 3)] for g in range(6)]
    for fail_at in itertools.count(1):
        directory = tmp_path / str(fail_at)
        plan = FaultPlan(fail_at=fail_at, then_forever=then_forever, errno=error)
        appended: list[str] = []
        with contextlib.suppress(OSError):
            log = IntakeLog(directory, files=ShortWrites(plan), segment_bytes=1_500, step_bytes=1_000)
            for group in groups:
                with contextlib.suppress(OSError):
                    log.append([payload(name) for name in group])
                    appended += group
            log.close()
        IntakeLog(directory).close()  # the next start
        problems: list[Problem] = []
        found = names(directory, problems)
        assert [name for name in found if name in appended] == appended, (fail_at, plan.seen[-1])
        assert then_forever or found == appended
        assert problems == []
        if not plan.fired:
            assert appended == list(itertools.chain.from_iterable(groups))
            assert plan.seen.count("intake write") > 2 * len(groups), "writes were short"
            return


async def converse(data: Path, copies: Path) -> Promises:
    """One life of the engine; after each acknowledgement the database files are copied to COPIES/1, COPIES/2, ..."""
    numbers = itertools.count(1)

    def told(_promises: Promises) -> None:
        copy = copies / str(next(numbers))
        copy.mkdir(parents=True)
        for name in DATABASE:
            shutil.copy(data / name, copy / name)

    async with running_engine(data, PaperLauncher(data / "sessions")) as engine:
        person = Person(engine, told=told)
        await person.talk()
        return person.promises


async def start_again(data: Path, promises: Promises) -> tuple[list[list[dict[str, object]]], list[tuple[str, object]]]:
    """The next start: everything promised is there and ends. Returns the events of all sessions, and the log."""
    launcher = PaperLauncher(data / "sessions")
    async with running_engine(data, launcher) as engine:
        await everything_ends(engine, launcher, promises, gaps=True)
        events = [await events_of(engine, row.id) for row in await engine.store.sessions()]
        return events, [(message, fields) for message, fields in engine.log.lines]


def replaced(data: Path, target: Path, copy: Path | None) -> Path:
    """A copy of the data directory whose database is the one of `copy`, or none."""
    shutil.copytree(data, target)
    for name in DATABASE:
        (target / name).unlink(missing_ok=True)
        if copy is not None:
            shutil.copy(copy / name, target / name)
    return target


def kinds(events: list[list[dict[str, object]]], kind: str) -> list[dict[str, object]]:
    return [event for session in events for event in session if event["kind"] == kind]


@pytest.mark.req("SQ-11", "INV-1", "INV-2", "INV-6")
def test_a_database_older_than_the_log_gets_back_everything_that_was_promised(tmp_path: Path) -> None:
    data, copies = tmp_path / "data", tmp_path / "copies"
    data.mkdir()
    promises = asyncio.run(converse(data, copies))
    older = [*sorted(copies.iterdir(), key=lambda path: int(path.name)), None]
    assert len(older) == 7
    for number, copy in enumerate(older):
        target = replaced(data, tmp_path / f"start{number}", copy)
        events, _ = asyncio.run(start_again(target, promises))
        notices = [event for event in kinds(events, "notice") if event["code"] == "store.restored"]
        assert len(notices) == len(kinds(events, "gap"))
        assert bool(notices) is (number < 3 or copy is None), "the log lacks an event that those copies lack"
        assert all(event["epoch"] == 2 for session in events if kinds([session], "gap") for event in session)
        again, _ = asyncio.run(start_again(target, promises))
        assert again == events, "the second start finds nothing to do"


def damage_second_record(file: Path) -> None:
    content = bytearray(file.read_bytes())
    second = content.index(b"\xffBI1", 1)
    content[second + 20] ^= 1
    file.write_bytes(content)


def tear_the_end(file: Path) -> None:
    content = file.read_bytes().rstrip(b"\0")
    file.write_bytes(content + b"\xffBI1" + b"half a record")


@pytest.mark.req("SQ-11", "INV-6")
@pytest.mark.parametrize("harm, torn", [(damage_second_record, False), (tear_the_end, True)])
def test_a_damaged_record_is_told_and_all_others_come_back(
    tmp_path: Path, harm: Callable[[Path], None], torn: bool
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    promises = asyncio.run(converse(data, tmp_path / "copies"))
    target = replaced(data, tmp_path / "start", None)
    harm(target / "intake/1.log")

    async def start() -> None:
        launcher = PaperLauncher(target / "sessions")
        async with running_engine(target, launcher) as engine:
            assert [problem.torn_end for problem in engine.store.intake_problems] == [torn]
            await everything_ends(engine, launcher, promises, gaps=True)

    asyncio.run(start())


def damage_record(file: Path, number: int) -> None:
    """Flip a bit in the payload of a record, counted from 0."""
    content = bytearray(file.read_bytes())
    at = -1
    for _ in range(number + 1):
        at = content.index(b"\xffBI1", at + 1)
    content[at + 20] ^= 1
    file.write_bytes(content)


async def everything_has_an_outcome(
    engine: SmallEngine, launcher: PaperLauncher, promises: Promises
) -> list[MessageState]:
    """All that came back ends, and each session works on a new message. Returns the outcomes."""
    outcomes = []
    for number, row in enumerate(await engine.store.sessions()):
        await finished(engine, row.id)
        found = [await engine.store.message(MessageId(key)) for key in promises.messages]
        messages = [message for message in found if message is not None and message.session == row.id]
        outcomes += [message.state for message in messages]
        unknown = [message for message in messages if message.state is MessageState.UNKNOWN]
        assert all(message.reason for message in unknown)
        events = await events_of(engine, row.id)
        told = [event for event in events if event["kind"] == "notice" and event["code"] == "agent.unknown_outcome"]
        assert len(told) == bool(unknown)
        key = f"00000000-0000-4000-9000-{number:012}"
        await engine.ask(Send(session=row.id, key=key, text="go on"))
        await finished(engine, row.id)
        message = await engine.store.message(MessageId(key))
        assert message is not None
        assert message.state is MessageState.COMPLETED
    for claude in launcher.claudes.values():
        assert claude.times <= {1}, "nothing was done twice"
    return outcomes


async def finished(engine: SmallEngine, session: str) -> None:
    """Answer what is asked until nothing is left to do."""
    while (question := await engine.question(session)) is not None:
        await engine.ask(Answer(permission=question.id, allow=True))
    await engine.until(session, lambda s: not s.messages)


@pytest.mark.req("INV-1", "INV-6", "SQ-11")
@pytest.mark.parametrize("older", [0, 3], ids=["no database", "an older one"])
def test_without_any_one_record_and_the_database_every_message_has_an_outcome_and_sessions_go_on(
    tmp_path: Path, older: int
) -> None:
    """The record of a message's end too: then claude is done with it, and nothing says how it ended."""
    data = tmp_path / "data"
    data.mkdir()
    promises = asyncio.run(converse(data, tmp_path / "copies"))
    count = len(list(intake.read_all(data / "intake", [])))
    outcomes: list[MessageState] = []

    async def start(target: Path) -> None:
        launcher = PaperLauncher(target / "sessions")
        async with running_engine(target, launcher) as engine:
            assert len(engine.store.intake_problems) == 1
            outcomes.extend(await everything_has_an_outcome(engine, launcher, promises))

    for number in range(count):
        copy = tmp_path / "copies" / str(older) if older else None
        target = replaced(data, tmp_path / f"start{number}", copy)
        damage_record(target / "intake/1.log", number)
        asyncio.run(start(target))
    assert set(outcomes) == {MessageState.COMPLETED, MessageState.UNKNOWN}


@pytest.mark.req("SQ-11", "INV-6")
def test_a_session_that_was_closed_stays_closed_when_the_database_is_gone(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()

    async def close(names: dict[str, str]) -> None:
        async with running_engine(data, PaperLauncher(data / "sessions")) as engine:
            person = Person(engine)
            for name in ("open", "closed", "closing"):
                names[name] = await person.create(KEYS[len(names)])
            await engine.ask(Send(session=names["closing"], key=KEYS[8], text="go"))
            await finished(engine, names["closing"])
            for name in ("closed", "closing"):
                await engine.ask(Close(session=names[name]))
            await engine.until(names["closing"], lambda session: session.closing)

    async def look(target: Path) -> dict[str, tuple[str, bool]]:
        async with running_engine(target, PaperLauncher(target / "sessions")) as engine:
            return {row.id: (row.state, bool(row.life.get("closing"))) for row in await engine.store.sessions()}

    names: dict[str, str] = {}
    asyncio.run(close(names))
    found = asyncio.run(look(replaced(data, tmp_path / "start", None)))
    assert found[names["open"]] == ("NEW", False)
    assert found[names["closed"]] == ("CLOSED", True)
    assert found[names["closing"]][1], "it is closed as soon as its claude has ended"


@pytest.mark.req("SQ-11")
def test_a_record_keeps_the_events_of_its_transaction_to_the_byte(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    asyncio.run(converse(data, tmp_path / "copies"))
    records = list(intake.read_all(data / "intake", []))
    assert len(records) > 5
    for record in records:
        made = intake.encode(record.transaction(), record.rev)
        assert made is not None
        assert msgspec.json.decode(made) == msgspec.json.decode(msgspec.json.encode(record))
