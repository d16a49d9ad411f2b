"""Lists of permission rules as `claude --allowedTools` takes them: separated by commas or spaces (pure)."""

from __future__ import annotations

from collections.abc import Sequence


def rules_of(given: Sequence[str]) -> tuple[str, ...]:
    """All rules of all lists; a comma or a space inside brackets belongs to its rule."""
    rules, depth, rule = [], 0, ""
    for character in ",".join(given):
        depth = max(0, depth + {"(": 1, ")": -1}.get(character, 0))
        if character in ", \t\n" and depth == 0:
            rules.append(rule)
            rule = ""
        else:
            rule += character
    return tuple(r for r in (*rules, rule) if r.strip())
