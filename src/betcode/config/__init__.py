"""Where BetCode keeps its files (`paths`) and how it is set up (`tree`, `load`, `show`). Nothing is imported here."""
