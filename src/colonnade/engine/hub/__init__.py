"""Models that are named by their repository on a hub: found, fetched, checked, and kept in the hub's own cache."""
