"""Measurements against anchors of the same run: `python -m bench`. They are no tests and assert nothing."""
