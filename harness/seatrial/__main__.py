"""`python -m seatrial` is the command `seatrial`."""

import sys

from seatrial.cli import main

if __name__ == "__main__":
    sys.exit(main())
