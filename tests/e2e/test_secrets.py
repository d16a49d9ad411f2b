"""Secrets of the environment are in no file that BetCode writes (SE-3)."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from betcode.client.client import Client
from betcode.model.frames import Answer
from betcode.testing.installation import Installation, installation, scripted, session_of, until
from betcode.testing.witness import WAIT_S, outcome, question, send

TOOL = {"tool": {"name": "Bash", "input": {"command": "echo x >> counter.txt", "description": "w"}}}
SECRETS = {
    "ANTHROPIC_API_KEY": "sk-ant-api03-4f1c9a77e2",
    "ANTHROPIC_CUSTOM_HEADERS": "X-Company: header-secret-8841c0",
    "AWS_SECRET_ACCESS_KEY": "aws/secret+51d07b9e",
    "GOOGLE_APPLICATION_TOKEN": "google-token-6cc2a1f4",
    "HTTPS_PROXY": "http://user:proxy-password-7be3@127.0.0.1:9",
    "COMPANY_PASSWORD": "plain-password-20aa51",
}
"""Those that claude may have, and one that it must not have. A proxy that is not used: the model is on this machine."""


async def turn(client: Client, session: str) -> None:
    """A turn with a question that is allowed."""
    key = await send(client, session, scripted("t", TOOL, {"text": "done"}))
    await client.request(Answer(permission=await question(client, session), allow=True))
    assert (await outcome(client, session, key))[0] == "completed"


def written(made: Installation) -> dict[str, bytes]:
    """Every file of the data, configuration and runtime directories."""
    roots = (made.paths.data, made.paths.config, made.paths.runtime)
    files: list[Path] = [path for root in roots for path in root.rglob("*") if path.is_file()]
    return {str(path.relative_to(made.home)): path.read_bytes() for path in files}


@pytest.mark.req("SE-3", "PS-10")
def test_no_file_of_ours_holds_the_api_key_or_another_secret_of_the_environment() -> None:
    found: dict[str, bytes] = {}

    async def run(made: Installation) -> None:
        made.paths.config.mkdir(mode=0o700)
        made.paths.settings.write_text(json.dumps({"daemon": {"log_level": "debug"}}))
        async with made.client() as client, session_of(made, client) as session:
            await turn(client, session)
            made.kill_daemon()
            await turn(client, session)  # adopted
            found.update(written(made))  # with database, write-ahead log and keeper as they are at work
            pid = made.kill_daemon()
            await until(lambda: made.daemon_pid() != pid, within_s=WAIT_S, what="its end")
            made.paths.database.write_bytes(b"no database")
            await made.start_daemon()  # which repairs it, and keeps what was there
        found.update({f"{name} at the end": content for name, content in written(made).items()})

    with installation() as made:
        made.env.update(SECRETS | {"NO_PROXY": "127.0.0.1"})
        asyncio.run(run(made))
    kinds = {Path(name.split(" at ")[0]).suffix or name for name in found}
    assert {".db", ".db-wal", ".log", ".out", ".in", ".run", ".stderr"} <= kinds, "all that can hold one was looked at"
    for name, content in found.items():
        for variable, secret in SECRETS.items():
            for part in (secret, secret.rpartition(" ")[2], secret.partition("@")[0]):
                assert part.encode() not in content, f"{variable} is in {name}"
