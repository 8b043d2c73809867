"""Replicas on the nodes of a Ray cluster (extra `[ray]`).

Ray places, reserves and watches; a host actor on each node runs the supervisor of the local driver; replicas are
processes of that node, not of Ray, and are spoken to directly. Nothing here imports Ray until a driver is opened.
"""

from colonnade.drivers.ray.driver import RayDriver

__all__ = ["RayDriver"]
