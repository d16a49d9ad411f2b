"""The rules at the head of keeper/decide.py, over any interleaving of requests, answers and accidents."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from betcode.keeper.decide import (
    CloseStdin,
    Drop,
    Effect,
    RecordEnd,
    RecordIntent,
    Refusal,
    Reply,
    StdinBook,
    Welcome,
    Write,
    judge_attach,
)
from betcode.keeper.limits import LINE_BYTES_MAX, LINE_IDS_MAX, QUEUE_BYTES_MAX, QUEUE_LINES_MAX

ASKERS = (1, 2)
IDS = ("a", "b", "c")
ACTIONS = st.one_of(
    st.tuples(st.just("ask"), st.sampled_from(IDS), st.sampled_from(["x", "y"]), st.sampled_from(ASKERS)),
    st.tuples(st.sampled_from(["synced", "sync_failed", "written", "gone", "close"])),
    st.tuples(st.sampled_from(["late_synced", "late_failed"]), st.sampled_from(IDS)),
    st.tuples(st.just("leave"), st.sampled_from(ASKERS)),
)


class Shell:
    """Carries out effects in memory and checks, at each, that the book may ask for it."""

    def __init__(self) -> None:
        self.book = StdinBook()
        self.asked: Counter[int] = Counter()
        self.heard: Counter[int] = Counter()
        self.accepted: list[str] = []
        self.written: list[str] = []
        self.ended: list[tuple[str, str]] = []
        self.recording: str | None = None
        self.writing: str | None = None
        self.durable: set[str] = set()
        self.closed = False

    def perform(self, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case Reply():
                    self.heard[effect.asker] += 1
                    self.check_ack(effect)
                case RecordIntent():
                    assert self.recording is None
                    assert self.writing is None
                    assert not self.closed
                    self.recording = effect.line_id
                case Write():
                    assert effect.line_id in self.durable, "written before its intent was durable"
                    assert self.writing is None
                    assert not self.closed
                    self.writing = effect.line_id
                case RecordEnd():
                    self.ended.append((effect.line_id, effect.state))
                case CloseStdin():
                    assert not self.closed
                    self.closed = True
                case Drop():
                    assert effect.line_id != self.writing, "the bytes of a line under way were dropped"

    def check_ack(self, reply: Reply) -> None:
        ack = reply.ack
        if ack.result == "written":
            assert ack.line_id in self.written
            assert ack.state == "done"
        elif ack.result == "duplicate":
            assert (ack.line_id in self.written) == (ack.state == "done")
        else:
            assert ack.result == "refused"
            assert ack.reason is not None
            assert ack.reason == "conflict" or ack.line_id not in self.written or ack.state == "failed"

    def act(self, action: tuple[object, ...]) -> None:
        match action:
            case ("ask", str(line_id), str(body), int(asker)):
                self.asked[asker] += 1
                self.perform(self.book.ask(line_id, f"{body}\n".encode(), asker=asker, out_offset=0))
            case ("synced",) if self.recording is not None:
                line_id, self.recording = self.recording, None
                self.durable.add(line_id)
                self.perform(self.book.intent_durable(line_id))
            case ("sync_failed",) if self.recording is not None:
                line_id, self.recording = self.recording, None
                self.perform(self.book.intent_failed(line_id, out_offset=0))
            case ("written",) if self.writing is not None:
                line_id, self.writing = self.writing, None
                self.written.append(line_id)
                self.perform(self.book.line_written(line_id, out_offset=0))
            case ("gone",):
                self.recording = self.writing = None
                self.perform(self.book.stdin_gone(out_offset=0))
            case ("close",):
                self.perform(self.book.close_asked())
            case ("late_synced", str(line_id)) if line_id != self.recording:
                self.perform(self.book.intent_durable(line_id))
            case ("late_failed", str(line_id)) if line_id != self.recording:
                self.perform(self.book.intent_failed(line_id, out_offset=0))
            case ("leave", int(asker)):
                self.book.asker_gone(asker)
                self.asked[asker] = self.heard[asker]
            case _:
                pass  # not possible in this state


@pytest.mark.req("INV-1", "PS-6")
@given(st.lists(ACTIONS, max_size=60))
def test_each_id_is_written_at_most_once_and_every_request_is_answered_once(actions: list[tuple[object, ...]]) -> None:
    shell = Shell()
    for action in actions:
        shell.act(action)
        assert shell.heard[1] <= shell.asked[1]
        assert shell.heard[2] <= shell.asked[2]
    for _ in range(2 * len(actions)):  # let everything that was accepted come to its end
        shell.act(("synced",))
        shell.act(("written",))
    shell.act(("gone",))
    assert max(Counter(shell.written).values(), default=0) <= 1
    assert shell.heard == shell.asked
    assert shell.closed
    assert shell.book.pending == 0
    assert [line_id for line_id, state in shell.ended if state == "done"] == shell.written


def _written(book: StdinBook, line_id: str, line: bytes) -> None:
    book.ask(line_id, line, asker=1, out_offset=0)
    book.intent_durable(line_id)
    book.line_written(line_id, out_offset=7)


def _only_ack(effects: list[Effect]) -> dict[str, object]:
    (reply,) = [effect for effect in effects if isinstance(effect, Reply)]
    return reply.ack.fields()


@pytest.mark.req("INV-1")
def test_a_line_sent_again_is_a_duplicate_with_the_offset_of_the_first_time() -> None:
    book = StdinBook()
    _written(book, "a", b"x\n")
    ack = _only_ack(book.ask("a", b"x\n", asker=2, out_offset=99))
    assert ack == {"id": "a", "result": "duplicate", "state": "done", "out_offset": 7, "reason": None}


@pytest.mark.req("INV-1")
def test_the_same_id_with_another_body_is_a_conflict_whatever_became_of_the_first() -> None:
    book = StdinBook()
    _written(book, "a", b"x\n")
    book.ask("b", b"x\n", asker=1, out_offset=0)
    for line_id in ("a", "b"):
        assert _only_ack(book.ask(line_id, b"y\n", asker=1, out_offset=0))["reason"] == "conflict"


@pytest.mark.req("INV-1")
def test_a_duplicate_of_a_line_under_way_is_answered_when_the_line_is_done() -> None:
    book = StdinBook()
    book.ask("a", b"x\n", asker=1, out_offset=0)
    assert book.ask("a", b"x\n", asker=2, out_offset=0) == []
    book.intent_durable("a")
    replies = [effect for effect in book.line_written("a", out_offset=0) if isinstance(effect, Reply)]
    assert [(reply.asker, reply.ack.result) for reply in replies] == [(1, "written"), (2, "duplicate")]


@pytest.mark.req("INV-1")
def test_a_refused_intent_leaves_the_id_free_for_another_try() -> None:
    book = StdinBook()
    book.ask("a", b"x\n", asker=1, out_offset=0)
    assert _only_ack(book.intent_failed("a", out_offset=0))["reason"] == "intent_failed"
    assert any(isinstance(effect, RecordIntent) for effect in book.ask("a", b"x\n", asker=1, out_offset=0))


@pytest.mark.req("INV-1")
def test_lines_go_in_the_order_in_which_they_were_accepted() -> None:
    book = StdinBook()
    order = []
    for line_id in "abc":
        book.ask(line_id, b"x\n", asker=1, out_offset=0)
    under_way: str | None = "a"
    while under_way:
        order.append(under_way)
        book.intent_durable(under_way)
        following = [e for e in book.line_written(under_way, out_offset=0) if isinstance(e, RecordIntent)]
        under_way = following[0].line_id if following else None
    assert order == ["a", "b", "c"]


@pytest.mark.req("INV-8")
@pytest.mark.parametrize(
    "line_id, line, reason",
    [
        ("", b"x\n", "bad_id"),
        ("i" * 201, b"x\n", "bad_id"),
        ("a", b"x\ny\n", "bad_line"),
        ("a", b"\n\n", "bad_line"),
    ],
)
def test_what_claude_could_not_read_as_one_line_is_refused(line_id: str, line: bytes, reason: str) -> None:
    assert _only_ack(StdinBook().ask(line_id, line, asker=1, out_offset=0))["reason"] == reason


@pytest.mark.req("INV-8")
def test_a_line_over_its_limit_is_refused_and_one_at_the_limit_is_not() -> None:
    assert (
        _only_ack(StdinBook().ask("a", bytes(LINE_BYTES_MAX + 1) + b"\n", asker=1, out_offset=0))["reason"]
        == "too_large"
    )
    assert not any(
        isinstance(e, Reply) for e in StdinBook().ask("a", bytes(LINE_BYTES_MAX) + b"\n", asker=1, out_offset=0)
    )


@pytest.mark.req("INV-8")
def test_the_queue_is_bounded_in_lines_and_in_bytes() -> None:
    book = StdinBook()
    for number in range(QUEUE_LINES_MAX):
        assert not any(isinstance(e, Reply) for e in book.ask(str(number), b"x\n", asker=1, out_offset=0))
    assert _only_ack(book.ask("more", b"x\n", asker=1, out_offset=0))["reason"] == "queue_full"
    assert book.pending == QUEUE_LINES_MAX

    book = StdinBook()
    line = bytes(QUEUE_BYTES_MAX // 2 - 1) + b"\n"
    for number in range(2):
        assert not any(isinstance(e, Reply) for e in book.ask(str(number), line, asker=1, out_offset=0))
    assert _only_ack(book.ask("more", b"\n", asker=1, out_offset=0))["reason"] == "queue_full"


@pytest.mark.req("INV-8")
def test_a_run_remembers_a_bounded_number_of_ids_and_never_forgets_one() -> None:
    book = StdinBook()
    for number in range(LINE_IDS_MAX):
        _written(book, str(number), b"x\n")
    assert _only_ack(book.ask("new", b"x\n", asker=1, out_offset=0))["reason"] == "ids_full"
    assert _only_ack(book.ask("0", b"x\n", asker=1, out_offset=0))["result"] == "duplicate"


@pytest.mark.req("PS-11")
def test_closing_stdin_waits_for_the_accepted_lines_and_refuses_new_ones() -> None:
    book = StdinBook()
    book.ask("a", b"x\n", asker=1, out_offset=0)
    assert book.close_asked() == []
    assert _only_ack(book.ask("b", b"x\n", asker=1, out_offset=0))["reason"] == "stdin_closed"
    book.intent_durable("a")
    assert isinstance(book.line_written("a", out_offset=0)[-1], CloseStdin)


@pytest.mark.req("INV-1")
def test_when_stdin_goes_the_line_under_way_and_the_waiting_ones_have_failed() -> None:
    book = StdinBook()
    for line_id in "ab":
        book.ask(line_id, b"x\n", asker=1, out_offset=0)
    book.intent_durable("a")
    effects = book.stdin_gone(out_offset=3)
    acks = [effect.ack.fields() for effect in effects if isinstance(effect, Reply)]
    assert [(a["id"], a["result"], a["state"], a["reason"]) for a in acks] == [
        ("a", "refused", "failed", "stdin_closed"),
        ("b", "refused", "failed", "stdin_closed"),
    ]
    assert [effect.line_id for effect in effects if isinstance(effect, RecordEnd)] == ["a"]
    assert _only_ack(book.ask("a", b"x\n", asker=1, out_offset=9))["result"] == "duplicate"
    assert _only_ack(book.ask("c", b"x\n", asker=1, out_offset=9))["reason"] == "stdin_closed"


ATTACH: dict[str, object] = {"protocol": 1, "generation": 5, "from": 10}


@pytest.mark.req("PS-6")
@pytest.mark.parametrize(
    "change, code",
    [
        ({"generation": 4}, "older_generation"),
        ({"protocol": 0}, "bad_protocol"),
        ({"protocol": 2}, "bad_protocol"),
        ({"from": 11}, "bad_protocol"),
        ({"from": -1}, "bad_protocol"),
        ({"from": True}, "bad_protocol"),
        ({"generation": "5"}, "bad_protocol"),
        ({"protocol": None}, "bad_protocol"),
    ],
)
def test_a_daemon_that_may_not_attach_is_told_why(change: dict[str, object], code: str) -> None:
    verdict = judge_attach({**ATTACH, **change}, generation_seen=5, out_end=10)
    assert isinstance(verdict, Refusal)
    assert verdict.code == code


@pytest.mark.req("PS-6")
@pytest.mark.parametrize("change", [{}, {"generation": 6}, {"from": 0}, {"unknown": 1}])
def test_a_daemon_of_the_same_or_a_newer_generation_is_welcome(change: dict[str, object]) -> None:
    verdict = judge_attach({**ATTACH, **change}, generation_seen=5, out_end=10)
    assert isinstance(verdict, Welcome)
