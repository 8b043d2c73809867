"""The command line. stdout is data, stderr is talk; what a command needs is imported when it runs, not before."""

from colonnade.cli.root import cli, main

__all__ = ["cli", "main"]
