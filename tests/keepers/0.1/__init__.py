"""The keeper: a tiny process, one per session run, that owns the pipes of `claude` and outlives the daemon.

Standard library only, no asyncio, and nothing else of betcode. Start reading at `loop.py`; the rules about
stdin lines are in `decide.py`, the bytes on the socket in `protocol.py`, the files in `journal.py`.
"""
