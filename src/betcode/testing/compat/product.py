"""The whole product with one version of the CLI: it refuses it, or a turn with a tool goes through."""

from __future__ import annotations

from betcode.model.capabilities import OLDEST
from betcode.model.errors import Exit
from betcode.testing.command import Command
from betcode.testing.compat.questions import tool
from betcode.testing.compat.room import Room, version_of
from betcode.testing.compat.seen import Findings, Seen
from betcode.testing.installation import installation, scripted


def product(room: Room) -> Findings:
    """`betcode run` with this claude, and nothing else of the room."""
    numbers = tuple(int(part) for part in version_of(room.claude, room.folder / "home").split("."))
    with installation() as made:
        made.env["BETCODE_CLAUDE"] = str(room.claude)
        betcode = Command(made.env, made.project)
        ended = betcode("run", "--allowedTools", "Bash", scripted("leave a trace", tool(), {"text": "all is done"}))
        sent = made.model.stats()["requests_total"]
        ran = (made.project / "ran").exists()
    refused = ended.status == Exit.BAD_CONFIGURATION and not ran and not sent
    if numbers < OLDEST:
        return {"product.guard": Seen(refused, "refused" if refused else f"exit {ended.status}")}
    ok = ended.status == 0 and ran and "all is done" in ended.out
    note = "" if ok else f"exit {ended.status}: {ended.err.strip()[-200:]}"
    return {"product.guard": Seen(not refused, "taken"), "product.turn": Seen(ok, note)}
