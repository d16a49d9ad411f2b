"""The production SQL on a database in memory, as the simulator uses it."""

from collections.abc import Iterator

import apsw
import pytest
from msgspec import Struct
from msgspec.structs import replace

from betcode.adapters.sqlite import statements
from betcode.adapters.sqlite.checked import SELECT
from betcode.adapters.sqlite.errors import StoreError
from betcode.adapters.sqlite.schema import migrate
from betcode.model.errors import BetcodeError
from betcode.model.ids import MessageId, PermissionId, SessionId
from betcode.model.rows import Message, Options, Permission, SessionRow, Transaction
from betcode.model.states import FINAL_MESSAGE_STATES, Delivery, MessageState, PermissionState
from betcode.testing.sample_rows import creation, event_row, message_row, permission_row, session_row, step

A, B = SessionId("aaaaaaaaaa"), SessionId("bbbbbbbbbb")


@pytest.fixture
def database() -> Iterator[apsw.Connection]:
    connection = apsw.Connection(":memory:")
    connection.pragma("foreign_keys", 1)
    migrate(connection)
    statements.apply(connection, creation(A))
    yield connection
    connection.close()


def put(database: apsw.Connection, *rows: Transaction) -> None:
    for row in rows:
        statements.apply(database, row)


@pytest.mark.req("SQ-11")
def test_every_field_of_every_row_is_read_back_as_it_was_written(database: apsw.Connection) -> None:
    options = Options(
        model="opus",
        allow=("Bash(git *)", "Read"),
        permission_ttl_s=1.5,
        path="/bin:/usr/bin",
        virtual_env="/v",
        max_turns=7,
        claude_config_dir="/c",
    )
    row = session_row(
        B, name="näme\0", state="ACTIVE", reason="r", run=4, offset=5, checkpoint=3, life={"turn": ["m", True, 2, ""]}
    )
    row = replace(row, options=options, seq=2)
    said = message_row(B, "m1", text="a\nb\0ü", state=MessageState.DELIVERED, reason="why", run=4, steer=True)
    asked = permission_row(B, "p1", input={"deep": [{"x": None}, 1.5, "ü"]})
    settled = permission_row(
        B,
        "p2",
        state=PermissionState.ALLOWED,
        tool_use_id="t",
        description="d",
        agent_id="a",
        reason="r",
        delivery=Delivery.SENDING,
        by="ada",
        message="m",
        updated_input={},
        for_session=True,
        interrupt=True,
        settled_at="now",
    )
    events = (event_row(B, 1), event_row(B, 2))
    put(database, Transaction(row, events, (said,), (asked, settled), creates=True))
    assert statements.session(database, B) == row
    assert statements.sessions(database) == [session_row(A), row]
    assert statements.message(database, MessageId("m1")) == said
    assert statements.permission(database, PermissionId("p1")) == asked
    assert statements.permission(database, PermissionId("p2")) == settled
    assert statements.open_permissions(database, B) == [asked, settled]
    assert statements.events(database, B, epoch=1, after=0, limit=10) == list(events)


@pytest.mark.req("SQ-8")
@pytest.mark.parametrize("row, table", [(SessionRow, "sessions"), (Message, "messages"), (Permission, "permissions")])
def test_every_field_has_its_column(database: apsw.Connection, row: type[Struct], table: str) -> None:
    """A new field needs a migration, and its place in the statements."""
    columns = {str(column[1]) for column in database.execute(f"PRAGMA table_info({table})")}
    assert columns == {*row.__struct_fields__, "position", "rev", "crc"}


def test_what_does_not_exist_is_none_or_empty(database: apsw.Connection) -> None:
    assert statements.session(database, B) is None
    assert statements.message(database, MessageId("m")) is None
    assert statements.permission(database, PermissionId("p")) is None
    assert statements.open_messages(database, A) == []
    assert statements.open_permissions(database, A) == []
    assert statements.events(database, A, epoch=1, after=0, limit=10) == []


@pytest.mark.req("ND-8")
def test_events_are_read_by_epoch_and_position_and_never_more_than_asked_for(database: apsw.Connection) -> None:
    put(database, step(A, 5, events=5), step(A, 2, events=2, epoch=2))
    found = statements.events(database, A, epoch=1, after=1, limit=3)
    assert [(e.epoch, e.seq) for e in found] == [(1, 2), (1, 3), (1, 4)]
    assert [e.seq for e in statements.events(database, A, epoch=2, after=0, limit=9)] == [1, 2]


