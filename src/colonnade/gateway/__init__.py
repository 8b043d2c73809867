"""The data plane: keys, admission, routing and the byte relay."""
