"""The serving process of a package: the replica's contract around a class, over Truss's HTTP contract."""
