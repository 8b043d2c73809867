"""A model as a folder: its configuration, its class, its preflight. What serves it is `colonnade.replica.package`."""
