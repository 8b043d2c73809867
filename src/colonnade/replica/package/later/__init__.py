"""Requests that are answered later: a queue that all replicas of a package on this machine share."""
