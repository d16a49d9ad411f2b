"""The table of failures: nothing without a row, and nothing persistent is tried again by itself."""

from __future__ import annotations

import errno

import pytest
from hypothesis import given
from hypothesis import strategies as st

from betcode.adapters.sqlite.errors import ERROR_TYPES
from betcode.core.failures import api, codes, raw
from betcode.core.upstream import BREAKS, LASTING
from betcode.model.errors import CODES
from betcode.model.facts import TurnResult
from betcode.model.failures import RETRYING, ApiKind, Failure, FailureClass
from betcode.testing.builders import aborted, api_error, result


def everything() -> list[tuple[str, Failure]]:
    found = [(f"api {kind}", failure) for kind, (_, failure) in api.TABLE.items()]
    found += list(codes.rows().items())
    found += [(errno.errorcode[number], failure) for number, failure in raw.OS_ERRORS.items()]
    return found + list(raw.SQLITE.items())


@pytest.mark.req("CB-3")
def test_every_error_code_has_a_row_and_no_row_is_left_over() -> None:
    assert codes.rows().keys() == CODES.keys()


@pytest.mark.req("CB-3")
def test_every_kind_of_refusal_and_every_label_of_the_database_has_a_row() -> None:
    assert set(api.TABLE) == set(ApiKind)
    assert set(raw.SQLITE) == ERROR_TYPES
    assert {code for code, _ in api.TABLE.values()} <= CODES.keys()


@pytest.mark.req("CB-3")
@pytest.mark.parametrize("name, failure", everything())
def test_what_is_persistent_is_never_tried_again_by_itself_and_every_row_says_what_to_do(
    name: str, failure: Failure
) -> None:
    if failure.failure_class is FailureClass.PERSISTENT:
        assert failure.strategy not in RETRYING, name
    assert failure.what.endswith("."), name
    assert len(failure.hint) > 5, name


@pytest.mark.req("CB-3", "RL-1")
def test_the_table_of_the_api_and_what_the_upstream_does_agree() -> None:
    for kind, (_, failure) in api.TABLE.items():
        if kind in LASTING or kind is ApiKind.REQUEST:
            assert failure.failure_class is FailureClass.PERSISTENT, kind
        else:
            assert kind in BREAKS or kind is ApiKind.USAGE_WINDOW
            assert failure.strategy in RETRYING, kind


@pytest.mark.req("CB-3")
@given(st.integers() | st.none(), st.text(), st.text())
def test_whatever_the_api_says_has_an_answer(status: int | None, error: str, text: str) -> None:
    assert api.failure_of(api.of_api(status, error, text)).code in CODES


@pytest.mark.req("CB-3")
@given(st.integers() | st.none(), st.text())
def test_an_unknown_error_of_the_system_is_never_tried_again_by_itself(number: int | None, label: str) -> None:
    if number not in raw.OS_ERRORS:
        assert raw.of_os_error(number).strategy not in RETRYING
    if label not in raw.SQLITE:
        assert raw.of_sqlite(label).strategy not in RETRYING


SEEN = [  # with claude 2.1.330, for each answer of the API
    (429, "", "API Error: Request rejected (429) · too many", "api_error", ApiKind.RATE_LIMIT),
    (429, "usage_limit_reached", "You've hit your limit", "api_error", ApiKind.USAGE_WINDOW),
    (529, "", "API Error: 529 overloaded", "api_error", ApiKind.OVERLOADED),
    (500, "", "API Error: 500 scripted", "api_error", ApiKind.SERVER_ERROR),
    (502, "", "API Error: 502 Bad Gateway.", "api_error", ApiKind.SERVER_ERROR),
    (401, "", "Failed to authenticate. API Error: 401", "api_error", ApiKind.CREDENTIALS),
    (403, "", "Failed to authenticate. API Error: 403", "api_error", ApiKind.CREDENTIALS),
    (400, "", "Credit balance is too low", "api_error", ApiKind.BILLING),
    (400, "", "API Error: 400 bad", "api_error", ApiKind.REQUEST),
    (404, "", "There's an issue with the selected model", "api_error", ApiKind.REQUEST),
    (413, "", "Request too large (max 32MB).", "image_error", ApiKind.REQUEST),
    (400, "", "Prompt is too long", "prompt_too_long", ApiKind.REQUEST),
    (None, "connection_failed", "API Error: Connection dropped (ECONNRESET).", "api_error", ApiKind.NETWORK),
    (None, "", "API Error: Request timed out", "api_error", ApiKind.NETWORK),
    (None, "", "API Error: Request timed out", "", ApiKind.NETWORK),
]


@pytest.mark.req("RL-1", "CB-3")
@pytest.mark.parametrize("status, error, text, reason, kind", SEEN)
def test_what_claude_says_of_the_api_is_told_apart(
    status: int | None, error: str, text: str, reason: str, kind: ApiKind
) -> None:
    fact = TurnResult("success", True, reason, text, api_error_status=status, api_error=error)
    failure = api.api_failure(fact)
    assert failure is not None
    assert failure.kind is kind


@pytest.mark.req("RL-1")
def test_other_ends_of_a_turn_are_no_failures_of_the_api() -> None:
    assert api.api_failure(aborted(1)) is None
    assert api.api_failure(result(1)) is None
    assert api.api_failure(TurnResult("error_max_turns", True, "max_turns")) is None
    assert api.api_failure(api_error(1)) is not None
