"""Entry point: `python -I -S .../betcode/keeper/__main__.py`, with the spec as JSON on stdin.

This file is never taken from a compiled copy, so it stays tiny. `-I -S` leaves sys.path with the standard
library alone; the folder that holds the package goes to the END, so that nothing in it can shadow a module
of the standard library.
"""

import sys

sys.path.append(__file__.rpartition("/betcode/keeper/")[0])

from betcode.keeper.launch import main

main()
