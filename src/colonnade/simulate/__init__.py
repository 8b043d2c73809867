"""The gateway's own objects on a virtual clock, over models of replicas. Deterministic by seed."""
