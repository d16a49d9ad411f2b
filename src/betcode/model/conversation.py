"""What claude itself has stored of a conversation: what it will know when it is resumed."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class AnswerBlock:
    """A stored text or thinking block (`part`): number `index` of the model's answer `message`."""

    message: str
    index: int
    part: str
    text: str


@dataclass(frozen=True, slots=True)
class Conversation:
    """A transcript at one moment. It lags behind what claude printed, by 0.3 s at most, until claude is dead.

    Attributes:
        found: there is a file that is not empty, so claude can be resumed.
        whole: False when the beginning or a line was too long to be read: what is absent here may yet be stored.
        size: bytes of the file.
        damaged: lines that are no JSON object. claude skips them too, so what stood there is unknown to it. An
            unfinished last line is not counted.
        messages: uuids under which messages are stored, also those that claude took into a running turn or merged.
            claude drops a second message with a uuid that it knows, but not one of a merged or taken message.
        prompts: uuids of the messages that began a turn, sent by a person or a program; oldest first. Turns that
            claude began by itself (a background task ended, an interrupted turn goes on) are not among them.
        calls: ids of tool calls of the main conversation. A tool may run before its call is stored.
        results: ids of tool calls whose result is stored, also where claude noted that the outcome is unknown.
        answered: the newest message has its final answer: text of the model that no tool call follows.
        rerun_spent: the newest entry says that the interrupted turn was taken up again, and nothing followed. claude
            neither takes it up a second time nor lets the same message run again: only a new message moves it.
        followed: something of an answer follows the newest message, be it only the filler that claude writes when it
            resumes a conversation whose last message has none. It drops a copy of a message that is followed.
        answer: text and thinking of the model's newest message.
    """

    found: bool = False
    whole: bool = True
    size: int = 0
    damaged: int = 0
    messages: frozenset[str] = frozenset()
    prompts: tuple[str, ...] = ()
    calls: frozenset[str] = frozenset()
    results: frozenset[str] = frozenset()
    answered: bool = False
    rerun_spent: bool = False
    followed: bool = False
    answer: tuple[AnswerBlock, ...] = ()

    def drops(self, message: str) -> bool:
        """Whether claude would drop a copy of the message with this uuid instead of answering it."""
        return message in self.messages and (self.followed or self.rerun_spent)


NOTHING_STORED = Conversation()
"""There is no transcript."""
