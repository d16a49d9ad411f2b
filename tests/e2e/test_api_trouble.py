"""An API that refuses, with the real daemon and claude: nothing is lost, repeated, or sent while it is shut."""

from __future__ import annotations

import json
import time

import pytest

from betcode.testing.command import Command
from betcode.testing.installation import Installation, scripted
from betcode.testing.keeper_process import wait_until

TOOL = {"tool": {"name": "Bash", "input": {"command": "echo x >> ran"}}}
REFUSES = {"status": 429, "headers": {"retry-after": "20"}}


def statuses(made: Installation) -> list[int]:
    return [one["status"] for one in made.model.stats()["requests"] if not one["background"]]


@pytest.mark.req("RL-3", "INV-1")
def test_a_turn_that_is_refused_after_a_tool_goes_on_by_itself_and_the_tool_runs_once(
    betcode: Command, made: Installation
) -> None:
    step = {"status": 529, "times": 2, "text": "done in the end"}
    ended = betcode("run", "--allow", "Bash", scripted("go", TOOL, step, keep=True))
    assert (ended.status, ended.out) == (0, "done in the end\n")
    assert (made.project / "ran").read_text() == "x\n"
    assert statuses(made) == [200, 529, 529, 200]
    assert "it goes on in" in ended.err


@pytest.mark.req("RL-5", "RL-3", "CB-1")
def test_after_three_refusals_nothing_is_sent_until_a_person_forces_a_try(betcode: Command, made: Installation) -> None:
    made.model.reset()
    made.model.set_weather({"for_s": 3_600, "step": REFUSES})
    session = betcode.session_of(betcode("run", "--timeout", "30", "--output-format", "json", scripted("go")))
    state = betcode("status", "--json").json()
    [upstream] = state["upstreams"]
    assert (upstream["state"], upstream["code"]) == ("open", "agent.rate_limited")
    refused = statuses(made)
    assert set(refused) == {429}
    assert len(refused) <= 3
    assert 0 < upstream["retry_in_s"] <= 66
    assert "API temporarily unavailable due to rate limits." in betcode("status").out
    betcode("send", session, scripted("again", {"text": "answered"}))
    [shown] = [one for one in betcode("status", "--json").json()["sessions"] if one["id"] == session]
    assert (shown["state"], shown["api"]["code"], shown["waiting"]) == ("WAITING_API", "agent.rate_limited", 1)
    made.model.set_weather()
    assert betcode("sessions", "retry", session).status == 0
    wait_until(lambda: len(statuses(made)) > len(refused), what="the request of the forced try", deadline_s=60)
    assert statuses(made) == [*refused, 200]


@pytest.mark.req("RL-3")
def test_a_script_that_does_not_want_to_wait_gets_exit_status_4_and_when_to_come_again(
    betcode: Command, made: Installation
) -> None:
    made.model.reset()
    made.model.set_weather({"for_s": 3_600, "step": REFUSES})
    prompt = scripted("go")
    begun_s = time.monotonic()
    ended = betcode("run", "--on-rate-limit", "fail", "--output-format", "json", prompt)
    assert ended.status == 4
    told = json.loads(ended.out.splitlines()[-1])
    assert told["is_error"] is True
    assert "try again in" in ended.err
    assert time.monotonic() - begun_s < 60
    waiting = [one["waiting"] for one in betcode("status", "--json").json()["sessions"]]
    assert set(waiting) == {0}, "the message was not cancelled"
