"""The commands of a conversation, and its longer sentences."""

from __future__ import annotations

from typing import Final

COMMANDS: Final = {
    "help": "help",
    "?": "help",
    "queue": "queue",
    "clear": "clear",
    "resume": "resume",
    "retry": "retry",
    "stop": "stop",
    "interrupt": "stop",
    "steer": "steer",
    "name": "name",
    "rename": "name",
    "close": "close",
    "quit": "quit",
    "exit": "quit",
    "q": "quit",
}
"""What may be typed after a slash, and what it means."""

HELP: Final = """\
   type a message and press enter; a backslash at the end of a line goes on in the next one; lines that are pasted
   together are one message. While claude works a message waits for its turn.
   /queue          what waits, and why
   /clear [ID]     cancel what waits, or the one message
   /resume         let go on what an interrupt holds
   /steer TEXT     give claude a message in the middle of its turn
   /stop           interrupt claude, as ctrl-c does
   /retry          start claude afresh after it crashed, or without waiting
   /name TEXT      give the session a name
   /close          end the session for good
   /quit           leave, as ctrl-d does; the session goes on, and `betcode` here comes back to it
   //TEXT          send claude a message that begins with a slash"""

NOT_SENT_CUT: Final = (
    "! not sent: a terminal keeps only 4,095 characters of one line and may have dropped the rest."
    " Put the text into a file and say so, or use: betcode run --continue - < FILE"
)


def not_a_command(name: str) -> str:
    """What to do instead."""
    return f"! /{name} is none of the commands here, or lacks its text: /help. To send it to claude begin with //"
