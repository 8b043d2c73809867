"""The fixtures of this room; what they are made of is in `replica_process`."""

from replica_process import client, parrot_folder, start_replica

__all__ = ["client", "parrot_folder", "start_replica"]
