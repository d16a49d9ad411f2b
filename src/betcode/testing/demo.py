"""`make demo`: shows in a minute what BetCode does, with the real claude and a scripted model, without an account.

Everything happens in a temporary directory with its own HOME; nothing is left running. Ends with `demo: ok` and
status 0, or says what failed and ends with status 1.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from betcode.testing.claude_home import bundled_claude, clean_env, model_server

STEP_S = 45.0
"""No step takes longer than this, also on a slow machine."""
WORDS = 120
DELTA_MS = 40


class DemoFailed(Exception):
    """A step did not show what it should."""


class Screen:
    """The viewer's one screen, shared by several terminals: a line belongs to one of them."""

    open_label = ""

    @classmethod
    def write(cls, label: str, piece: str) -> None:
        """Show a piece of a line of `label`, on a line of its own if another terminal's line is open."""
        if cls.open_label != label:
            cls.end_line()
            sys.stdout.write(f"  {label} │ ")
        cls.open_label = "" if piece.endswith("\n") else label
        sys.stdout.write(piece)
        sys.stdout.flush()

    @classmethod
    def end_line(cls) -> None:
        """Close a line that is open."""
        if cls.open_label:
            sys.stdout.write("\n")
            cls.open_label = ""
        sys.stdout.flush()


class Terminal:
    """One betcode command as a user would run it, its output shown line by line as it comes."""

    def __init__(self, label: str, process: asyncio.subprocess.Process) -> None:
        self.label = label
        self.process = process
        self.text = ""
        self._more = asyncio.Event()
        self._shown = asyncio.create_task(self._show())

    async def _show(self) -> None:
        assert self.process.stdout is not None
        while chunk := await self.process.stdout.read(4096):
            text = chunk.decode("utf-8", "replace")
            self.text += text
            self._more.set()
            for line in text.splitlines(keepends=True):
                Screen.write(self.label, line)
        Screen.end_line()

    async def until_shown(self, text: str) -> None:
        """Wait until the command has printed this."""
        async with asyncio.timeout(STEP_S):
            while text not in self.text:
                self._more.clear()
                await self._more.wait()

    async def end(self) -> int:
        """Wait for the command; returns its exit status."""
        status = await self.process.wait()
        await self._shown
        return status