@pytest.mark.req("ND-8")
@pytest.mark.parametrize(
    "wrong",
    [
        step(A, 4),  # 3 is missing
        step(A, 2),  # 2 is there
        step(A, 3, epoch=2),  # a new epoch begins at 1
        Transaction(session_row(A, seq=3)),  # a seq without its event
        Transaction(session_row(A, seq=1)),  # backwards
        Transaction(session_row(A, seq=4), (event_row(A, 3), event_row(A, 3))),
        Transaction(session_row(A, seq=4), (event_row(A, 4), event_row(A, 3))),
        Transaction(session_row(A, seq=3), (event_row(B, 3),)),
        Transaction(session_row(A, seq=3), (event_row(A, 3, epoch=2),)),
        Transaction(session_row(A, seq=1, epoch=0), (event_row(A, 1, epoch=0),)),  # an old epoch
        Transaction(session_row(A, seq=3), (event_row(A, 3),), creates=True),
        Transaction(session_row(A), creates=True),
        Transaction(session_row(B)),
        Transaction(session_row(A, seq=2), messages=(message_row(B, "m"),)),
        Transaction(session_row(A, seq=2), permissions=(permission_row(B, "p"),)),
    ],
)
def test_what_does_not_follow_from_what_is_stored_is_refused(database: apsw.Connection, wrong: Transaction) -> None:
    put(database, step(A, 2, events=2))
    before = database.serialize("main")
    with pytest.raises(StoreError) as raised, database:
        statements.apply(database, wrong)
    assert raised.value.error_type == "defect"
    assert database.serialize("main") == before


@pytest.mark.req("ND-8")
def test_a_row_without_events_changes_only_the_session(database: apsw.Connection) -> None:
    put(database, step(A, 2, events=2), Transaction(session_row(A, seq=2, offset=999, state="IDLE")))
    stored = statements.session(database, A)
    assert stored is not None
    assert (stored.seq, stored.offset, stored.state) == (2, 999, "IDLE")


@pytest.mark.req("INV-1")
@pytest.mark.parametrize("session, text", [(B, "the text of m"), (A, "another text"), (B, "another text")])
def test_a_key_that_belongs_to_another_message_is_a_conflict(
    database: apsw.Connection, session: SessionId, text: str
) -> None:
    put(database, creation(B), step(A, 1, message="m"))
    with pytest.raises(BetcodeError) as raised:
        statements.apply(
            database,
            Transaction(
                session_row(session, seq=1 if session == A else 0),
                messages=(message_row(session, "m", text=text, state=MessageState.FAILED),),
            ),
        )
    assert raised.value.code == "message.key_conflict"
    assert statements.message(database, MessageId("m")) == message_row(A, "m")


@pytest.mark.req("INV-1")
def test_a_message_keeps_its_place_while_its_state_changes(database: apsw.Connection) -> None:
    rows = [message_row(A, name) for name in ("m3", "m1", "m2")]
    put(database, Transaction(session_row(A), messages=tuple(rows)))
    moved = replace(rows[0], state=MessageState.STARTED, reason="x", run=2)
    put(database, Transaction(session_row(A), messages=(moved,)))
    assert statements.open_messages(database, A) == [moved, rows[1], rows[2]]


@pytest.mark.req("INV-1")
@pytest.mark.parametrize("state", list(MessageState))
def test_exactly_the_messages_without_an_outcome_are_open(database: apsw.Connection, state: MessageState) -> None:
    row = message_row(A, "m", state=state)
    put(database, Transaction(session_row(A), messages=(message_row(A, "m"), row)))
    assert statements.open_messages(database, A) == ([] if state in FINAL_MESSAGE_STATES else [row])


@pytest.mark.req("SQ-11")
@pytest.mark.parametrize("delivery", list(Delivery))
@pytest.mark.parametrize("state", list(PermissionState))
def test_exactly_the_questions_with_something_left_to_do_are_open(
    database: apsw.Connection, state: PermissionState, delivery: Delivery
) -> None:
    row = permission_row(A, "p", state=state, delivery=delivery)
    put(database, Transaction(session_row(A), permissions=(permission_row(A, "p"), row)))
    open_still = state is PermissionState.PENDING or delivery is Delivery.SENDING
    assert statements.open_permissions(database, A) == ([row] if open_still else [])


def test_a_question_of_another_session_is_not_overwritten(database: apsw.Connection) -> None:
    put(database, creation(B), Transaction(session_row(A), permissions=(permission_row(A, "p"),)))
    with pytest.raises(StoreError, match="belongs to another session"):
        put(database, Transaction(session_row(B), permissions=(permission_row(B, "p"),)))


@pytest.mark.parametrize(
    "query, index",
    [
        (f"{SELECT['messages']} {statements._OPEN_MESSAGES}", "messages_open"),
        (f"{SELECT['permissions']} {statements._OPEN_PERMISSIONS}", "permissions_open"),
        (statements._SELECT_EVENTS, "events_by_position"),
    ],
)
def test_reads_that_happen_often_use_their_index_and_sort_nothing(
    database: apsw.Connection, query: str, index: str
) -> None:
    plan = " | ".join(
        str(row[3]) for row in database.execute(f"EXPLAIN QUERY PLAN {query}", tuple("a" * query.count("?")))
    )
    assert index in plan
    assert "TEMP B-TREE" not in plan


@pytest.mark.req("SQ-11")
def test_a_body_that_changed_on_the_disk_is_never_handed_out(database: apsw.Connection) -> None:
    put(database, step(A, 2, events=2))
    database.execute("UPDATE events SET body = CAST(replace(body, 'x', 'y') AS BLOB) WHERE seq = 2")
    with pytest.raises(StoreError, match=r"event 1\.2 .*damaged") as raised:
        statements.events(database, A, epoch=1, after=0, limit=10)
    assert raised.value.error_type == "corrupt"
    assert len(statements.events(database, A, epoch=1, after=0, limit=1)) == 1
