"""`python -m colonnade.cli`: the same as `colonnade`."""

from colonnade.cli.root import main

main()
