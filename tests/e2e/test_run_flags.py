"""`betcode run` understands the flags of `claude -p`, with the real daemon and the real claude."""

import json
import uuid

import psutil

from betcode.testing.command import Command
from betcode.testing.installation import Installation, scripted


def test_the_hint_for_an_option_in_the_wrong_place_says_where_it_belongs(betcode: Command) -> None:
    assert (
        "hint: It belongs behind a command: betcode run --max-turns ..." in betcode("--max-turns", "3", "run", "x").err
    )
    assert '--allowedTools "Bash(git *),Edit"' in betcode("run", "--allowedTools", "Bash", "Edit", "x").err


def test_the_flags_of_claude_reach_claude(betcode: Command, made: Installation) -> None:
    (made.project / "more").mkdir()
    echo = {"tool": {"name": "Bash", "input": {"command": "echo hello"}}}
    given = {
        "--allowedTools": "Edit Bash(echo *)",
        "--disallowedTools": "Bash(rm *),WebFetch",
        "--permission-mode": "acceptEdits",
        "--append-system-prompt": "be brief",
        "--add-dir": "more",
        "--mcp-config": '{"mcpServers": {}}',
        "--session-id": str(uuid.uuid4()),
        "--effort": "low",
    }
    words = [word for pair in given.items() for word in pair]
    ended = betcode("run", "-p", *words, "--output-format", "json", scripted("go", echo, {"text": "done"}))
    assert (ended.status, ended.json()["result"]) == (0, "done")
    assert ended.json()["session_id"] == given["--session-id"]
    alive = [psutil.Process(run["claude_pid"]).cmdline() for run in made.runs() if psutil.pid_exists(run["claude_pid"])]
    (argv,) = [argv for argv in alive if f"--session-id={given['--session-id']}" in argv]
    expected = [f"{name}={given[name]}" for name in ("--permission-mode", "--append-system-prompt", "--mcp-config")]
    assert {*expected, "--effort=low", f"--add-dir={made.project / 'more'}"} <= set(argv)
    (settings,) = [json.loads(word.partition("=")[2]) for word in argv if word.startswith("--settings=")]
    assert settings["permissions"] == {"allow": ["Edit", "Bash(echo *)"], "deny": ["Bash(rm *)", "WebFetch"]}
    again = betcode("run", "--session-id", given["--session-id"], "x")
    assert (again.status, "is in use already" in again.err) == (5, True)
    newest = betcode("run", "-c", "--output-format", "json", scripted("more", {"text": "ok"})).json()
    assert newest["session_id"] == given["--session-id"]
    assert betcode("run", "-r", given["--session-id"], scripted("more", {"text": "ok"})).status == 0


def test_an_account_without_a_directory_is_told_of(betcode: Command, made: Installation) -> None:
    ended = betcode("run", "--claude-config-dir", str(made.home / "new"), scripted("hi", {"text": "ok"}))
    assert (ended.status, ended.out) == (0, "ok\n")
    assert f"warning: the account's directory {made.home / 'new'} does not exist" in ended.err
