"""The data plane that clients talk to: admission, routing, a byte relay. `python -m colonnade.gateway`."""
