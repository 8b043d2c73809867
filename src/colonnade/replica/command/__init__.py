"""The serving process of a package with a server of its own: the replica's contract around a command."""
