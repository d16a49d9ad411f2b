"""What a person types as the answer to a permission question; the same keys wherever one is asked (pure)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

CHOICES: Final = "[y]es, [n]o (n and a sentence tells claude why), yes to all of this tool in this [s]ession: "


@dataclass(frozen=True, slots=True)
class Decision:
    """The answer to a permission question."""

    allow: bool
    message: str = ""
    for_session: bool = False


def decision(text: str) -> Decision | None:
    """What was typed as an answer; None when it is none. Doubt is never a yes."""
    word, _, rest = text.strip().partition(" ")
    match word.lower():
        case "y" | "yes" | "a" | "allow" if not rest:
            return Decision(allow=True)
        case "s" | "session" | "always" if not rest:
            return Decision(allow=True, for_session=True)
        case "n" | "no" | "d" | "deny":
            return Decision(allow=False, message=rest.strip())
        case _:
            return None
