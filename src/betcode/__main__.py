"""`python -m betcode` is the command `betcode`."""

import sys

from betcode.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
