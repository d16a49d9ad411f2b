"""The contract of BetCode with the real CLI, run against several of its versions (PS-12); `make compat` runs it.

wheels.py fetches the versions, room.py starts one of them under a keeper, contract.py and its neighbours try what
BetCode relies on, table.py writes docs/compatibility.md from what was seen. Nothing here is part of CI: it downloads
some 100 MB a version. What was seen is kept in `tests/recordings/versions`, and tests compare the product with it.
"""