class Demo:
    """The steps, in a home of their own."""

    def __init__(self, home: Path, env: dict[str, str]) -> None:
        self.home = home
        self.project = home / "project"
        self.project.mkdir()
        self.env = env
        self.terminals: list[Terminal] = []

    async def start(self, label: str, *arguments: str) -> Terminal:
        """Run a command whose output is shown."""
        shown = " ".join(a if "@script" not in a else f'"{a.partition(" @script")[0]}"' for a in arguments)
        say(f"\n  {label} $ betcode {shown}")
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "betcode",
            *arguments,
            env=self.env,
            cwd=self.project,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        terminal = Terminal(label, process)
        self.terminals.append(terminal)
        return terminal

    async def ask(self, *arguments: str) -> Any:
        """Run a command with --json and return what it says."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "betcode",
            *arguments,
            "--json",
            env=self.env,
            cwd=self.project,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await process.communicate()
        if process.returncode != 0:
            raise DemoFailed(f"betcode {' '.join(arguments)}: {err.decode().strip() or out.decode().strip()}")
        return json.loads(out)

    async def until(self, what: str, found: Callable[[Any], Any], *arguments: str) -> Any:
        """Ask again and again until `found` finds something."""
        loop = asyncio.get_running_loop()
        end = loop.time() + STEP_S
        while loop.time() < end:
            result = found(await self.ask(*arguments))
            if result:
                return result
            await asyncio.sleep(0.05)
        raise DemoFailed(f"{what} did not come within {STEP_S:.0f} s")

    async def streamed(self) -> None:
        """A streamed answer."""
        title(1, "A prompt. The daemon starts by itself, runs the real claude, and the answer streams in.")
        run = await self.start("one", "run", "--stream", prompt("Say something", {"words": 40, "delta_ms": 20}))
        check(await run.end() == 0, "the command ended well")
        check(words(40) in run.text, "the whole answer arrived")

    async def permission(self) -> None:
        """A tool call that asks and is allowed from elsewhere."""
        title(
            2, "A tool call. claude asks; the question waits for an answer from any client; here a second one allows."
        )
        call = {"tool": {"name": "Bash", "input": {"command": "echo made by claude > note.txt", "description": "w"}}}
        run = await self.start("one", "run", "--stream", prompt("Write a note", call, {"text": "The note is written."}))
        questions = await self.until("the question", lambda p: p["permissions"], "permissions", "list")
        check(not (self.project / "note.txt").exists(), "nothing was run before the answer")
        allow = await self.start("two", "permissions", "allow", questions[0]["id"])
        check(await allow.end() == 0, "the answer was taken")
        check(await run.end() == 0, "the command ended well")
        check((self.project / "note.txt").read_text() == "made by claude\n", "the tool ran, once, after the answer")

    async def killed(self) -> None:
        """A second client sees the same, and the daemon dies in the middle."""
        title(3, "A long answer, seen by two clients. In the middle of it the daemon is killed with -9.")
        run = await self.start(
            "one", "run", "--stream", prompt("A long answer", {"words": WORDS, "delta_ms": DELTA_MS})
        )
        session = await self.until(
            "the running turn",
            lambda s: next((x for x in s["sessions"] if x["state"] == "ACTIVE" and x["claude_pid"]), None),
            "status",
        )
        watch = await self.start("two", "attach", session["id"], "--until-idle")
        await run.until_shown("w30 ")
        daemon = (await self.ask("status"))["daemon"]["pid"]
        os.kill(daemon, signal.SIGKILL)
        say(
            f"\n  >>> kill -9 {daemon}   (the daemon is dead;"
            f" claude {session['claude_pid']} goes on under its keeper)\n"
        )
        check(await run.end() == 0, "the first client ended well, although its daemon died")
        check(await watch.end() == 0, "so did the second")
        check(
            answer_in(run.text) == words(WORDS).split(),
            "the first client has the whole answer, nothing lost, nothing twice",
        )
        check(answer_in(watch.text) == words(WORDS).split(), "so has the second")
        after = await self.until(
            "the new daemon's status", lambda s: s if s["daemon"]["pid"] != daemon else None, "status"
        )
        same = next(x for x in after["sessions"] if x["id"] == session["id"])
        check(same["claude_pid"] == session["claude_pid"], "it is the same claude process: adopted, not restarted")

    async def stop(self) -> None:
        """Leave nothing running."""
        for terminal in self.terminals:
            if terminal.process.returncode is None:
                terminal.process.kill()
                await terminal.end()
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "betcode",
            "daemon",
            "stop",
            "--stop-sessions",
            env=self.env,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        with suppress(TimeoutError):
            async with asyncio.timeout(STEP_S):
                await process.wait()


def say(text: str) -> None:
    """One line for the viewer."""
    Screen.end_line()
    print(text, flush=True)


def title(number: int, text: str) -> None:
    """Announce a step."""
    say(f"\n{number}. {text}")


def check(good: bool, what: str) -> None:
    """Show that something is so, or fail."""
    if not good:
        raise DemoFailed(f"not so: {what}")
    say(f"  ✓ {what}")


def words(count: int) -> str:
    """What the scripted model answers to {"words": count}."""
    return " ".join(f"w{i}" for i in range(count))


def answer_in(text: str) -> list[str]:
    """The model's words in what a terminal showed, without the lines about the connection between them."""
    return re.findall(r"\bw\d+\b", text)


def prompt(text: str, *steps: dict[str, Any]) -> str:
    """A prompt that carries the model's script."""
    return f"{text} @script {json.dumps({'steps': list(steps)})}"


async def show() -> None:
    """All steps."""
    with tempfile.TemporaryDirectory(prefix="betcode-demo-") as folder, model_server() as server:
        home = Path(folder)
        demo = Demo(home, betcode_env(home, server.url))
        say("BetCode demo: the real claude, a scripted model instead of the API, a home of its own.")
        try:
            await demo.streamed()
            await demo.permission()
            await demo.killed()
        finally:
            await demo.stop()
    say(
        "\nWhere to look next: README.md, `betcode --help`, docs/protocol.md;"
        " with your own login: `betcode run PROMPT`."
    )


def betcode_env(home: Path, base_url: str) -> dict[str, str]:
    """A clean environment for betcode and claude, with all directories below `home`."""
    path = f"{Path(sys.executable).parent}:{os.environ.get('PATH', '/usr/bin:/bin')}"
    return clean_env(home, base_url, path=path) | {
        "BETCODE_CONFIG_DIR": str(home / "config"),
        "BETCODE_DATA_DIR": str(home / "data"),
        "BETCODE_RUNTIME_DIR": str(home / "run"),
        "BETCODE_CLAUDE": str(bundled_claude()),
    }


def main() -> int:
    """Run the demo; returns the exit status."""
    try:
        asyncio.run(show())
    except (DemoFailed, OSError, KeyError, ValueError) as error:
        say(f"\ndemo: failed: {str(error) or repr(error)}")
        return 1
    say("demo: ok")
    return 0


if __name__ == "__main__":
    sys.exit(main())
