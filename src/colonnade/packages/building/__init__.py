"""From a folder to a version: an environment of its own, a copy that does not change, the class imported there."""
