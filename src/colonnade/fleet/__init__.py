"""The control plane and the cluster agents."""
