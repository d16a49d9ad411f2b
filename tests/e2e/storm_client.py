"""Clients that are killed with -9: one process with one client for each session, driven over a pipe (test_storm.py).

Usage: python storm_client.py SEED SESSION..., with the environment of a BetCode command. Each line on standard input is
`{"send": KEY, "session": ID, "text": TEXT}` or `{"report": N}`; each line on standard output `{"acked": KEY}`,
`{"ended": [KEY...]}`, `{"report": N, "views": [...]}` or `{"failed": TEXT}`.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from random import Random
from typing import Any

from betcode.client.client import Client
from betcode.client.session_view import Durable, Increment, Reset
from betcode.client.start import start_daemon
from betcode.model.frames import Send

RUNTIME = Path(os.environ["BETCODE_RUNTIME_DIR"])
DATA = Path(os.environ["BETCODE_DATA_DIR"])
LINE_BYTES_MAX = 1024 * 1024


def say(**fields: Any) -> None:
    os.write(1, json.dumps(fields).encode() + b"\n")


class View:
    """What one client of one session has seen."""

    def __init__(self, session: str, seed: int) -> None:
        self.session = session
        self.client = Client(RUNTIME / "daemon.sock", start_daemon=start, rng=Random(seed))
        self.seqs: list[int] = []
        self.texts: dict[str, str] = {}
        self.finals: list[str] = []
        self.kinds: dict[str, int] = {}
        self.faults: list[str] = []
        self.notices: list[str] = []

    async def watch(self) -> None:
        async with self.client:
            async for news in self.client.stream(self.session):
                if isinstance(news, Increment):
                    before = self.texts.get(news.block, "")
                    if news.offset > len(before):
                        self.faults.append(f"text of {news.block} has a hole: {len(before)} to {news.offset}")
                    self.texts[news.block] = before[: news.offset] + news.text
                elif isinstance(news, Durable):
                    self._event(news.event)
                elif isinstance(news, Reset):
                    self.faults.append(f"reset: {news.why}")

    def _event(self, event: dict[str, Any]) -> None:
        if event["seq"] != len(self.seqs) + 1:
            self.faults.append(f"event {event['seq']} came after {len(self.seqs)}")
        self.seqs.append(event["seq"])
        self.kinds[event["kind"]] = self.kinds.get(event["kind"], 0) + 1
        if event["kind"] == "assistant":
            if not event["text"].startswith(self.texts.get(event["block"], "")):
                self.faults.append(f"the text told of {event['block']} is not what was stored")
            self.texts[event["block"]] = event["text"]
            self.finals.append(event["text"])
        elif event["kind"] == "notice":
            self.notices.append(f"{event['code']}: {event['message']}")
        elif event["kind"] == "turn_ended":
            say(ended=event["message_ids"], session=self.session)

    def as_json(self) -> dict[str, Any]:
        shown = ("session", "finals", "kinds", "faults", "notices")
        return {name: getattr(self, name) for name in shown} | {
            "seq": len(self.seqs),
            "texts": list(self.texts.values()),
        }


async def start() -> None:
    command = [sys.executable, "-m", "betcode", "daemon", "run"]
    await start_daemon(
        command, env=dict(os.environ), stderr_path=DATA / "daemon.stderr", socket_path=RUNTIME / "daemon.sock"
    )


async def send(view: View, key: str, text: str) -> None:
    body = await view.client.request(Send(session=view.session, key=key, text=text))
    say(acked=key, duplicate=body["duplicate"])


async def main(seed: int, sessions: list[str]) -> None:
    reader = asyncio.StreamReader(limit=LINE_BYTES_MAX)
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    views = {session: View(session, seed + n) for n, session in enumerate(sessions)}
    async with asyncio.TaskGroup() as tasks:
        for view in views.values():
            tasks.create_task(view.watch())
        while line := await reader.readline():
            asked = json.loads(line)
            if "send" in asked:
                tasks.create_task(send(views[asked["session"]], asked["send"], asked["text"]))
            else:
                say(report=asked["report"], views=[view.as_json() for view in views.values()])
        os._exit(0)


if __name__ == "__main__":
    try:
        asyncio.run(main(int(sys.argv[1]), sys.argv[2:]))
    except BaseException as error:
        say(failed=repr(error))
        raise
