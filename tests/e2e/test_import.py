"""A conversation that the real claude had without us is taken over, and goes on."""

from __future__ import annotations

import json
import subprocess
import uuid

import pytest

from betcode.testing.claude_home import bundled_claude
from betcode.testing.command import Command
from betcode.testing.installation import installation, scripted


@pytest.mark.req("INV-6", "INV-7")
def test_a_conversation_is_listed_taken_over_once_and_goes_on_where_it_was() -> None:
    with installation(record=True) as made:
        betcode = Command(made.env, made.project)
        name = str(uuid.uuid4())
        argv = [str(bundled_claude()), "-p", "--session-id", name, scripted("remember", {"text": "the word is quince"})]
        own = subprocess.run(
            argv, env=made.env, cwd=made.project, capture_output=True, text=True, timeout=60, check=False
        )
        assert (own.returncode, "quince" in own.stdout) == (0, True), own
        [listed] = betcode("import", "--json").json()["conversations"]
        assert (listed["id"], listed["dir"], listed["session"]) == (name, str(made.project), None)
        assert listed["words"].startswith("remember")
        assert name in betcode("import").out
        [taken] = betcode("import", "--json", name[:8]).json()["taken"]
        session = taken["session"]
        shown = betcode("sessions", "show", "--json", session).lines()
        texts = [event["text"] for event in shown if event["kind"] == "assistant"]
        assert texts == ["the word is quince"]
        assert next(event["kind"] for event in shown) == "user_message"
        [again] = betcode("import", "--json", name).json()["taken"]
        assert again["session"] == session
        assert betcode("import", "--json").json()["conversations"][0]["session"] == session
        went_on = betcode("run", "--resume", session, scripted("and now", {"text": "it goes on"}))
        assert went_on.out == "it goes on\n"
        last = json.loads(made.recorded.read_text().splitlines()[-1])
        assert "the word is quince" in json.dumps(last), "claude knows what was said before"
        nothing = betcode("import", "ffffffff")
        assert (nothing.status, "betcode import" in nothing.err) == (6, True)
