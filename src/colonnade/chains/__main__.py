"""`python -m colonnade.chains PLACE`: one step as a process; PLACE is JSON."""

import sys

from colonnade.chains.process import main

if __name__ == "__main__":
    main(sys.argv[1:])
